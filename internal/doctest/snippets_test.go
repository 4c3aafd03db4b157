package doctest

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/boreas-ws/boreas/"

// snippetDir is a directory of this module that exists for the compiler only.
const snippetDir = "internal/doctest/snippets"

// imports are the packages that a snippet may use without importing them, by the
// name it uses.
var imports = map[string]string{
	"context": "context",
	"errors":  "errors",
	"fmt":     "fmt",
	"http":    "net/http",
	"log":     "log",
	"os":      "os",
	"signal":  "os/signal",
	"slog":    "log/slog",
	"strings": "strings",
	"syscall": "syscall",
	"testing": "testing",
	"time":    "time",

	"websocket": "github.com/gorilla/websocket",

	"backplane": module + "pkg/backplane",
	"embedded":  module + "pkg/embedded",
	"gateway":   module + "pkg/gateway",
	"metrics":   module + "pkg/metrics",
	"router":    module + "pkg/router",
	"service":   module + "pkg/service",
	"wire":      module + "pkg/wire",
	"json":      module + "pkg/router/middleware/json",
	"msgpack":   module + "pkg/router/middleware/msgpack",
	"protobuf":  module + "pkg/router/middleware/protobuf",
}

// given are the names that a snippet finds declared, when it does not declare
// them itself.
const given = "ctx context.Context, bp *backplane.Backplane, r *router.Router, logger *slog.Logger"

// complete makes a Go file of a snippet.
func complete(text string) (string, error) {
	if strings.HasPrefix(text, "package ") || strings.Contains(text, "\npackage ") {
		return text, nil
	}
	body := text
	if _, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+text, parser.SkipObjectResolution); err != nil {
		body = "func _(" + given + ") error {\n" + text + "\nreturn nil\n}\n"
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+body, 0)
	if err != nil {
		return "", err
	}
	used := map[string]string{}
	for _, name := range file.Unresolved {
		if path, ok := imports[name.Name]; ok {
			used[name.Name] = path
		}
	}
	for _, spec := range file.Imports { // the snippet names these itself
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return "", err
		}
		delete(used, path[strings.LastIndex(path, "/")+1:])
	}
	var b strings.Builder
	b.WriteString("package snippet\n")
	for _, name := range slices.Sorted(maps.Keys(used)) {
		fmt.Fprintf(&b, "import %s %q\n", name, used[name])
	}
	b.WriteString(body)
	return b.String(), nil
}

// isProgram reports whether a snippet can be built and run by itself.
func isProgram(source string) bool {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
	return err == nil && file.Name.Name == "main" && slices.ContainsFunc(file.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && f.Name.Name == "main" && f.Recv == nil
	})
}

// overlay lays files over the module's tree, for the go command's -overlay flag.
// The keys of files are relative to the repository's root.
func overlay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	base, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	replace := map[string]string{}
	for name, source := range files {
		path := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(base, name)] = path
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// snippetName is the package directory of a block, relative to the root.
func snippetName(b block) string {
	name := strings.NewReplacer("/", "_", ".", "_").Replace(b.file)
	return fmt.Sprintf("%s/%s_%d", snippetDir, name, b.line)
}

// TestGoBlocksCompile builds every Go block, all in one call of the go command.
func TestGoBlocksCompile(t *testing.T) {
	files := map[string]string{}
	where := map[string]block{}
	var packages []string
	for _, blocks := range documents(t) {
		for _, b := range blocks {
			if b.language != "go" {
				continue
			}
			source, err := complete(b.text)
			if err != nil {
				t.Errorf("%s: %v", b, err)
				continue
			}
			name := snippetName(b)
			files[name+"/snippet.go"] = source
			where[name] = b
			packages = append(packages, "./"+name)
		}
	}
	if len(packages) == 0 {
		t.Fatal("no Go block in any document")
	}
	slices.Sort(packages)
	// A directory to write to keeps programs, should there be any, out of the tree.
	to := t.TempDir() + string(filepath.Separator)
	cmd := exec.Command("go", append([]string{"build", "-o", to, "-overlay", overlay(t, files)}, packages...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		text := string(out)
		for name, b := range where {
			text = strings.ReplaceAll(text, module+name, b.String())
		}
		t.Errorf("go build: %v\n%s", err, text)
	}
}

func TestComplete(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"a program stays", "package main\n\nfunc main() {}\n", "package main\n\nfunc main() {}\n"},
		{"declarations", "func f(c context.Context) {}\n", "package snippet\nimport context \"context\"\nfunc f(c context.Context) {}\n"},
		{"statements", "fmt.Println(1)\n", "package snippet\nimport backplane \"" + module + "pkg/backplane\"\nimport context \"context\"\nimport fmt \"fmt\"\nimport router \"" + module + "pkg/router\"\nimport slog \"log/slog\"\nfunc _(" + given + ") error {\nfmt.Println(1)\n\nreturn nil\n}\n"},
		{"its own imports", "import \"encoding/json\"\n\nvar v = json.Valid(nil)\n", "package snippet\nimport \"encoding/json\"\n\nvar v = json.Valid(nil)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := complete(test.in)
			if err != nil || got != test.want {
				t.Errorf("error %v, got\n%s\nwant\n%s", err, got, test.want)
			}
		})
	}
	if _, err := complete("func {"); err == nil {
		t.Error("a snippet that does not parse: no error")
	}
}
