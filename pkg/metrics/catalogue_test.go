package metrics

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file")

// TestCatalogue holds the instruments against a list: whoever renames one breaks
// somebody's alarm, and should know.
func TestCatalogue(t *testing.T) {
	var b strings.Builder
	for _, i := range Catalogue() {
		fmt.Fprintf(&b, "%s %s %s\n", i.Kind, i.Name, strings.Join(i.Labels, ","))
	}
	const file = "testdata/catalogue.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the catalogue differs from %s; if that is meant: go test ./pkg/metrics -run TestCatalogue -update\n%s", file, b.String())
	}
}

func TestNames(t *testing.T) {
	form := regexp.MustCompile(`^boreas_(api|backplane|bus|gateway|link|process|push|quota|registry|service)_[a-z_]+$`)
	labels := []string{"gateway", "service", "route", "reason", "code", "source", "cause", "kind", "script", "state", "version", "go", "scope", "limit", "method", "result", "target", "caller"}
	seen := map[string]bool{}
	for _, i := range Catalogue() {
		if !form.MatchString(i.Name) || seen[i.Name] {
			t.Errorf("%s: bad name, or there twice", i.Name)
		}
		seen[i.Name] = true
		if total := strings.HasSuffix(i.Name, "_total"); total != (i.Kind == Counter) {
			t.Errorf("%s is a %v", i.Name, i.Kind)
		}
		name := strings.TrimSuffix(i.Name, "_total")
		for _, u := range []Unit{Seconds, Bytes} {
			if strings.HasSuffix(name, "_"+string(u)) != (i.Unit == u) {
				t.Errorf("%s counts in %q", i.Name, i.Unit)
			}
		}
		if len(i.Labels) > maxLabels {
			t.Errorf("%s has %d labels", i.Name, len(i.Labels))
		}
		for _, l := range i.Labels {
			if !slices.Contains(labels, l) {
				t.Errorf("%s has the label %s, which is not one of a known set", i.Name, l)
			}
		}
		if !strings.HasSuffix(i.Help, ".") && !strings.HasPrefix(i.Help, "1;") {
			t.Errorf("%s: the help is no sentence: %s", i.Name, i.Help)
		}
	}
}
