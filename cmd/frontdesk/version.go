package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

type versionCommand struct{}

// Run is frontdesk version.
func (versionCommand) Run() error {
	fmt.Println("frontdesk", version(), runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return nil
}

// version is the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}
