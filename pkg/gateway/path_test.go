package gateway

import (
	"strings"
	"testing"
)

func TestCheckPath(t *testing.T) {
	for path, wrong := range map[string]string{
		"/":            "",
		"/a":           "",
		"/a/b/":        "",
		"/a/...":       "",
		"/ä/ü":         "",
		"/a b/%2e%2e":  "",
		"":             "starts with '/'",
		"a/b":          "starts with '/'",
		"//":           "empty segment",
		"//a":          "empty segment",
		"/a//b":        "empty segment",
		"/a//":         "empty segment",
		"/.":           `"." segment`,
		"/a/./b":       `"." segment`,
		"/..":          `".." segment`,
		"/a/../health": `".." segment`,
		"/a\x00":       "control character",
		"/a\nb":        "control character",
		"/a\x7f/b":     "control character",
	} {
		err := checkPath([]byte(path))
		if (err != nil) != (wrong != "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v; want %q", path, err, wrong)
		}
	}
}
