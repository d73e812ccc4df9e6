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
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/configedit"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/private"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/setup"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

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
	flags.StringSliceVar(&o.permissions, "permissions", []string{"contents:read"}, "what the App may do, `NAME:read|write`")
	flags.BoolVar(&o.noBrowser, "no-browser", false, "open no browser, tell the address: for a machine that is used through ssh")
	flags.BoolVar(&o.keyring, "keyring", false, "keep the App's key in the keyring of this system, not in a file")
	flags.IntVar(&o.port, "port", 0, "the port of the pages on 127.0.0.1 (default any)")
	cmd.AddCommand(c.setupImport())
	return cmd
}

// plan is the App that the options ask for, on the host in use.
func (o setupOptions) plan(origin string) (setup.Plan, error) {
	none := setup.Plan{}
	bad := func(format string, args ...any) (setup.Plan, error) {
		return none, &diag.UsageError{Err: fmt.Errorf(format, args...)}
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
	place, err := c.openPlace()
	if err != nil {
		return err
	}
	given := c.givenFlags()
	for _, flag := range []string{"app", "key", "installation"} {
		if _, ok := given[flag]; ok {
			return &diag.UsageError{Err: fmt.Errorf("ghapp setup creates an App, and takes no --%s; for one that exists there is ghapp setup import", flag)}
		}
	}
	host, err := api.ParseHost(place.given.Host.Text, place.given.APIURL.Text)
	if err != nil {
		return &diag.SettingError{Err: err}
	}
	plan, err := o.plan(host.Origin)
	if err != nil {
		return err
	}
	plan.KeyPlace = c.fromHome(place.dir())
	plan.SudoUID, _ = c.lookup("SUDO_UID")
	if err := place.ready(); err != nil {
		return err
	}
	if o.keyring {
		place.keyring = &keyring{options: c.apps().KeyOptions(place.given), instead: c.keptInFile}
		plan.KeyPlace = "its keyring"
		if err := place.keyring.ready(ctx); err != nil {
			return err
		}
	}
	place.given.Installation = config.Value{} // a variable's is another App's
	newcomer := &newcomer{command: c, place: place, org: o.org}
	if newcomer.reach, err = c.apps().ReachFor(place.given); err != nil {
		return err
	}
	app, err := newcomer.resume(ctx, o.name)
	if err != nil {
		return err
	}
	return newcomer.lead(ctx, o, setup.New(plan, newcomer.steps(), app, c.log()), app)
}

// lead leads a person through the pages.
func (n *newcomer) lead(ctx context.Context, o setupOptions, flow *setup.Flow, app *setup.App) error {
	listener, err := setup.Listen(o.port)
	if err != nil {
		return &diag.SettingError{Err: fmt.Errorf("open a port for the pages of the setup: %w", err), Hint: "choose another with --port, or leave that out"}
	}
	address, end := flow.Serve(listener)
	if app == nil {
		n.progress("GitHub will ask twice: to create the App, and to install it.")
	}
	n.showPages(ctx, o.noBrowser, address)
	if app == nil && o.noBrowser {
		n.progress("Should the browser not find its way back, paste the address it ended at here:")
		go n.paste(flow)
	}
	installation, proof, err := flow.Run(ctx, n.told)
	if err == nil {
		err = n.finish(installation, proof)
	} else {
		n.leave(ctx, err)
	}
	return errors.Join(err, end(ctx))
}

// paste takes the address from the terminal.
func (n *newcomer) paste(flow *setup.Flow) {
	for lines := bufio.NewScanner(n.Stdin); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		err := flow.Paste(lines.Text())
		if err == nil {
			return
		}
		fmt.Fprintf(n.Stderr, "ghapp: %v\n", err)
	}
}

// leave says what is left of a setup that did not come to its end.
func (n *newcomer) leave(ctx context.Context, err error) {
	switch {
	case n.session != nil && (ctx.Err() != nil || errors.Is(err, setup.ErrLate)):
		n.progress("\nThe App and its key are kept. To go on with its installation: ghapp setup")
	case n.session == nil && ctx.Err() != nil:
		n.progress("\nNothing was set up. If GitHub shows a new App, delete it: nobody has its key.")
	}
}

