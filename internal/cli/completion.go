package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/permission"
)

// completes gives all commands below one what a shell offers for their arguments and
// flags: names of the configuration where they are meant, files where they belong, and
// nothing elsewhere. Nothing is asked of GitHub for it.
func (c *command) completes(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.completes(sub)
	}
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = c.argumentsOf(cmd)
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		offer := c.valuesOf(f)
		if offer == nil || f.Value.Type() == "bool" {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return offer(), cobra.ShellCompDirectiveNoFileComp
		})
	})
}

// argumentsOf is what a shell offers for the arguments of a command.
func (c *command) argumentsOf(cmd *cobra.Command) cobra.CompletionFunc {
	var offer func(args []string) []string
	switch strings.TrimPrefix(cmd.CommandPath(), "ghapp ") {
	case "token", "exec":
		offer = func([]string) []string { return c.knownRepositories() }
	case "doctor", "sync":
		offer = first(c.knownRepositories)
	case "sync status", "sync rollback", "sync resume":
		offer = first(c.knownTargets)
	case "config set":
		offer = first(c.configKeys)
	case "config unset":
		offer = first(c.configKeys)
	case "clone": // a directory stands behind the repository
		return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return c.knownRepositories(), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveFilterDirs
		}
	case "keys fingerprint", "keys check", "keys import", "keys rotate":
		return nil // a file
	default:
		offer = func([]string) []string { return nil }
	}
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return offer(args), cobra.ShellCompDirectiveNoFileComp
	}
}

// first offers something for the first argument alone.
func first(list func() []string) func(args []string) []string {
	return func(args []string) []string {
		if len(args) > 0 {
			return nil
		}
		return list()
	}
}

// valuesOf is what a shell offers for the value of a flag; nil: files.
func (c *command) valuesOf(f *pflag.Flag) func() []string {
	fixed := func(list []string) func() []string { return func() []string { return list } }
	if list := choices(f); len(list) > 0 {
		return fixed(list)
	}
	switch f.Name {
	case "app":
		return c.knownApps
	case "permissions":
		return fixed(permissionWords())
	case "config", "key", "ca-file", "output", "to", "check", "exec":
		return nil
	}
	if strings.HasSuffix(f.Name, "-file") || strings.HasSuffix(f.Name, "-signers") {
		return nil
	}
	return fixed(nil)
}

func permissionWords() []string {
	list := []string{"all"}
	for _, name := range permission.Names() {
		list = append(list, name+":read", name+":write")
	}
	return list
}

func (c *command) knownApps() []string {
	loaded, err := c.load()
	if err != nil {
		return nil
	}
	var list []string
	for _, app := range loaded.Apps() {
		list = append(list, app.Name)
	}
	return list
}

// knownRepositories are those that the configuration names.
func (c *command) knownRepositories() []string {
	loaded, err := c.load()
	if err != nil {
		return nil
	}
	var list []string
	for _, entry := range loaded.List() {
		if name, ok := strings.CutPrefix(entry.Key, "repositories."); ok && !strings.HasSuffix(name, "/*") {
			list = append(list, name)
		}
	}
	for _, s := range loaded.Syncs() {
		list = append(list, s.Repository)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (c *command) knownTargets() []string {
	loaded, err := c.load()
	if err != nil {
		return nil
	}
	var list []string
	for _, s := range loaded.Syncs() {
		list = append(list, s.Name)
	}
	return list
}

// configKeys are those that config set takes, of each App.
func (c *command) configKeys() []string {
	list := []string{"default"}
	for _, app := range c.knownApps() {
		for _, s := range config.Settings() {
			if s.InFile {
				list = append(list, app+"."+s.Key)
			}
		}
		list = append(list, app+".owners", app+".permissions")
	}
	return list
}
