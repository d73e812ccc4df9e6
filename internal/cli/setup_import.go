package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/setup"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/secret"
)

func (c *command) setupImport() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import --app APP --key FILE",
		Short: "Take an App that exists into the configuration",
		Long: `Takes an App that exists into the configuration: asks GitHub whether the key is one of
the App's, lists where it is installed and what it may do there, writes the config file,
and proves that it works.

APP is the client ID or the App ID; for a public App the address of its page will do. A
key that others can read is moved beside the config file, where they cannot. With
--keyring the key is put into the keyring of this system, wherever it was.`,
		Example: `  ghapp setup import --app Iv23liABCDEFGHIJKLMN --key ~/Downloads/acme.private-key.pem --move
  ghapp setup import --app Iv23liABCDEFGHIJKLMN --key ~/Downloads/acme.private-key.pem --keyring --move`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runImport(cmd.Context(), o) },
	}
	cmd.Flags().BoolVar(&o.move, "move", false, "move a key that others can read without asking, and with --keyring any key: its file is removed")
	cmd.Flags().BoolVar(&o.keyring, "keyring", false, "keep the key in the keyring of this system")
	return cmd
}

type importOptions struct{ move, keyring bool }

func (c *command) runImport(ctx context.Context, o importOptions) error {
	place, err := c.openPlace()
	if err != nil {
		return err
	}
	settings := place.given
	if o.keyring {
		place.keyring = &keyring{options: c.apps().KeyOptions(settings)}
	}
	switch {
	case settings.App.Text == "":
		return &diag.UsageError{Err: errors.New("--app is missing: the App's client ID, from the top of its settings page")}
	case settings.Key.Text == "" && settings.PrivateKey.IsZero():
		return &diag.UsageError{Err: errors.New("--key is missing: the file of the App's private key")}
	case o.keyring && !copied(settings):
		return &diag.UsageError{Err: fmt.Errorf("--keyring: the key in %s stays where it is; leave --keyring out", settings.Key.Text)}
	}
	if settings.App.Text, err = c.issuerOf(ctx, settings); err != nil {
		return err
	}
	session, err := c.apps().Connect(ctx, settings)
	if err != nil {
		return err
	}
	info, err := session.App.Info(ctx)
	if err != nil {
		return err
	}
	for _, app := range place.apps {
		if id := app.App.Text; id == info.ClientID || id == strconv.FormatInt(info.ID, 10) {
			return &diag.SettingError{Err: fmt.Errorf("%s is in %s already, as %s", info.Name, place.path, app.Name), Hint: "take it out there first, or change its key: there"}
		}
	}
	var installations []*ghapp.InstallationInfo
	for i, err := range session.App.Installations(ctx) {
		if err != nil {
			return err
		}
		installations = append(installations, i)
	}
	move, err := c.mayMove(ctx, settings, place, o.move)
	if err != nil {
		return err
	}
	if settings, err = place.adopt(ctx, settings, info, installations, move); err != nil {
		return err
	}
	switch file := keyuri.FilePath(session.Settings.Key.Text); {
	case move:
		c.removeKey(file, settings.Key.Text)
	case o.keyring && file != "":
		c.progress("A copy of the key is in %s; %s is not needed any more.", settings.Key.Text, file)
	}
	session.Settings = settings
	return c.imported(ctx, &newcomer{command: c, place: place, info: info, session: session}, installations)
}

// issuerOf is what names the App: as it was given, or found by the address of its page.
func (c *command) issuerOf(ctx context.Context, settings config.AppSettings) (string, error) {
	_, page, ok := strings.Cut(settings.App.Text, "/apps/")
	if !ok {
		return settings.App.Text, nil
	}
	slug, _, _ := strings.Cut(page, "/")
	reach, err := c.apps().ReachFor(settings)
	if err != nil {
		return "", err
	}
	info, err := reach.FindApp(ctx, slug)
	if err != nil {
		return "", err
	}
	return issuer(info), nil
}

// copied reports whether the key can be put elsewhere: what it is comes to ghapp.
func copied(s config.AppSettings) bool {
	return !s.PrivateKey.IsZero() || keyuri.FilePath(s.Key.Text) != "" || keyuri.Scheme(s.Key.Text) == "env"
}

