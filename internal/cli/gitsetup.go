package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitconfig"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/userdirs"
)

type gitSetupOptions struct {
	system, global, local bool
	ssh, undo, print      bool
	submodules, identity  bool
}

func (c *command) gitSetup() *cobra.Command {
	var o gitSetupOptions
	cmd := &cobra.Command{
		Use:   "git-setup",
		Short: "Make plain git use the App",
		Long: `Names ghapp in git's configuration as the credential helper for the App's host, so
that git clone, pull and push, submodules, git-lfs, and whatever else runs git over
https, use the App. What else is configured stays as it is; what would get in the way
is told, with its file, its line and a hint. No token is written anywhere.

For the owners that the config file names, git from 2.46 on sends the token with its
first request, for public repositories too. One that the App does not reach, or whose
owner's IP allow list keeps the token out, it reads without.

Each line that is written ends with a comment that says whose it is, and --undo takes
exactly these lines away again. With --local that is also what ghapp clone has written
into the clone and its submodules.

git reads nothing of a repository's own configuration while it clones a submodule of it.
With --local --submodules the user's file gets an include (includeIf.gitdir) of a file in
the repository, which git reads below that repository alone.`,
		Example: `  ghapp git-setup
  ghapp git-setup --ssh --print
  ghapp git-setup --system --app Iv23liABCDEFGHIJKLMN --key /etc/ghapp/app.pem
  ghapp git-setup --local --submodules
  ghapp git-setup --undo`,
		Args: usage(func(cmd *cobra.Command, args []string) error {
			switch {
			case o.global && o.system, o.global && o.local, o.system && o.local:
				return errors.New("--global, --system and --local are three places; name one")
			case o.undo && (o.ssh || o.print || o.submodules || o.identity):
				return errors.New("--undo takes everything away, and goes with none of --ssh, --print, --submodules and --identity")
			case o.submodules && !o.local:
				return errors.New("--submodules is for those of one repository, with --local; without it git asks for all anyway")
			}
			return cobra.NoArgs(cmd, args)
		}),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runGitSetup(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.global, "global", false, "for this user (default)")
	flags.BoolVar(&o.system, "system", false, "for all users of this machine")
	flags.BoolVar(&o.local, "local", false, "for the repository of the current directory")
	flags.BoolVar(&o.ssh, "ssh", false, "use https where an address is git@HOST: or ssh://git@HOST/ too")
	flags.BoolVar(&o.submodules, "submodules", false,
		"with --local, for submodules that git fetches later too: writes an include into the user's file")
	flags.BoolVar(&o.identity, "identity", false, "have commits be the App's, by user.name and user.email")
	flags.BoolVar(&o.undo, "undo", false, "take away what git-setup wrote; with --host, for that host")
	flags.BoolVar(&o.print, "print", false, "print what would be written, and write nothing")
	return cmd
}

// scope is the one that the flags name.
func (o gitSetupOptions) scope() gitsetup.Scope {
	switch {
	case o.system:
		return gitsetup.System
	case o.local:
		return gitsetup.Local
	}
	return gitsetup.Global
}

// gitSetupReport is what a program is told.
type gitSetupReport struct {
	File      string              `json:"file"`
	Origins   []string            `json:"origins"`
	Changed   bool                `json:"changed"`
	Conflicts []gitsetup.Conflict `json:"conflicts"`
	Text      string              `json:"text,omitempty"` // with --print: what would be written
}

// gitFiles are the files of git's configuration as it is seen from here.
func (c *command) gitFiles() *gitconfig.Files {
	return &gitconfig.Files{Git: &gitcmd.Runner{Environ: c.Environ, Own: c.apps().Own()}}
}

func (c *command) runGitSetup(ctx context.Context, o gitSetupOptions) error {
	git := c.gitFiles()
	file, err := git.Path(ctx, o.scope())
	if err != nil {
		return err
	}
	files, err := o.files(file)
	if err != nil {
		return err
	}
	if o.undo {
		return c.undoGitSetup(ctx, git, files, o)
	}
	report, sections, whole, err := c.planGitSetup(ctx, git, file, o)
	if err != nil {
		return err
	}
	if o.print && c.json {
		report.Text = string(gitsetup.Text(whole))
		return term.JSON(c.Stdout, report)
	}
	if o.print {
		_, err := c.Stdout.Write(gitsetup.Text(whole))
		return err
	}
	report.Changed, err = gitconfig.EditEach(files,
		func(text []byte) []byte {
			return gitsetup.Apply(o.withoutFormer(text, report.Origins), report.Origins, whole)
		},
		func(path string) error { return git.Reads(ctx, path, whole) })
	if err != nil {
		return err
	}
	if o.local {
		changed, err := git.SetSubmodules(ctx, file, report.Origins, sections, o.submodules)
		if err != nil {
			return err
		}
		report.Changed = report.Changed || changed
	}
	switch {
	case c.json:
		return term.JSON(c.Stdout, report)
	case report.Changed:
		c.progress("git asks ghapp for %s: written to %s", strings.Join(report.Origins, " and "), file)
	default:
		c.progress("git asks ghapp for %s already: %s is as it was", strings.Join(report.Origins, " and "), file)
	}
	return nil
}

// planGitSetup tells of what stands in the way, and returns what is to be written: sections
// for submodules as well, and whole for the file itself.
func (c *command) planGitSetup(ctx context.Context, git *gitconfig.Files, file string, o gitSetupOptions) (
	report gitSetupReport, sections, whole []gitsetup.Section, err error,
) {
	none := gitSetupReport{}
	loaded, err := c.apps().Load()
	if err != nil {
		return none, nil, nil, err
	}
	hosts, err := loaded.Hosts()
	if err != nil {
		return none, nil, nil, err
	}
	entries, err := git.Entries(ctx)
	if err != nil {
		return none, nil, nil, err
	}
	report = gitSetupReport{File: file, Conflicts: append([]gitsetup.Conflict{}, gitsetup.Variables(c.lookup)...)}
	for _, settings := range hosts {
		host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text)
		if err != nil {
			return none, nil, nil, &fault.SettingError{Err: err}
		}
		sections = append(sections, c.gitSections(host.Origin, settings, o)...)
		report.Origins = append(report.Origins, host.Origin)
		report.Conflicts = append(report.Conflicts, gitsetup.Conflicts(entries, host.Origin, o.scope(), os.ReadFile)...)
		report.Conflicts = append(report.Conflicts, git.Netrc(host.Origin)...)
		if only := gitsession.OnlyInEnvironment(c.apps(), settings, ""); only != "" {
			c.log().Warn(fmt.Sprintf("git needs %s each time, since the key is nowhere else", only))
		}
	}
	for _, conflict := range report.Conflicts {
		c.log().Warn(fmt.Sprintf("%s: %s: %s; hint: %s", conflict.Place(), conflict.Key, conflict.Text, conflict.Hint))
	}
	whole = sections
	if o.identity {
		identity, err := gitsession.IdentitySection(ctx, c.apps(), entries, file)
		if err != nil {
			return none, nil, nil, err
		}
		whole = append(slices.Clone(sections), identity)
	}
	return report, sections, whole, nil
}

