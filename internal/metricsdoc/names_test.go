package metricsdoc

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/metrics"
	"github.com/boreas-ws/boreas/pkg/metrics/dashboard"
)

func TestGrafanaDashboardIsCurrent(t *testing.T) {
	same(t, "deploy/observability/grafana/dashboards/boreas.json", dashboard.Grafana())
}

// TestNamesExist looks for names of instruments in documents and deployments.
func TestNamesExist(t *testing.T) {
	var known []string
	for _, i := range metrics.Catalogue() {
		known = append(known, i.Name)
		if i.Kind == metrics.Histogram {
			known = append(known, i.Name+"_bucket", i.Name+"_sum", i.Name+"_count")
		}
	}
	var parts []string
	for _, s := range subsystems {
		parts = append(parts, s.name)
	}
	name := regexp.MustCompile(`\bboreas_(?:` + strings.Join(parts, "|") + `)_[a-z_]+\b`)
	seen := 0
	for _, dir := range []string{"docs", "deploy"} {
		err := filepath.WalkDir(root+dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			for _, n := range name.FindAllString(string(b), -1) {
				seen++
				if !slices.Contains(known, n) {
					t.Errorf("%s names %s, which is no instrument", strings.TrimPrefix(path, root), n)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 100 {
		t.Errorf("only %d names were found", seen)
	}
}
