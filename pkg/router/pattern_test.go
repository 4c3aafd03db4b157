package router

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func mustPattern(t testing.TB, s string) *Pattern {
	t.Helper()
	p, err := NewPattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatternMatch(t *testing.T) {
	tests := []struct {
		pattern string
		match   map[string]string // path -> parameters as k=v, sorted and joined
		refuse  []string
	}{
		{"/", map[string]string{"/": "", "": ""}, []string{"/a", "//"}},
		{"/users", map[string]string{"/users": "", "/users/": ""}, []string{"/user", "/users/x", "/users//", "/Users", "users", "", "/"}},
		{"/users/", map[string]string{"/users": "", "/users/": ""}, []string{"/users/x"}},
		{"/a//b", map[string]string{"/a/b": ""}, []string{"/a//b"}},
		{"/api-v1/users.json", map[string]string{"/api-v1/users.json": ""}, []string{"/api-v1/users-json"}},
		{"/users/:id", map[string]string{"/users/1": "id=1", "/users/a b/": "id=a b"}, []string{"/users", "/users/", "/users/1/2", "/users//"}},
		{"/:a/:b", map[string]string{"/1/2": "a=1 b=2"}, []string{"/1", "/1/2/3"}},
		{"/static/*", map[string]string{"/static/x": ""}, []string{"/static", "/static/x/y"}},
		{"/a/*/c", map[string]string{"/a/b/c": ""}, []string{"/a/c", "/a/b/b/c"}},
		{"/files/**", map[string]string{"/files": "", "/files/": "", "/files/a": "", "/files/a/b/c": ""}, []string{"/filesx", "/files//a", "/files/a//b"}},
		{"/**", map[string]string{"": "", "/": "", "/a/b": ""}, []string{"a", "//", "/a//"}},
		{"/**/end", map[string]string{"/end": "", "/a/b/end": "", "/end/end": ""}, []string{"/", "/end/x"}},
		{"/api/:v?/users", map[string]string{"/api/users": "v=", "/api/v1/users": "v=v1", "/api/users/users": "v=users"}, []string{"/api/1/2/users"}},
		{"/files/:p+", map[string]string{"/files/a": "p=a", "/files/a/b/": "p=a/b"}, []string{"/files", "/files/"}},
		{"/files/:p*", map[string]string{"/files": "p=", "/files/a/b": "p=a/b"}, []string{"/file"}},
		{"/a/:b+/c", map[string]string{"/a/1/c": "b=1", "/a/1/2/c": "b=1/2", "/a/c/c/c": "b=c/c"}, []string{"/a/c", "/a/1"}},
		{"/a/:b*/c", map[string]string{"/a/c": "b=", "/a/1/2/3/c": "b=1/2/3"}, []string{"/a/1"}},
		{"/:a*/x/:b*", map[string]string{"/x": "a= b=", "/1/x/2": "a=1 b=2", "/x/x/x": "a=x/x b="}, []string{"/y"}},
		{`/u/:id(\d+)`, map[string]string{"/u/12": "id=12"}, []string{"/u/a", "/u/1a", "/u/"}},
		{`/u/:id([a-f0-9-]{36})`, map[string]string{"/u/123e4567-e89b-12d3-a456-426614174000": "id=123e4567-e89b-12d3-a456-426614174000"}, []string{"/u/x"}},
		{`/a/:b(\d+)/*?/(d|e)+`, map[string]string{"/a/1/d": "b=1", "/a/1/e": "b=1", "/a/2/c/d/e/d": "b=2", "/a/3/1/d": "b=3"}, []string{"/a/b/c", "/a/1", "/a/1/c/f"}},
		{"/(a|b)/x", map[string]string{"/a/x": "", "/b/x": ""}, []string{"/c/x", "/ab/x"}},
		{"/*(a+)", map[string]string{"/aaa": ""}, []string{"/b"}},
		{"/:x((?:a|b)[)(]c)", map[string]string{"/a)c": "x=a)c"}, []string{"/ac"}},
		{"/:x([])]+)/y", map[string]string{"/)])/y": "x=)])"}, []string{"/a/y"}},
		{"/:x([^]]+)", map[string]string{"/a": "x=a"}, []string{"/]"}},
		{"/f/:p(.*)", map[string]string{"/f/a/b": "p=a/b", "/f/": "p="}, []string{"/g"}},
		{"/f/:p(.+)/edit", map[string]string{"/f/a/b/edit": "p=a/b"}, []string{"/f/edit"}},
		{`/f/:p(\d*)?/x`, map[string]string{"/f/x": "p=", "/f/1/x": "p=1", "/f//x": "p="}, []string{"/f/a/x"}},
		{`/a/\:b/c`, map[string]string{"/a/:b/c": ""}, []string{"/a/1/c"}},
		{`/\*/\(x\)/y\?`, map[string]string{"/*/(x)/y?": ""}, []string{"/a/(x)/y?", "/*/(x)/y"}},
		{"/a?/b+/c*", map[string]string{"/b": "", "/a/b/b/c": "", "/b/c/c": ""}, []string{"/a", "/a/a/b", "/c"}},
		{"/größe/:höhe", map[string]string{"/größe/über": "höhe=über"}, []string{"/grösse/x"}},
	}
	for _, tt := range tests {
		p := mustPattern(t, tt.pattern)
		if p.String() != tt.pattern {
			t.Errorf("%q became %q", tt.pattern, p)
		}
		for path, want := range tt.match {
			params, ok := p.Match(path)
			if !ok || params == nil || show(params) != want {
				t.Errorf("%q on %q: %q %v, want %q", tt.pattern, path, show(params), ok, want)
			}
		}
		for _, path := range tt.refuse {
			if params, ok := p.Match(path); ok || params != nil {
				t.Errorf("%q fits %q: %v", tt.pattern, path, params)
			}
		}
	}
}

func show(params MessageParams) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(params)) {
		parts = append(parts, k+"="+params[k])
	}
	return strings.Join(parts, " ")
}

func TestPatternErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":         "must start with a slash",
		"users":    "must start with a slash",
		"/:":       "needs a name",
		"/:(x)":    "needs a name",
		"/:?":      "needs a name",
		"/:a/:a":   "two parameters",
		"/:a(x":    "no closing parenthesis",
		"/:a(":     "no closing parenthesis",
		"/:a()":    "is empty",
		"/:a([)":   "no closing parenthesis",
		"/:a(*)":   "the expression",
		"/a(b)":    "must follow a slash",
		"/a)":      "without an opening",
		"/:a(x)y":  "unexpected",
		"/:a-b":    "unexpected",
		"/a*b":     "must be the last",
		"/a?*":     "must be the last",
		"/***":     "must be the last",
		"/?":       "needs something before it",
		"/+":       "needs something before it",
		`/a\`:      "needs a character",
		`/a\/b`:    "needs a character",
		"/\xff":    "not valid UTF-8",
		`/:x(\pQ)`: "the expression",
	} {
		_, err := NewPattern(pattern)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", pattern, err, want)
		}
	}
}

func TestPatternMatchInto(t *testing.T) {
	p := mustPattern(t, "/users/:id/posts/:post")
	params := MessageParams{"old": "x", "id": "old"}
	if p.MatchInto("/wrong", &params) || len(params) != 2 {
		t.Errorf("no match left %v", params)
	}
	if !p.MatchInto("/users/1/posts/2", &params) || show(params) != "id=1 post=2" {
		t.Errorf("a match left %v", params)
	}
	params = nil
	if !p.MatchInto("/users/1/posts/2", &params) || params["id"] != "1" {
		t.Errorf("a nil map became %v", params)
	}
	if params.Get("ID") != "1" || params.Get("Post") != "2" || params.Get("x") != "" {
		t.Error("Get does not ignore case")
	}
}

func TestPatternPath(t *testing.T) {
	tests := []struct {
		pattern   string
		params    MessageParams
		wildcards []string
		want      string // "" is an error
	}{
		{"/", nil, nil, "/"},
		{"/users", nil, nil, "/users"},
		{"/users/:id", MessageParams{"id": "1"}, nil, "/users/1"},
		{"/users/:id", MessageParams{}, nil, ""},
		{"/users/:id?", nil, nil, "/users"},
		{"/:id?", nil, nil, "/"},
		{"/users/:id?", MessageParams{"id": "1"}, nil, "/users/1"},
		{"/files/:p*", nil, nil, "/files"},
		{"/files/:p+", nil, nil, ""},
		{"/files/:p+", MessageParams{"p": "a/b"}, nil, "/files/a/b"},
		{"/static/*", nil, []string{"x"}, "/static/x"},
		{"/static/*", nil, nil, ""},
		{"/static/**", nil, nil, "/static"},
		{"/api/:v/users/*", MessageParams{"v": "1"}, []string{"a/b"}, "/api/1/users/a/b"},
		{`/:id(\d+)/(a|b)`, MessageParams{"id": "7"}, []string{"b"}, "/7/b"},
		{`/\:a`, nil, nil, "/:a"},
	}
	for _, tt := range tests {
		got, err := mustPattern(t, tt.pattern).Path(tt.params, tt.wildcards)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q with %v %v: %q, %v", tt.pattern, tt.params, tt.wildcards, got, err)
		}
	}
}

func TestPatternCanonical(t *testing.T) {
	for pattern, want := range map[string]string{
		"/":            "/",
		"/a/":          "/a",
		"//a//b":       "/a/b",
		"/u/:id":       "/u/*",
		"/u/*":         "/u/*",
		"/u/:rest*":    "/u/**",
		"/u/:a?/:b+":   "/u/*?/*+",
		`/u/:id(\d+)?`: `/u/(\d+)?`,
		`/\:a\*b`:      `/\:a\*b`,
		`/a.b/\c`:      "/a.b/c",
		"/**":          "/**",
	} {
		p := mustPattern(t, pattern)
		if p.Canonical() != want {
			t.Errorf("%q: %q, want %q", pattern, p.Canonical(), want)
		}
		if again := mustPattern(t, p.Canonical()); again.Canonical() != want || again.Compare(p) != 0 {
			t.Errorf("%q is not the canonical form of itself: %q", want, again.Canonical())
		}
	}
}

// TestPatternCompare lists patterns from the most to the least specific.
func TestPatternCompare(t *testing.T) {
	order := []string{
		"/a/b/c", "/a/b", "/a/c", `/a/(\d+)`, `/a/(\w+)`, "/a/:x/y", "/a/:x", "/a/:x/:y?", "/a/*/**",
		"/a", "/a/b?", "/a/c?", "/a/:x?", "/a/:x(.*)", "/a/:x+", "/a/**",
		"/:x/b", "/:x", "/", "/:p+", "/**",
	}
	for i, a := range order {
		for j, b := range order {
			got := mustPattern(t, a).Compare(mustPattern(t, b))
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("Compare(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func TestMatchingDoesNotAllocate(t *testing.T) {
	for pattern, path := range map[string]string{
		"/users/list":          "/users/list",
		"/users/:id":           "/users/1",
		"/files/**":            "/files/a/b/c",
		"/a/:b?/c":             "/a/1/c",
		`/u/:id(\d+)`:          "/u/123",
		"/:a/:b/:c/:d":         "/1/2/3/4",
		"/no/match/at/all/:id": "/users/list",
	} {
		p := mustPattern(t, pattern)
		if n := testing.AllocsPerRun(100, func() {
			var room [4]string
			p.match(path, room[:0])
		}); n != 0 {
			t.Errorf("%q on %q allocates %v times", pattern, path, n)
		}
	}
	p := mustPattern(t, "/users/list")
	params := MessageParams{}
	if n := testing.AllocsPerRun(100, func() { p.MatchInto("/users/list", &params) }); n != 0 {
		t.Errorf("MatchInto of a static pattern allocates %v times", n)
	}
}
