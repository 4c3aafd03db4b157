package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// claim is how a document names the test of what it says: `TestName` in its package.
var claim = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`\\s+in\\s+((?:pkg|cmd|test|internal)/[a-z0-9/]+)")

// TestClaimsNameTests looks up the tests that docs/security.md names.
func TestClaimsNameTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	claims := claim.FindAllStringSubmatch(string(text), -1)
	if named := regexp.MustCompile("`Test[A-Za-z0-9_]+`").FindAll(text, -1); len(claims) != len(named) {
		t.Errorf("%d of %d tests are named together with their package", len(claims), len(named))
	}
	if len(claims) < 20 {
		t.Errorf("only %d claims name a test", len(claims))
	}
	for _, c := range claims {
		name, dir := c[1], c[2]
		files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !declares(t, files, name) {
			t.Errorf("docs/security.md names %s in %s; there is none", name, dir)
		}
	}
}

// declares reports whether one of the files has a test of that name.
func declares(t *testing.T, files []string, name string) bool {
	t.Helper()
	declaration := regexp.MustCompile(`(?m)^func ` + name + `\(`)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if declaration.Match(source) {
			return true
		}
	}
	return false
}