// newcomer is an App on its way into the configuration.
type newcomer struct {
	*command
	place   *place
	org     string // that must own it; may be ""
	reach   ghapp.Config
	info    *ghapp.AppInfo
	session *apps.Session // once its key is kept
}

func (n *newcomer) steps() setup.Steps {
	return setup.Steps{
		Register: n.register, Installation: n.installation, Prove: n.prove,
		Explain: func(err error) (string, string) {
			var secrets scrub.Scrubber
			report := diag.Explain(err)
			return secrets.String(report.Message), secrets.String(report.Hint)
		},
	}
}

// register trades the code for the App and keeps it.
func (n *newcomer) register(ctx context.Context, code secret.Text) (*setup.App, error) {
	made, err := n.reach.Register(ctx, code)
	if err != nil {
		return nil, &diag.ExitError{Code: diag.Explain(err).ExitCode, Err: err,
			Hint: "if GitHub shows the new App, generate a private key on its settings page and run ghapp setup import, or delete it and run ghapp setup again"}
	}
	if n.org != "" && !strings.EqualFold(made.Owner, n.org) {
		return nil, &diag.ExitError{Code: diag.Refused, Err: fmt.Errorf("the App %s belongs to %s, and not to %s; nothing of it was kept", made.Name, made.Owner, n.org),
			Hint: "somebody else may have answered for you: run ghapp setup again"}
	}
	if _, err := signer.FromText("GitHub's answer", made.PEM.Reveal()); err != nil {
		return nil, err
	}
	settings, err := n.place.keep(ctx, &made.AppInfo, made.PEM, []string{made.Owner})
	if err != nil {
		return nil, err
	}
	return n.begin(context.WithoutCancel(ctx), settings, &made.AppInfo)
}

// begin opens the session of an App that is in the configuration.
func (n *newcomer) begin(ctx context.Context, settings config.AppSettings, info *ghapp.AppInfo) (*setup.App, error) {
	session, err := n.apps().Start(ctx, settings)
	if err != nil {
		return nil, err
	}
	n.session, n.info = session, info
	return &setup.App{Name: info.Name, Slug: info.Slug, Owner: info.Owner, Page: info.URL}, nil
}

