package main

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

type configCmd struct {
	gatewayFlags `embed:""`

	Example bool `help:"Print a commented file for --env-file with every setting of every command instead." novar:"true"`
}

// Run prints what `boreas gateway` would run with, given the same flags.
func (c *configCmd) Run(p *process, k *kong.Context) error {
	if c.Example {
		return writeExample(p.stdout, k.Model)
	}
	given := map[*kong.Flag]bool{}
	for _, element := range k.Path {
		if element.Flag != nil && !element.Resolved {
			given[element.Flag] = true
		}
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tSOURCE")
	for _, f := range k.Flags() {
		if !isSetting(f) {
			continue
		}
		source := p.settings.sources[f.Name]
		switch {
		case given[f]:
			source = "flag"
		case source == "":
			source = "default"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", variable(f.Name), display(f, text(f.Target)), source)
	}
	return w.Flush()
}

// text is a flag's value as one would type it.
func text(v reflect.Value) string {
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	parts := make([]string, v.Len())
	for i := range parts {
		parts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(parts, ",")
}

// composeVariables are those of docker-compose.yml that are no settings of a command.
const composeVariables = `
## docker compose

# Where the load balancer listens on this machine.
#PUBLIC_PORT=8080

# Where Prometheus does, for this machine only.
#PROMETHEUS_PORT=9091

# Where Grafana does, for this machine only.
#GRAFANA_PORT=3000
`

// writeExample writes each setting once, under the first command that has it,
// with its default commented out.
func writeExample(w io.Writer, app *kong.Application) error {
	var b strings.Builder
	b.WriteString("# Settings of boreas, for --env-file, the environment, or .env beside docker-compose.yml.\n" +
		"# A line that is commented out shows the default. Written by `boreas config --example`.\n")
	seen := map[string]bool{variable("env-file"): true} // a file cannot name itself
	section := func(title string, flags []*kong.Flag) {
		for _, f := range flags {
			name := variable(f.Name)
			if !isSetting(f) || seen[name] {
				continue
			}
			if title != "" {
				fmt.Fprintf(&b, "\n## %s\n", title)
				title = ""
			}
			seen[name] = true
			fmt.Fprintf(&b, "\n# %s\n#%s=%s\n", f.Help, name, f.Default)
		}
	}
	section("All commands", app.Flags)
	for _, command := range exampleOrder(app) {
		section("boreas "+command.Name, command.Flags)
	}
	b.WriteString(composeVariables)
	_, err := io.WriteString(w, b.String())
	return err
}

// exampleOrder puts the gateway first: it is what one runs with such a file. Hidden
// commands have no settings.
func exampleOrder(app *kong.Application) []*kong.Node {
	var first, rest []*kong.Node
	for _, command := range app.Children {
		switch {
		case command.Hidden:
		case command.Name == "gateway":
			first = append(first, command)
		default:
			rest = append(rest, command)
		}
	}
	return append(first, rest...)
}
