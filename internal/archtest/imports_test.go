package archtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/boreas-ws/boreas/"
	redis  = "github.com/redis/go-redis/"
)

// goPackage is what `go list` tells of a package.
type goPackage struct {
	ImportPath string
	Imports    []string // by its own files, without tests
	Deps       []string // all that it links, directly or not
	Standard   bool
}

// listPackages describes this module's packages.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,Standard", module+"...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// rule says which packages may not import what.
type rule struct {
	name string
	// applies picks the importing packages, by their path inside the module.
	applies func(pkg string) bool
	// forbids picks import paths.
	forbids func(path string) bool
	// linked extends the rule from direct imports to everything that the package
	// links.
	linked bool
}

func under(dirs ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool {
			return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
		})
	}
}

func except(dirs ...string) func(string) bool {
	in := under(dirs...)
	return func(path string) bool { return !in(path) }
}

func prefix(prefixes ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) })
	}
}

// external reports an import path outside the standard library and this module:
// the first element of such a path has a dot.
func external(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".") && !strings.HasPrefix(path, module)
}

// testOnly are packages that only tests import.
var testOnly = []string{"internal/redistest", "internal/archtest", "internal/doctest", "test", "pkg/link/linktest"}

var rules = []rule{
	{
		name:    "only redisbus, registry, auth and quota import go-redis",
		applies: except(append(testOnly, "pkg/redisbus", "pkg/registry", "pkg/auth", "pkg/quota")...),
		forbids: prefix(redis),
	},
	{
		name:    "gateway does not import service",
		applies: under("pkg/gateway"),
		forbids: under(module + "pkg/service"),
		linked:  true,
	},
	{
		name:    "service does not import gateway",
		applies: under("pkg/service"),
		forbids: under(module + "pkg/gateway"),
		linked:  true,
	},
	{
		name:    "the gateway links no way to authenticate",
		applies: under("pkg/gateway"),
		forbids: prefix(module+"pkg/auth/", "github.com/golang-jwt/"),
		linked:  true,
	},
	{
		name:    "wire and link stand on the standard library and wire",
		applies: func(pkg string) bool { return pkg == "pkg/wire" || pkg == "pkg/link" },
		forbids: func(path string) bool {
			return external(path) || strings.HasPrefix(path, module) && path != module+"pkg/wire" && path != module+"pkg/link"
		},
		linked: true,
	},
	{
		name:    "the router and the envelopes know no node",
		applies: under("pkg/router", "pkg/envelope"),
		forbids: under(module+"pkg/gateway", module+"pkg/service", module+"pkg/backplane", module+"pkg/link", module+"pkg/redisbus", module+"pkg/registry"),
		linked:  true,
	},
	{
		name:    "only the dev command links the embedded Redis",
		applies: except(append(testOnly, "pkg/embedded", "cmd/boreas")...),
		forbids: prefix("github.com/alicebob/miniredis", module+"pkg/embedded"),
		linked:  true,
	},
	{
		name:    "only metrics knows an exporter",
		applies: except(append(testOnly, "pkg/metrics", "cmd/boreas", "examples")...),
		forbids: prefix("github.com/prometheus/", "github.com/aws/"),
		linked:  true,
	},
	{
		name:    "only cmd parses command lines with kong",
		applies: except("cmd", "examples", "test"),
		forbids: prefix("github.com/alecthomas/kong"),
		linked:  true,
	},
	{
		name:    "nothing but tests and the chaos command links the test harness",
		applies: except(append(testOnly, "cmd/boreas")...),
		forbids: under(module+"internal/redistest", module+"internal/doctest", module+"test", module+"pkg/link/linktest"),
		linked:  true,
	},
}

func (r rule) violations(packages []goPackage) []string {
	var found []string
	for _, p := range packages {
		if !r.applies(strings.TrimPrefix(p.ImportPath, module)) {
			continue
		}
		imports, verb := p.Imports, "imports"
		if r.linked {
			imports, verb = p.Deps, "links"
		}
		for _, path := range imports {
			if r.forbids(path) {
				found = append(found, fmt.Sprintf("%s %s %s", p.ImportPath, verb, path))
			}
		}
	}
	return found
}

func TestDependencyDirection(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < 5 {
		t.Fatalf("go list found only %d packages of this module", len(packages))
	}
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "_"), func(t *testing.T) {
			for _, v := range r.violations(packages) {
				t.Errorf("%s: %s", r.name, v)
			}
		})
	}
}

// TestRulesCanFail holds each rule against an import that it must report.
func TestRulesCanFail(t *testing.T) {
	bad := map[string]goPackage{
		"only redisbus, registry, auth and quota import go-redis":        {ImportPath: "pkg/gateway", Imports: []string{"github.com/redis/go-redis/v9"}},
		"gateway does not import service":                                {ImportPath: "pkg/gateway", Deps: []string{module + "pkg/service"}},
		"service does not import gateway":                                {ImportPath: "pkg/service", Deps: []string{module + "pkg/gateway"}},
		"the gateway links no way to authenticate":                       {ImportPath: "pkg/gateway", Deps: []string{module + "pkg/auth/jwt"}},
		"wire and link stand on the standard library and wire":           {ImportPath: "pkg/link", Deps: []string{"golang.org/x/sync/errgroup"}},
		"the router and the envelopes know no node":                      {ImportPath: "pkg/router/middleware/json", Deps: []string{module + "pkg/link"}},
		"only the dev command links the embedded Redis":                  {ImportPath: "pkg/gateway", Deps: []string{"github.com/alicebob/miniredis/v2/server"}},
		"only metrics knows an exporter":                                 {ImportPath: "pkg/link", Deps: []string{"github.com/prometheus/client_golang/prometheus"}},
		"only cmd parses command lines with kong":                        {ImportPath: "pkg/gateway", Deps: []string{"github.com/alecthomas/kong"}},
		"nothing but tests and the chaos command links the test harness": {ImportPath: "pkg/backplane", Deps: []string{module + "internal/redistest"}},
	}
	for _, r := range rules {
		p, ok := bad[r.name]
		if !ok {
			t.Errorf("no bad example for the rule %q", r.name)
			continue
		}
		p.ImportPath = module + p.ImportPath
		if len(r.violations([]goPackage{p})) != 1 {
			t.Errorf("the rule %q does not report its bad example", r.name)
		}
	}
}
