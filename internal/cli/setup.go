package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keystore"
	"github.com/ghapp-dev/ghapp/internal/registration"
	"github.com/ghapp-dev/ghapp/internal/setup"
	"github.com/ghapp-dev/ghapp/internal/term"
)

// setupRun is an App on its way into the configuration, and the person who is told of it.
type setupRun struct {
	*command
	*registration.Run
}

func (c *command) setupRun(target *keystore.Target, organization string) *setupRun {
	return &setupRun{c, &registration.Run{
		Opener: c.apps(), Target: target, Organization: organization, GitOutput: c.gitOutput(),
	}}
}

// openTarget finds the config file that an App is written to, which need not be there yet.
// The command returned goes on with what was read of it.
func (c *command) openTarget() (*keystore.Target, *command, error) {
	target, loaded, err := keystore.OpenTarget(c.apps())
	if err != nil {
		return nil, nil, err
	}
	next := *c
	next.opener = c.apps().Of(loaded)
	return target, &next, nil
}

// keptInFile tells of a key that the keyring did not take.
func (c *command) keptInFile(path string, why error) {
	c.log().Warn("the keyring did not take the key, which is in a file that only you can read", "path", path, "error", why)
}

type setupOptions struct {
	org         string
	user        bool
	name        string
	permissions []string
	noBrowser   bool
	port        int
	keyring     bool
}

func (c *command) setup() *cobra.Command {
	var o setupOptions
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Create a GitHub App in the browser, install it, and write the configuration",
		Long: `Creates a GitHub App, as you confirm it in the browser, keeps its key beside the
config file (or, with --keyring, in the keyring of this system), waits until you have
installed it, writes the config file, and proves with a token and git ls-remote that it
works. It asks for nothing else.

An App that was created and is not installed yet is gone on with: what has begun can be
interrupted. For an App that exists elsewhere there is ghapp setup import.`,
		Example: `  ghapp setup
  ghapp setup --org acme --permissions contents:read,issues:write
  ghapp setup --no-browser --port 8765`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runSetup(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.org, "org", "", "the organization `ORG` owns the App")
	flags.BoolVar(&o.user, "user", false, "you own the App (default)")
	flags.StringVar(&o.name, "name", "", "the App's `NAME`, up to 34 characters (default ghapp and this machine's name)")
	flags.StringSliceVar(&o.permissions, "permissions", []string{"contents:read"},
		"what the App may do, `NAME:read|write`")
	flags.BoolVar(&o.noBrowser, "no-browser", false,
		"open no browser, tell the address: for a machine that is used through ssh")
	flags.BoolVar(&o.keyring, "keyring", false, "keep the App's key in the keyring of this system, not in a file")
	flags.IntVar(&o.port, "port", 0, "the port of the pages on 127.0.0.1 (default any)")
	cmd.AddCommand(c.setupImport())
	return cmd
}

// plan is the App that the options ask for, on the host in use.
func (o setupOptions) plan(origin string) (setup.Plan, error) {
	none := setup.Plan{}
	bad := func(format string, args ...any) (setup.Plan, error) {
		return none, &fault.UsageError{Err: fmt.Errorf(format, args...)}
	}
	permissions, all, err := parsePermissions(o.permissions)
	machine, _, _ := strings.Cut(hostname(), ".")
	p := setup.Plan{Origin: origin, Organization: o.org, Name: o.name, Permissions: permissions, Machine: machine}
	if p.Name == "" {
		p.Name = shortened("ghapp "+machine, setup.MaxName)
	}
	switch {
	case err != nil:
		return none, err
	case all || len(permissions) == 0:
		return bad("--permissions: name each one, such as contents:read")
	case o.org != "" && o.user:
		return bad("--org and --user exclude each other")
	case o.org != "" && !validOwner(o.org):
		return bad("--org: %q is not the name of an organization", o.org)
	case strings.TrimSpace(p.Name) != p.Name || utf8.RuneCountInString(p.Name) > setup.MaxName:
		return bad("--name: up to %d characters, without blanks around them", setup.MaxName)
	case o.port < 0 || o.port > 65535:
		return bad("--port: %d is no port", o.port)
	}
	for name, value := range permissions {
		if value != "read" && value != "write" && value != "admin" {
			return bad("--permissions: %s:%s is neither read, write nor admin", name, value)
		}
	}
	permissions["metadata"] = "read" // comes with every permission on repositories
	return p, nil
}

func validOwner(name string) bool {
	r, err := ghapp.ParseRepository(name + "/x")
	return err == nil && r.Owner == name
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "this-machine"
	}
	return name
}

// shortened cuts a text off after so many characters.
func shortened(text string, most int) string {
	runes := []rune(text)
	return strings.TrimSpace(string(runes[:min(len(runes), most)]))
}

