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
		"/a b/%20%":    "",
		"/a/%2e%2e":    "encoded dot",
		"/a%2Fb":       "encoded dot",
		"/%5C":         "encoded dot",
		"/a%00":        "encoded dot",
		"/\xff":        "not UTF-8",
		"/\xc0\xae":    "not UTF-8",
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
