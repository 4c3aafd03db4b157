package main

import (
	"fmt"
	"runtime/debug"
)

type versionCmd struct{}

// Run prints the module's version, the commit and the Go release.
func (versionCmd) Run(p *process) error {
	_, err := fmt.Fprintln(p.stdout, versionLine(debug.ReadBuildInfo()))
	return err
}

func versionLine(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return "boreas (built without module information)"
	}
	line := "boreas " + info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			line += " commit " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			line += " (modified)"
		}
	}
	return line + " " + info.GoVersion
}