// resume finds an App in the configuration that was created and never installed, or
// returns nil.
func (n *newcomer) resume(ctx context.Context, name string) (*setup.App, error) {
	for _, settings := range n.place.apps {
		session, err := n.apps().Start(ctx, settings)
		if err != nil {
			n.log().Warn("an App of the config file was passed over", "app", settings.Name, "error", err)
			continue
		}
		info, err := session.App.Info(ctx)
		if err == nil {
			var installed bool
			if installed, err = isInstalled(ctx, session.App); err == nil && installed {
				continue
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			n.log().Warn("an App of the config file was passed over", "app", settings.Name, "error", err)
		case n.org != "" && !strings.EqualFold(info.Owner, n.org), name != "" && name != info.Name && name != settings.Name:
		default:
			n.progress("The App %s of %s, in %s, is not installed yet: going on with that. (--name creates another.)", info.Name, info.Owner, n.place.path)
			return n.begin(ctx, settings, info)
		}
	}
	return nil, nil
}

func isInstalled(ctx context.Context, app *ghapp.App) (bool, error) {
	for _, err := range app.Installations(ctx) {
		return err == nil, err
	}
	return false, nil
}

// told tells of the App, before its installation is waited for.
func (n *newcomer) told(app *setup.App) {
	n.progress("The App %s of %s has its key in %s.\nWaiting until it is installed: %s", app.Name, app.Owner,
		n.session.Settings.Key.Text, setup.InstallURL(n.session.App.Status().Origin, app))
}

// installation asks for the installation on the App's owner.
func (n *newcomer) installation(ctx context.Context) (*ghapp.InstallationInfo, error) {
	for i, err := range n.session.App.Installations(ctx) {
		switch {
		case err != nil:
			return nil, err
		case strings.EqualFold(i.Account, n.info.Owner):
			return i, nil
		}
	}
	return nil, nil
}

// finish says what there is now, and what comes next.
func (n *newcomer) finish(i *ghapp.InstallationInfo, proof *setup.Proof) error {
	path := n.place.path
	for _, name := range []string{"GHAPP_APP", "GHAPP_KEY", "GHAPP_PRIVATE_KEY", "GHAPP_INSTALLATION"} {
		if text, _ := n.lookup(name); text != "" {
			n.log().Warn(name + " is set, and goes before the config file: unset it to use the new App")
		}
	}
	if n.json {
		return term.JSON(n.Stdout, map[string]any{
			"app": n.session.Settings.Name, "app_id": n.info.ID, "client_id": n.info.ClientID, "name": n.info.Name, "owner": n.info.Owner,
			"key": n.session.Settings.Key.Text, "config": path, "installation": installationsJSON([]*ghapp.InstallationInfo{i})[0], "repository": proof.Repository,
		})
	}
	n.progress("It is installed on %s, for %s repositories. The config file is %s.", i.Account, selection(i), path)
	n.conclude(i, proof)
	return nil
}

// conclude tells of the proof, and of the next commands.
func (n *newcomer) conclude(i *ghapp.InstallationInfo, proof *setup.Proof) {
	switch {
	case proof.Repository == "":
		n.progress("It reaches no repository yet; select some on %s", i.URL)
	case proof.WithoutGit:
		n.progress("A token for %s was minted; without the permission contents git cannot use it.", proof.Repository)
	default:
		n.progress("git ls-remote of %s works: %d references.\n\nNext:\n  ghapp clone %s\n  ghapp git-setup", proof.Repository, proof.Refs, proof.Repository)
	}
	if n.info.Permissions["contents"] == "write" && !n.quiet {
		n.progress("\nThe App may write, and git asks for reading until the config file says\n  permissions: {contents: write}\nunder apps.%s.", n.session.Settings.Name)
	}
}

// place is the config file that an App is to be written to.
type place struct {
	path    string
	given   config.AppSettings   // by flags and variables: the host, and how to reach it
	apps    []config.AppSettings // that are there already
	options config.Options
	keyring *keyring // nil: keys are kept in files beside the config file
}

// openPlace reads the configuration, whose file need not be there yet.
func (c *command) openPlace() (*place, error) {
	options := config.Options{Flags: c.givenFlags(), LookupEnv: c.lookup, New: true}
	loaded, err := config.Load(options)
	if err != nil {
		return nil, err
	}
	for _, warning := range loaded.Warnings() {
		c.log().Warn(warning.String())
	}
	c.opener = c.apps().Of(loaded)
	path, _ := loaded.Path()
	if path.Text == "" {
		return nil, configedit.NoPlace()
	}
	return &place{path: path.Text, given: loaded.Given(), apps: loaded.Apps(), options: options}, nil
}

// fromHome is a path as people write it, with ~ for the home directory.
func (c *command) fromHome(path string) string {
	home, _ := c.lookup("HOME")
	if below, ok := strings.CutPrefix(path, home+string(filepath.Separator)); ok && home != "" {
		return filepath.Join("~", below)
	}
	return path
}

func (p *place) dir() string { return filepath.Dir(p.path) }

// ready makes sure that a key can be written, before GitHub makes the one that is
// handed out once.
func (p *place) ready() error {
	err := os.MkdirAll(p.dir(), 0o700)
	if err == nil {
		// Nobody else is to put another key, or another config file, in its place.
		err = private.Way(p.dir())
	}
	if err == nil {
		var file *os.File
		if file, err = os.CreateTemp(p.dir(), ".ghapp-*"); err == nil {
			err = errors.Join(file.Close(), os.Remove(file.Name()))
		}
	}
	if e, ok := errors.AsType[*private.Error](err); ok {
		return &diag.SettingError{Err: fmt.Errorf("the App's key is not kept in %s: %w", p.dir(), err), Hint: e.Hint}
	}
	if err != nil {
		return &diag.SettingError{Err: fmt.Errorf("the App's key cannot be kept in %s: %w", p.dir(), err), Hint: "make the directory writable, or name another config file with --config"}
	}
	return nil
}
