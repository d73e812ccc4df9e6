package cli

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/permission"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// completionMost bounds what is read of a directory: somebody waits at a prompt.
const completionMost = 1000

// completing reports whether a shell asks for completions. To prepare them takes 0.4 ms,
// which no other command has to wait for.
func (c *command) completing() bool {
	return len(c.args) > 0 && (c.args[0] == cobra.ShellCompRequestCmd || c.args[0] == cobra.ShellCompNoDescRequestCmd)
}

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
		if f.Name == "key" {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, keyOrFile)
			return
		}
		if f.Name == "to" && cmd.CommandPath() == "ghapp keys import" {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, keyElsewhere)
			return
		}
		offer := c.valuesOf(f)
		if offer == nil {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, func(*cobra.Command, []string,
			string) ([]string, cobra.ShellCompDirective) {
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
		offer = c.configSetting
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
		return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return keyOrFile(cmd, args, begun)
		}
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
	case "config", "ca-file", "output", "to", "check", "exec":
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
	loaded, err := c.apps().Load()
	if err != nil {
		return nil
	}
	var list []string
	for _, app := range loaded.Apps() {
		list = append(list, app.Name)
	}
	return list
}

// keyOrFile is what a shell offers for a key: the schemes of key URIs, and files. A shell
// lists files only where it is offered nothing else, so that beside schemes they are
// listed here.
func keyOrFile(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	schemes := schemesFrom(begun, keyuri.Schemes())
	if len(schemes) == 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return append(schemes, filesFrom(begun)...), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// keyElsewhere is what a shell offers for the place to which a key is moved, which is no file.
func keyElsewhere(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	schemes := slices.DeleteFunc(keyuri.Schemes(), func(s string) bool { return s == "file" || s == "env" })
	return schemesFrom(begun, schemes), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func schemesFrom(begun string, schemes []string) []string {
	var list []string
	for _, scheme := range schemes {
		if strings.HasPrefix(scheme+":", begun) {
			list = append(list, scheme+":")
		}
	}
	return list
}

// filesFrom are the files here whose names begin so.
func filesFrom(begun string) []string {
	dir, err := os.Open(".")
	if err != nil {
		return nil
	}
	defer dir.Close()
	entries, _ := dir.ReadDir(completionMost)
	var list []string
	for _, entry := range entries {
		name := entry.Name()
		hidden := name[0] == '.' || text.OneLine(name) != name || strings.Contains(name, ":")
		if hidden || !strings.HasPrefix(name, begun) {
			continue
		}
		if entry.IsDir() {
			name += string(os.PathSeparator)
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func (c *command) knownRepositories() []string { return c.apps().KnownRepositories() }

func (c *command) knownTargets() []string {
	loaded, err := c.apps().Load()
	if err != nil {
		return nil
	}
	var list []string
	for _, s := range loaded.Syncs() {
		list = append(list, s.Name)
	}
	return list
}

// configSetting is a key for config set, and then the values that it may have, where they are
// few.
func (c *command) configSetting(args []string) []string {
	switch {
	case len(args) == 0:
		return c.configKeys()
	case len(args) == 1 && strings.HasSuffix(args[0], ".identity"):
		var list []string
		for _, name := range identity.Names() {
			list = append(list, strings.TrimRight(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ/"))
		}
		return slices.Compact(list)
	}
	return nil
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
