package archtest

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository's root, seen from this package.
const root = "../.."

// longFiles are the hand-written files over the house limit, each with its
// reason.
var longFiles = map[string]string{}

const (
	maxLines     = 350 // of a file with code
	maxTestLines = 600 // tables and histories read better together
)

func TestFileLength(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, ".pb.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seen++
		limit := maxLines
		if strings.HasSuffix(path, "_test.go") {
			limit = maxTestLines
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if n := bytes.Count(b, []byte("\n")); n > limit && longFiles[filepath.ToSlash(name)] == "" {
			t.Errorf("%s has %d lines; the limit is %d. Split it, or give its reason in longFiles", name, n, limit)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 10 {
		t.Fatalf("found only %d Go files under %s", seen, root)
	}
}
