package doctest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// root is the repository's root, seen from this package.
const root = "../.."

// block is one fenced code block.
type block struct {
	file     string // relative to root
	line     int    // of the opening fence, from 1
	language string
	verb     string // of the doctest comment before it
	argument string
	text     string // ends with a newline
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.file, b.line) }

var directive = regexp.MustCompile(`^<!-- doctest: (\S+) ?(.*?) -->$`)

// parseBlocks finds the fenced blocks of a Markdown text.
func parseBlocks(file, markdown string) ([]block, error) {
	var blocks []block
	var current *block
	var indent, comment string
	for i, line := range strings.Split(markdown, "\n") {
		trimmed := strings.TrimLeft(line, " ")
		switch {
		case current != nil && strings.TrimRight(trimmed, " ") == "```":
			blocks = append(blocks, *current)
			current = nil
		case current != nil:
			current.text += strings.TrimPrefix(line, indent) + "\n"
		case strings.HasPrefix(trimmed, "```"):
			language, _, _ := strings.Cut(strings.TrimPrefix(trimmed, "```"), " ")
			current = &block{file: file, line: i + 1, language: language}
			indent = line[:len(line)-len(trimmed)]
			if m := directive.FindStringSubmatch(comment); m != nil {
				current.verb, current.argument = m[1], m[2]
			} else if comment != "" {
				return nil, fmt.Errorf("%s: not a doctest comment: %s", current, comment)
			}
			comment = ""
		case strings.HasPrefix(trimmed, "<!-- doctest"):
			comment = strings.TrimRight(trimmed, " ")
		case trimmed != "" && comment != "":
			return nil, fmt.Errorf("%s:%d: a doctest comment without a block after it", file, i)
		}
	}
	if current != nil {
		return nil, fmt.Errorf("%s: the block does not end", current)
	}
	return blocks, nil
}

// documents are the Markdown files of the repository, with their blocks.
func documents(t *testing.T) map[string][]block {
	t.Helper()
	found := map[string][]block{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		markdown, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found[name], err = parseBlocks(filepath.ToSlash(name), string(markdown))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestParseBlocks(t *testing.T) {
	const markdown = "Text\n```go\nx := 1\n```\n\n" +
		"<!-- doctest: serves http://localhost:8080/ -->\n\n```sh\nrun\n```\n" +
		"- item\n\n  ```\n  a\n    b\n  ```\n"
	got, err := parseBlocks("f.md", markdown)
	if err != nil {
		t.Fatal(err)
	}
	want := []block{
		{file: "f.md", line: 2, language: "go", text: "x := 1\n"},
		{file: "f.md", line: 8, language: "sh", verb: "serves", argument: "http://localhost:8080/", text: "run\n"},
		{file: "f.md", line: 13, text: "a\n  b\n"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(block{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseBlocksErrors(t *testing.T) {
	for name, markdown := range map[string]string{
		"no end":           "```go\nx\n",
		"comment alone":    "<!-- doctest: dry -->\ntext\n```sh\n```\n",
		"comment not read": "<!-- doctest -->\n```sh\n```\n",
	} {
		t.Run(name, func(t *testing.T) {
			if blocks, err := parseBlocks("f.md", markdown); err == nil {
				t.Errorf("no error; blocks %v", blocks)
			}
		})
	}
}
