package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInSlug  = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// anchors are the fragments that a Markdown text's headings can be linked by.
func anchors(markdown string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(markdown, -1) {
		found[strings.ReplaceAll(notInSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return found
}

// TestLinks follows every link between documents, and to other files of the
// repository.
func TestLinks(t *testing.T) {
	for name := range documents(t) {
		markdown, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range linkTarget.FindAllStringSubmatch(string(markdown), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, fragment, _ := strings.Cut(m[1], "#")
			target := filepath.Join(root, name)
			if file != "" {
				target = filepath.Join(filepath.Dir(target), file)
			}
			text, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); err != nil && (statErr != nil || !info.IsDir()) {
				t.Errorf("%s links to %s: %v", name, m[1], err)
				continue
			}
			if fragment != "" && !anchors(string(text))[fragment] {
				t.Errorf("%s links to %s: there is no such heading", name, m[1])
			}
		}
	}
}