// mayMove reports whether the key is to be moved: since others can read it, or into the
// keyring. It fails where that has to be, and nobody has allowed it.
func (c *command) mayMove(ctx context.Context, settings config.AppSettings, place *place, allowed bool) (bool, error) {
	path := keyuri.FilePath(settings.Key.Text)
	if path == "" || !settings.PrivateKey.IsZero() {
		return false, nil
	}
	exposure, err := keyfile.Exposed(path)
	if err != nil || exposure == nil && (place.keyring == nil || !allowed) {
		return false, err
	}
	info, err := os.Lstat(path)
	link := err == nil && info.Mode()&fs.ModeSymlink != 0
	switch {
	case link && exposure == nil:
		return false, &diag.SettingError{Err: errors.New("--move: " + path + " is a link"), Hint: "name the file that it leads to"}
	case link:
		return false, &diag.SettingError{Err: errors.New(exposure.String() + ", and is a link"), Hint: "name the file that it leads to, or run: " + exposure.Hint()}
	case allowed:
		return true, nil
	}
	to := place.dir()
	if place.keyring != nil {
		to = "the keyring"
	}
	question := fmt.Sprintf("%s.\nMove it to %s, where only you can read it?", exposure, to)
	if agreed, err := c.person().Agrees(ctx, question, true); agreed || err != nil {
		return agreed, err
	}
	return false, &diag.SettingError{Err: errors.New(exposure.String()), Hint: "pass --move to move it to " + to + ", or run: " + exposure.Hint()}
}

// adopt writes the App into the configuration, with the key where it is, or with a copy
// of it beside the config file or in the keyring.
func (p *place) adopt(ctx context.Context, s config.AppSettings, info *ghapp.AppInfo, installations []*ghapp.InstallationInfo, move bool) (config.AppSettings, error) {
	var owners []string
	for _, i := range installations {
		if i.AccountType != "Enterprise" {
			owners = append(owners, i.Account)
		}
	}
	pem := s.PrivateKey
	if pem.IsZero() && (move || p.keyring != nil) {
		var err error
		if pem, err = p.keyText(s.Key); err != nil {
			return s, err
		}
	}
	if !pem.IsZero() {
		if err := p.ready(); err != nil {
			return s, err
		}
		settings, err := p.keep(ctx, info, pem, owners)
		if kept, ok := errors.AsType[*keptError](err); ok && keyuri.FilePath(kept.path) != "" {
			err = errors.Join(kept.err, os.Remove(kept.path)) // there is another copy
		}
		return settings, err
	}
	if s.Key.HasSecret() {
		return s, &diag.SettingError{Err: errors.New("the key URI has a secret in it, which does not belong in a file"), Hint: "say in the URI where the secret is (pin-source=file:/path)"}
	}
	return p.enter(info, owners, func(string) (string, error) { return s.Key.Text, nil })
}

// keyText is what a file or a variable has.
func (p *place) keyText(key config.Value) (secret.Text, error) {
	if name, ok := strings.CutPrefix(key.Text, "env:"); ok {
		text, _ := p.options.LookupEnv(name)
		return secret.New(text), nil
	}
	text, err := os.ReadFile(keyuri.FilePath(key.Text))
	if err != nil {
		return secret.Text{}, fmt.Errorf("read the key: %w", err)
	}
	return secret.New(string(text)), nil
}

// removeKey removes a key that was copied to a safe place.
func (c *command) removeKey(old, kept string) {
	exposure, _ := keyfile.Exposed(old) // looked at before
	if err := os.Remove(old); err != nil {
		c.log().Warn("the key is still where it was; remove it yourself", "path", old, "error", err)
		return
	}
	c.progress("The key was moved from %s to %s.", old, kept)
	if exposure != nil {
		c.progress("Others could read it until now: if they were not to be trusted, generate another on the\nApp's settings page, and delete this one there.")
	}
}

// imported tells of the App, and proves that it works.
func (c *command) imported(ctx context.Context, n *newcomer, installations []*ghapp.InstallationInfo) error {
	c.progress("The key belongs to %s (App ID %d) of %s. %s has it as %s.\n", n.info.Name, n.info.ID, n.info.Owner, n.place.path, n.session.Settings.Name)
	if c.json {
		return term.JSON(c.Stdout, map[string]any{
			"app": n.session.Settings.Name, "app_id": n.info.ID, "client_id": n.info.ClientID, "name": n.info.Name, "owner": n.info.Owner,
			"key": n.session.Settings.Key.Text, "config": n.place.path, "installations": installationsJSON(installations),
		})
	}
	if len(installations) == 0 {
		page := setup.InstallURL(n.session.App.Status().Origin, &setup.App{Slug: n.info.Slug, Page: n.info.URL})
		c.progress("It is installed nowhere yet: %s", page)
		return nil
	}
	if err := term.Table(c.Stdout, installationRows(installations)); err != nil {
		return err
	}
	for _, i := range installations {
		if i.AccountType == "Enterprise" || !i.SuspendedAt.IsZero() {
			continue
		}
		proof, err := n.prove(ctx, i)
		if err != nil {
			return err
		}
		c.progress("")
		n.conclude(i, proof)
		return nil
	}
	return nil
}
