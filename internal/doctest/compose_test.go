package doctest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// isCompose reports whether a command line, which may start with variables, is one
// of docker compose.
func isCompose(words []string) bool {
	return slices.Contains(words, "docker") && slices.Contains(words, "compose")
}

// checkCompose looks up in docker-compose.yml what a command line names: variables,
// profiles and services. Running it is for test/compose.
func checkCompose(words []string) error {
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		return err
	}
	has := func(kind, name, as string) error {
		if !strings.Contains(string(text), as) {
			return fmt.Errorf("docker-compose.yml has no %s %s", kind, name)
		}
		return nil
	}
	start := slices.Index(words, "docker")
	for _, assignment := range words[:start] {
		name, _, _ := strings.Cut(assignment, "=")
		if err := has("variable", name, "${"+name+":-"); err != nil {
			return err
		}
	}
	rest := words[start:]
	if len(rest) < 3 || rest[1] != "compose" {
		return fmt.Errorf("%q is no command of docker compose", words)
	}
	for i := 2; i+1 < len(rest); i++ {
		name, _, _ := strings.Cut(rest[i+1], "=")
		var err error
		switch rest[i] {
		case "--profile":
			err = has("profile", name, "profiles: ["+name+"]")
		case "--scale":
			err = has("service", name, "\n  "+name+":\n")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func TestComposeLinesNameWhatThereIs(t *testing.T) {
	for line, problem := range map[string]string{
		"docker compose up --build --scale gateway=4":        "",
		"BOREAS_REDIS=x docker compose --profile cluster up": "",
		"docker compose up --scale gatway=4":                 "no service gatway",
		"docker compose --profile clusters up":               "no profile clusters",
		"REDIS=x docker compose up":                          "no variable REDIS",
		"docker compose":                                     "no command",
	} {
		switch err := checkCompose(strings.Fields(line)); {
		case problem == "" && err != nil:
			t.Errorf("%q: %v", line, err)
		case problem != "" && (err == nil || !strings.Contains(err.Error(), problem)):
			t.Errorf("%q: %v; want %q", line, err, problem)
		}
	}
}