// gitSections is all that git-setup writes for an origin.
func (c *command) gitSections(origin string, settings config.AppSettings, o gitSetupOptions) []gitsetup.Section {
	sections := gitsession.Sections(c.apps(), origin, settings, o.scope(), "")
	// A token at once where one is to be expected, from git 2.46 on. For the whole host
	// git would insist on one for public repositories of owners without the App, too.
	for _, owner := range settings.GitOwners() {
		sections = append(sections, gitsetup.Section{Name: "http", Subsection: origin + "/" + owner + "/",
			Settings: []gitsetup.Setting{{Name: "proactiveAuth", Value: "basic"}}})
	}
	if o.ssh {
		rewrite := gitsetup.Section{Name: "url", Subsection: origin + "/"}
		for _, form := range (gitcmd.Scope{Origin: origin}).SSHForms() {
			rewrite.Settings = append(rewrite.Settings, gitsetup.Setting{Name: "insteadOf", Value: form})
		}
		sections = append(sections, rewrite)
	}
	return sections
}

// files are those that are edited: a repository's own, and with it those of its submodules,
// in which git does not read the former.
func (o gitSetupOptions) files(file string) ([]string, error) {
	files := []string{file}
	if !o.local {
		return files, nil
	}
	dirs, err := gitcmd.SubmoduleDirs(filepath.Dir(file))
	for _, dir := range dirs {
		files = append(files, filepath.Join(dir, "config"))
	}
	return files, err
}

// withoutFormer is the text without what a clone of an older ghapp has in it.
func (o gitSetupOptions) withoutFormer(text []byte, origins []string) []byte {
	if !o.local {
		return text
	}
	return gitsetup.RemoveFormer(text, origins)
}

func (c *command) undoGitSetup(ctx context.Context, git *gitconfig.Files, files []string, o gitSetupOptions) error {
	file := files[0]
	var origins []string
	if name, given := c.givenFlags()["host"]; given {
		host, err := api.ParseHost(name, "")
		if err != nil {
			return &fault.UsageError{Err: err}
		}
		origins = []string{host.Origin}
	}
	changed, err := gitconfig.EditEach(files,
		func(text []byte) []byte {
			if text == nil {
				return nil
			}
			return gitsetup.Remove(o.withoutFormer(text, origins), origins)
		},
		func(string) error { return nil })
	if err == nil && o.local {
		// Without a home directory there is no file of the user's with anything in it.
		if later, none := git.Submodules(ctx, file); none == nil {
			var more bool
			more, err = later.Remove(origins)
			changed = changed || more
		}
	}
	if err != nil {
		return err
	}
	switch {
	case c.json:
		return term.JSON(c.Stdout, gitSetupReport{File: file, Origins: []string{}, Changed: changed,
			Conflicts: []gitsetup.Conflict{}})
	case changed:
		c.progress("git does not ask ghapp any more: taken away from %s", file)
	default:
		c.progress("%s has nothing of git-setup's: it is as it was", file)
	}
	return nil
}

// home is the directory where git and libcurl look for the user's files.
func (c *command) home() string { return userdirs.Home(runtime.GOOS, c.lookup) }

// tellOfSubmodules says of a clone that has submodules that git will ask nobody for those
// that it fetches later, unless the configuration of the user or of the machine has it do so.
func (c *command) tellOfSubmodules(ctx context.Context, dir, origin string) {
	if _, err := os.Stat(filepath.Join(dir, ".gitmodules")); err != nil {
		return
	}
	root := filepath.VolumeName(dir) + string(filepath.Separator)
	git := gitcmd.Runner{Dir: root, Environ: c.Environ, Own: c.apps().Own()}
	helpers, err := git.Output(ctx, gitcmd.Scope{}, "config", "--get-all", "credential."+origin+".helper")
	if err == nil && strings.Contains(string(helpers), "ghapp") {
		return
	}
	c.progress("Submodules that plain git fetches here later will ask nobody for a credential: `ghapp git-setup` makes\n" +
		"all git of this user ask, `ghapp git-setup --local --submodules` in this clone that of its submodules.")
}
