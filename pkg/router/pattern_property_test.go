package router

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// randomPattern and randomPath share a small alphabet, so that they often fit.
func randomPattern() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		for i := range rapid.IntRange(0, 5).Draw(t, "segments") {
			b.WriteString("/")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				b.WriteString(rapid.SampledFrom([]string{"a", "b", `\:`, "ab", "é"}).Draw(t, "text"))
			case 1:
				fmt.Fprintf(&b, ":p%d", i)
			case 2:
				b.WriteString("*")
			case 3:
				name := rapid.SampledFrom([]string{"", fmt.Sprintf(":p%d", i)}).Draw(t, "name")
				b.WriteString(name + rapid.SampledFrom([]string{"(a)", "(a|b)", "([^/]+b)", `(\w)`, "(.*)", "(a*)"}).Draw(t, "expression"))
			}
			b.WriteString(rapid.SampledFrom([]string{"", "", "?", "+", "*"}).Draw(t, "repeat"))
		}
		if b.Len() == 0 {
			return "/"
		}
		return b.String()
	})
}

func randomPath() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"/a", "/b", "/ab", "/:", "/", "/é", "/aab"}), 0, 7).Draw(t, "path"), "")
	})
}

// TestPatternAgainstExpression matches random patterns as their segments say and as
// one regular expression.
func TestPatternAgainstExpression(t *testing.T) {
	fits := 0
	rapid.Check(t, func(t *rapid.T) {
		p, err := NewPattern(randomPattern().Draw(t, "pattern"))
		if err != nil {
			t.Fatal(err)
		}
		path := randomPath().Draw(t, "path")
		oracle := *p
		if oracle.whole, err = wholeExpression(p.segments); err != nil {
			t.Fatal(err)
		}
		oracle.isStatic = false
		got, ok := p.Match(path)
		want, wantOK := oracle.Match(path)
		if ok != wantOK || !maps.Equal(got, want) {
			t.Fatalf("%q on %q: %v %v, want %v %v", p, path, got, ok, want, wantOK)
		}
		if p.whole == nil { // both ways to walk over segments agree
			general := *p
			general.simple, general.isStatic = false, false
			values, rest, _ := p.match(path, nil)
			values2, rest2, ok2 := general.match(path, nil)
			if ok != ok2 || !slices.Equal(values, values2) || ok && !p.isStatic && rest != rest2 {
				t.Fatalf("%q on %q: %v %d, in general %v %d %v", p, path, values, rest, values2, rest2, ok2)
			}
		}
		if ok {
			fits++
		}
	})
	if fits == 0 {
		t.Error("no pattern fitted any path")
	}
}

// TestCompareIsAnOrder: antisymmetric and transitive, zero only for equal forms.
func TestCompareIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p [3]*Pattern
		for i := range p {
			p[i], _ = NewPattern(randomPattern().Draw(t, "pattern"))
		}
		ab, ba, bc, ac := p[0].Compare(p[1]), p[1].Compare(p[0]), p[1].Compare(p[2]), p[0].Compare(p[2])
		if ab != -ba || (ab == 0) != (p[0].Canonical() == p[1].Canonical()) || ab <= 0 && bc <= 0 && ac > 0 {
			t.Fatalf("%q %q %q: %d %d %d %d", p[0], p[1], p[2], ab, ba, bc, ac)
		}
	})
}

// TestHostilePaths: matching takes no more than a little time per byte, whatever the
// pattern repeats.
func TestHostilePaths(t *testing.T) {
	p := mustPattern(t, "/:a*/x/:b*/x/:c*/x/:d*/x/:e*/y")
	path := strings.Repeat("/x", 20_000)
	start := time.Now()
	if _, ok := p.Match(path); ok {
		t.Error("it fits")
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	if _, ok := p.Match(path + "/y"); !ok {
		t.Error("it does not fit")
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"/", "/a/:b/*", "/a/**", `/u/:id(\d+)?`, "/(a|b)+/:c*", `/\:a/b?`, "/:x(.*)"} {
		f.Add(s, "/a/b/c")
		f.Add(s, "/u/12/")
	}
	f.Fuzz(func(t *testing.T, pattern, path string) {
		if len(pattern) > 200 || len(path) > 1000 {
			return
		}
		p, err := NewPattern(pattern)
		if err != nil {
			return
		}
		canonical, err := NewPattern(p.Canonical())
		if err != nil || canonical.Canonical() != p.Canonical() || p.Compare(canonical) != 0 {
			t.Fatalf("%q: canonical form %q: %v", pattern, p.Canonical(), err)
		}
		params, ok := p.Match(path)
		if _, ok2 := canonical.Match(path); ok != ok2 {
			t.Fatalf("%q fits %q: %v; %q does: %v", pattern, path, ok, p.Canonical(), ok2)
		}
		if !ok {
			return
		}
		if len(params) != len(p.names) {
			t.Fatalf("%q on %q: %v", pattern, path, params)
		}
		for _, v := range params {
			if !strings.Contains(path, v) {
				t.Fatalf("%q on %q: value %q", pattern, path, v)
			}
		}
	})
}