func (c *command) runSetup(ctx context.Context, o setupOptions) error {
	c.followed = true
	target, c, err := c.openTarget()
	if err != nil {
		return err
	}
	given := c.givenFlags()
	for _, flag := range []string{"app", "key", "installation"} {
		if _, ok := given[flag]; ok {
			return &fault.UsageError{Err: fmt.Errorf("ghapp setup creates an App, and takes no --%s; "+
				"for one that exists there is ghapp setup import", flag)}
		}
	}
	host, err := api.ParseHost(target.Given.Host.Text, target.Given.APIURL.Text)
	if err != nil {
		return &fault.SettingError{Err: err}
	}
	plan, err := o.plan(host.Origin)
	if err != nil {
		return err
	}
	plan.KeyPlace = c.fromHome(target.Dir())
	plan.SudoUID, _ = c.lookup("SUDO_UID")
	if err := target.Ready(); err != nil {
		return err
	}
	if o.keyring {
		target.Keyring = &keystore.Keyring{Options: c.apps().KeyOptions(target.Given), Instead: c.keptInFile}
		plan.KeyPlace = "its keyring"
		if err := target.Keyring.Ready(ctx); err != nil {
			return err
		}
	}
	target.Given.Installation = config.Value{} // a variable's is another App's
	run := c.setupRun(target, o.org)
	if run.Reach, err = c.apps().ReachFor(target.Given); err != nil {
		return err
	}
	app, err := run.Resume(ctx, o.name)
	if err != nil {
		return err
	}
	return run.start(ctx, o, setup.New(plan, run.Steps(), app, c.log()), app)
}

// start leads a person through the pages.
func (r *setupRun) start(ctx context.Context, o setupOptions, flow *setup.Flow, app *setup.App) error {
	listener, err := setup.Listen(o.port)
	if err != nil {
		return &fault.SettingError{Err: fmt.Errorf("open a port for the pages of the setup: %w", err),
			Hint: "choose another with --port, or leave that out"}
	}
	address, end := flow.Serve(listener)
	if app == nil {
		r.progress("GitHub will ask twice: to create the App, and to install it.")
	}
	r.showPages(ctx, o.noBrowser, address)
	if app == nil && o.noBrowser {
		r.progress("Should the browser not find its way back, paste the address it ended at here:")
		go r.paste(flow)
	}
	installation, proof, err := flow.Run(ctx, r.told)
	if err == nil {
		err = r.finish(installation, proof)
	} else {
		r.abort(ctx, err)
	}
	return errors.Join(err, end(ctx))
}

// paste takes the address from the terminal.
func (r *setupRun) paste(flow *setup.Flow) {
	for lines := bufio.NewScanner(r.Stdin); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		err := flow.Paste(lines.Text())
		if err == nil {
			return
		}
		fmt.Fprintf(r.Stderr, "ghapp: %v\n", err)
	}
}

// abort says what is left of a setup that did not come to its end.
func (r *setupRun) abort(ctx context.Context, err error) {
	switch {
	case r.Session != nil && (ctx.Err() != nil || errors.Is(err, setup.ErrLate)):
		r.progress("\nThe App and its key are kept. To go on with its installation: ghapp setup")
	case r.Session == nil && ctx.Err() != nil:
		r.progress("\nNothing was set up. If GitHub shows a new App, delete it: nobody has its key.")
	}
}

// told tells of the App, before its installation is waited for.
func (r *setupRun) told(app *setup.App) {
	r.progress("The App %s of %s has its key in %s.\nWaiting until it is installed: %s", app.Name, app.Owner,
		r.Session.Settings.Key.Text, setup.InstallURL(r.Session.App.Status().Origin, app))
}

// finish says what there is now, and what comes next.
func (r *setupRun) finish(i *ghapp.InstallationInfo, proof *setup.Proof) error {
	path := r.Target.Path()
	for _, name := range []string{"GHAPP_APP", "GHAPP_KEY", "GHAPP_PRIVATE_KEY", "GHAPP_INSTALLATION"} {
		if text, _ := r.lookup(name); text != "" {
			r.log().Warn(name + " is set, and goes before the config file: unset it to use the new App")
		}
	}
	if r.json {
		return term.JSON(r.Stdout, map[string]any{
			"app": r.Session.Settings.Name, "app_id": r.Info.ID, "client_id": r.Info.ClientID,
			"name": r.Info.Name, "owner": r.Info.Owner,
			"key": r.Session.Settings.Key.Text, "config": path,
			"installation": installationsJSON([]*ghapp.InstallationInfo{i})[0], "repository": proof.Repository,
		})
	}
	r.progress("It is installed on %s, for %s repositories. The config file is %s.", i.Account, selection(i), path)
	r.tellProof(i, proof)
	return nil
}

// tellProof tells of the proof, and of the next commands.
func (r *setupRun) tellProof(i *ghapp.InstallationInfo, proof *setup.Proof) {
	switch {
	case proof.Repository == "":
		r.progress("It reaches no repository yet; select some on %s", i.URL)
	case proof.WithoutGit:
		r.progress("A token for %s was minted; without the permission contents git cannot use it.", proof.Repository)
	default:
		r.progress("git ls-remote of %s works: %d references.\n\nNext:\n  ghapp clone %s\n  ghapp git-setup",
			proof.Repository, proof.Refs, proof.Repository)
	}
	if r.Info.Permissions["contents"] == "write" && !r.quiet {
		r.progress("\nThe App may write, and git asks for reading until the config file says\n  permissions: {contents: "+
			"write}\nunder apps.%s.", r.Session.Settings.Name)
	}
}

// fromHome is a path as people write it, with ~ for the home directory.
func (c *command) fromHome(path string) string {
	home, _ := c.lookup("HOME")
	if below, ok := strings.CutPrefix(path, home+string(filepath.Separator)); ok && home != "" {
		return filepath.Join("~", below)
	}
	return path
}
