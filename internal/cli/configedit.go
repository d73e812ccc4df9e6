package cli

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/configedit"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/term"
)

func (c *command) configSet() *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY VALUE...",
		Short: "Set a value in the config file",
		Long: `Sets a value in the config file, which is made where there is none. Everything else
in there stays as it is written, comments included, and what ghapp would refuse to
read is not written.

KEY is default, or the name of an App and one of its keys, as config show has them:
deploy.key. A new App begins with its app. Several values make a list, of which a key
has two while it is replaced: the newest one first. A path that is not absolute is taken
from the directory of the config file.`,
		Example: `  ghapp config set deploy.app Iv23liABCDEFGHIJKLMN
  ghapp config set deploy.key /etc/ghapp/app.pem
  ghapp config set deploy.owners acme octo
  ghapp config set deploy.repositories.acme/site contents:write
  ghapp config set default deploy`,
		Args: usage(cobra.MinimumNArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error { return c.setInFile(args[0], args[1:]) },
	}
}

func (c *command) configUnset() *cobra.Command {
	return &cobra.Command{
		Use:   "unset KEY",
		Short: "Take a value out of the config file",
		Long: `Takes a value out of the config file. KEY is as for config set; the name of an App
alone takes out all of it.`,
		Example: `  ghapp config unset deploy.installation
  ghapp config unset deploy`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return c.unsetInFile(args[0]) },
	}
}

func (c *command) configEdit() *cobra.Command {
	return &cobra.Command{
		Use:   "edit",
		Short: "Edit the config file, and check it before it counts",
		Long: `Opens a copy of the config file in $VISUAL, $EDITOR, or else vi, and puts it in the
place of the file when ghapp would read it. What is wrong is told with its line, and
can be edited again; what is not written in the end is kept beside the file.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.editFile(cmd.Context()) },
	}
}

// changedFile is what a program is told.
type changedFile struct {
	Path    string `json:"path"`
	Changed bool   `json:"changed"`
}

func (c *command) tellChange(path string, changed bool) error {
	switch {
	case c.json:
		return term.JSON(c.Stdout, changedFile{path, changed})
	case changed:
		c.progress("written to %s", c.fromHome(path))
	default:
		c.progress("%s is as it was", c.fromHome(path))
	}
	return nil
}

func (c *command) setInFile(key string, values []string) error {
	file, err := configedit.Open(c.givenFlags(), c.lookup)
	if err != nil {
		return err
	}
	of, changed, err := file.Set(key, values)
	if err != nil {
		return err
	}
	for _, doubt := range file.Doubts(of, values, c.lookup, c.home()) {
		c.log().Warn(doubt)
	}
	return c.tellChange(file.Path(), changed)
}

func (c *command) unsetInFile(key string) error {
	file, err := configedit.Open(c.givenFlags(), c.lookup)
	if err != nil {
		return err
	}
	changed, err := file.Unset(key)
	if err != nil {
		return err
	}
	return c.tellChange(file.Path(), changed)
}

// editFile has a person edit the file until it is right, or until they have had enough.
func (c *command) editFile(ctx context.Context) error {
	file, err := configedit.Open(c.givenFlags(), c.lookup)
	if err != nil {
		return err
	}
	changed, kept, err := file.Edit(
		func(copied string) error { return c.edit(ctx, copied) },
		func(wrong *config.Error) (again bool, err error) {
			if !c.person().There() {
				return false, wrong
			}
			c.report(diag.Explain(wrong))
			if again, err = c.person().Agrees(ctx, "Edit it again?", true); err == nil {
				err = &examinedExit{fault.Configuration} // it has been told
			}
			return again, err
		})
	switch {
	case err == nil:
		return c.tellChange(file.Path(), changed)
	case kept != "":
		c.console().Tell("nothing was written to %s; what was edited is kept in %s", file.Path(), kept)
	}
	return err
}

// edit runs the editor on a file. What a person wrote in the environment is a command of
// the shell's, as for git: it may have options. The private key is none of its business.
func (c *command) edit(ctx context.Context, path string) error {
	editor, from := "vi", ""
	if runtime.GOOS == "windows" {
		editor = "notepad"
	}
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if text, _ := c.lookup(name); strings.TrimSpace(text) != "" {
			editor, from = text, " (from "+name+")"
		}
	}
	argv := []string{"sh", "-c", editor + ` "$@"`, editor, path}
	if _, err := exec.LookPath("sh"); err != nil && runtime.GOOS == "windows" {
		argv = append(strings.Fields(editor), path)
	}
	// Without ctx: the editor may have something to save, and is waited for. What the
	// keyboard sends reaches it by itself.
	run := exec.Command(argv[0], argv[1:]...)
	run.Stdin, run.Stdout, run.Stderr = c.Stdin, c.Stdout, c.Stderr
	if c.json {
		run.Stdout = c.Stderr
	}
	run.Env = childenv.Apart(c.Environ, c.apps().Own())
	err := run.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &fault.ExitError{Code: fault.Failed, Err: fmt.Errorf("the editor %s%s failed: %w", editor, from, err),
			Hint: "set VISUAL or EDITOR to an editor that is installed"}
	}
	return nil
}
