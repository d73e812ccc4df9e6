package githubtest

import (
	"maps"
	"slices"
)

// AwaitGit waits until no git process runs.
func (gh *GitHub) AwaitGit() { gh.runs.Wait() }

// ScriptCommands are the commands Script knows, and ScriptFaults what a fault can be made of.
func ScriptCommands() []string { return slices.Sorted(maps.Keys(scriptCommands)) }
func ScriptFaults() []string   { return slices.Sorted(maps.Keys(faultWords)) }
