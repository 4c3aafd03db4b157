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
	setting := map[string]string{}
	for _, s := range info.Settings {
		setting[s.Key] = s.Value
	}
	line := "boreas " + info.Main.Version
	if commit := setting["vcs.revision"]; commit != "" {
		line += " commit " + commit
	}
	if setting["vcs.modified"] == "true" {
		line += " (modified)"
	}
	return line + " " + info.GoVersion
}
