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
	"github.com/boreas-ws/boreas/pkg/metrics/cloudwatch"
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

// TestCloudWatchNamesExist looks for names of metrics in CloudWatch in documents: words
// in backquotes that end like one of ours.
func TestCloudWatchNamesExist(t *testing.T) {
	lastWord := regexp.MustCompile(`[A-Z][a-z]+$`)
	var known, endings []string
	for _, m := range cloudwatch.Metrics {
		known = append(known, m.Name)
		endings = append(endings, lastWord.FindString(m.Name))
	}
	name := regexp.MustCompile("`[A-Z][a-z]+[A-Za-z]*(?:" + strings.Join(endings, "|") + ")`")
	documents, err := filepath.Glob(root + "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range append(documents, root+"README.md") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range name.FindAllString(string(b), -1) {
			seen++
			if !slices.Contains(known, strings.Trim(n, "`")) {
				t.Errorf("%s names %s, which gateways do not report", strings.TrimPrefix(path, root), n)
			}
		}
	}
	if seen <= len(known) {
		t.Errorf("only %d names were found", seen)
	}
}
