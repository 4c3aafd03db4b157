package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// declarations lists what a package declares at its top level: functions and types
// by their name, methods and interface methods as Type.Method.
func declarations(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					found[d.Name.Name] = true
				} else {
					found[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						found[s.Name.Name] = true
					}
				}
			}
		}
	}
	return found
}

// receiver is the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

var qualified = regexp.MustCompile("`([a-z]+)\\.([A-Za-z]+(?:\\.[A-Za-z]+)?)`")

// TestArchitectureNamesExist looks up every `package.Name` and
// `package.Type.Method` that ARCHITECTURE.md mentions.
func TestArchitectureNamesExist(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]map[string]bool{}
	mentioned := map[string]int{}
	for _, m := range qualified.FindAllStringSubmatch(string(b), -1) {
		pkg, name := m[1], m[2]
		dir := filepath.Join(root, "pkg", pkg)
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("ARCHITECTURE.md mentions %s.%s; there is no package pkg/%s", pkg, name, pkg)
			continue
		}
		if known[pkg] == nil {
			known[pkg] = declarations(t, dir)
		}
		if !known[pkg][name] {
			t.Errorf("ARCHITECTURE.md mentions %s.%s; pkg/%s declares no such thing", pkg, name, pkg)
		}
		mentioned[pkg]++
	}
	for _, pkg := range []string{"gateway", "envelope", "registry", "backplane", "link", "redisbus", "service", "router"} {
		if mentioned[pkg] == 0 {
			t.Errorf("the journey of a message in ARCHITECTURE.md does not pass through pkg/%s", pkg)
		}
	}
}

// TestArchitectureHopsNameFunctions wants a function in every step of the journey.
func TestArchitectureHopsNameFunctions(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, journey, ok := strings.Cut(string(b), "## The journey of a message")
	if !ok {
		t.Fatal("ARCHITECTURE.md has no section \"The journey of a message\"")
	}
	journey, _, _ = strings.Cut(journey, "\n## ")
	steps := regexp.MustCompile(`(?m)^\d+\. `).Split(journey, -1)[1:]
	if len(steps) < 5 {
		t.Fatalf("found %d steps", len(steps))
	}
	for i, step := range steps {
		if !qualified.MatchString(step) {
			t.Errorf("step %d names no function: %s", i+1, step)
		}
	}
}
