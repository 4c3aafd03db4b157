package metricsdoc

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/metrics"
	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatch"
)

var update = flag.Bool("update", false, "write the files that are made from code")

const root = "../../"

// subsystems are the parts of the table of instruments, in their order.
var subsystems = []struct{ name, title string }{
	{"gateway", "Gateways"},
	{"service", "Instances of services"},
	{"link", "Links"},
	{"bus", "The bus"},
	{"backplane", "The backplane"},
	{"registry", "The registry"},
	{"push", "Pushes"},
	{"api", "The push API"},
	{"quota", "Limits over all gateways"},
	{"process", "The process"},
}

// instruments is the table of instruments. It fails if one is in no part.
func instruments(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	listed := 0
	for _, s := range subsystems {
		fmt.Fprintf(&b, "\n### %s\n\n| name | kind | labels | what it shows |\n|---|---|---|---|\n", s.title)
		for _, i := range metrics.Catalogue() {
			if strings.HasPrefix(i.Name, "boreas_"+s.name+"_") {
				listed++
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", i.Name, i.Kind, strings.Join(i.Labels, ", "), i.Help)
			}
		}
	}
	if all := len(metrics.Catalogue()); listed != all {
		t.Errorf("%d instruments of %d are in a part of the table", listed, all)
	}
	return b.String()
}

// cloudwatchMetrics is the table of metrics in CloudWatch.
func cloudwatchMetrics() string {
	var b strings.Builder
	b.WriteString("\n| name | unit | what it shows | made of |\n|---|---|---|---|\n")
	for _, m := range cloudwatch.Metrics {
		var of []string
		for _, s := range m.Sources {
			of = append(of, "`"+s.Instrument+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Unit, m.Help, strings.Join(of, ", "))
	}
	return b.String()
}

// generated replaces what stands between the marks of a name in a document.
func generated(t *testing.T, document []byte, name, text string) []byte {
	t.Helper()
	begin, end := "<!-- generated: "+name+" -->\n", "<!-- end of "+name+" -->"
	before, rest, ok := bytes.Cut(document, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("docs/metrics.md has no marks for %s", name)
	}
	return []byte(string(before) + begin + text + "\n" + end + string(after))
}

// same fails unless a file has this content; with -update it gets it.
func same(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(root+name, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s is not what the code says; write it: go test ./internal/metricsdoc -update", name)
	}
}

func TestDocument(t *testing.T) {
	const name = "docs/metrics.md"
	document, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	document = generated(t, document, "cloudwatch", cloudwatchMetrics())
	same(t, name, generated(t, document, "instruments", instruments(t)))
}
