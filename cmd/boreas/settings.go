package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

// envPrefix starts the name of every environment variable that is a setting.
const envPrefix = "BOREAS_"

// settings finds the values of flags that the command line does not give: in
// the environment, then in the file that --env-file names. It remembers where
// each value came from. An empty variable counts as not set.
type settings struct {
	environ map[string]string // BOREAS_ variables
	file    map[string]string // the same, of the file
	path    string            // of the file
	sources map[string]string // of resolved flags, by flag name: "environment" or the file's path
}

func newSettings(environ []string) *settings {
	s := &settings{environ: map[string]string{}, sources: map[string]string{}}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, envPrefix) {
			s.environ[name] = value
		}
	}
	return s
}

// variable is the environment variable of a flag: BOREAS_DRAIN_WINDOW for
// --drain-window.
func variable(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// isSetting reports whether a flag can be set by a variable: all but --help.
func isSetting(f *kong.Flag) bool { return f.Name != "help" && !f.Hidden && f.Tag.Get("novar") == "" }

// BeforeResolve reads the file named by --env-file, or by its variable.
func (c *cli) BeforeResolve(ctx *kong.Context, s *settings) error {
	s.path = s.environ[variable("env-file")]
	for _, f := range ctx.Flags() {
		if f.Name != "env-file" {
			continue
		}
		if path, _ := ctx.FlagValue(f).(string); path != "" {
			s.path = path
		}
	}
	if s.path == "" {
		return nil
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("--env-file: %w", err)
	}
	s.file, err = parseEnvFile(string(text))
	if err != nil {
		return fmt.Errorf("--env-file: %s: %w", s.path, err)
	}
	return nil
}

// parseEnvFile reads NAME=value lines. Its error names the line and never quotes
// it, since the file holds secrets.
func parseEnvFile(text string) (map[string]string, error) {
	text += "\n" // the parser takes a last line without an end for a name
	values, err := godotenv.Unmarshal(text)
	if err == nil {
		return values, nil
	}
	// The parser does not tell where it failed: it is the line after the longest
	// beginning that it accepts.
	lines := strings.SplitAfter(text, "\n")
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := godotenv.Unmarshal(strings.Join(lines[:n], "")); err == nil {
			return nil, fmt.Errorf("line %d is not of the form NAME=value", n+1)
		}
	}
	return nil, errors.New("line 1 is not of the form NAME=value")
}

// Validate implements [kong.Resolver].
func (s *settings) Validate(*kong.Application) error { return nil }

// Resolve implements [kong.Resolver]: kong asks for each flag that the command
// line does not give.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if !isSetting(f) {
		return nil, nil
	}
	name := variable(f.Name)
	if value := s.environ[name]; value != "" {
		s.sources[f.Name] = "environment"
		return value, nil
	}
	if value := s.file[name]; value != "" {
		s.sources[f.Name] = s.path
		return value, nil
	}
	return nil, nil
}

// explain adds to kong's error about a flag the variable that it came from.
func (s *settings) explain(err error) error {
	flag, _, ok := strings.Cut(strings.TrimPrefix(err.Error(), "--"), ":")
	flag, _, _ = strings.Cut(flag, "=")
	source := s.sources[flag]
	if !ok || source == "" {
		return err
	}
	return fmt.Errorf("%w (from %s, %s)", err, variable(flag), source)
}

// unknown describes the BOREAS_ variables that no command has a flag for, with
// the name that was probably meant.
func (s *settings) unknown(app *kong.Application) []string {
	known := map[string]bool{}
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok && isSetting(f) {
			known[variable(f.Name)] = true
		}
		return next(nil)
	})
	names := slices.Sorted(maps.Keys(known))

	var warnings []string
	for _, from := range []struct {
		where  string
		values map[string]string
	}{{"the environment", s.environ}, {s.path, s.file}} {
		for _, name := range slices.Sorted(maps.Keys(from.values)) {
			if known[name] || !strings.HasPrefix(name, envPrefix) {
				continue
			}
			warning := fmt.Sprintf("%s in %s is not a setting and has no effect", name, from.where)
			if near := nearest(name, names); near != "" {
				warning += "; did you mean " + near + "?"
			}
			warnings = append(warnings, warning)
		}
	}
	return warnings
}

// nearest is the name that takes the fewest edits to get from s, or "" when all
// are far away.
func nearest(s string, names []string) string {
	best, found := 4, "" // three typing errors at most
	for _, name := range names {
		if d := edits(s, name); d < best {
			best, found = d, name
		}
	}
	return found
}

// edits is the Levenshtein distance of two strings.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// helpWithVariable puts each setting's variable beside its help.
func helpWithVariable(v *kong.Value) string {
	if v.Flag == nil || !isSetting(v.Flag) {
		return v.Help
	}
	return v.Help + " [" + variable(v.Flag.Name) + "]"
}
