package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/internal/keystore"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/setup"
	"github.com/ghapp-dev/ghapp/internal/term"
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
	cmd.Flags().BoolVar(&o.move, "move", false,
		"move a key that others can read without asking, and with --keyring any key: its file is removed")
	cmd.Flags().BoolVar(&o.keyring, "keyring", false, "keep the key in the keyring of this system")
	return cmd
}

type importOptions struct{ move, keyring bool }

func (c *command) runImport(ctx context.Context, o importOptions) error {
	target, c, err := c.openTarget()
	if err != nil {
		return err
	}
	settings := target.Given
	if o.keyring {
		target.Keyring = &keystore.Keyring{Options: c.apps().KeyOptions(settings)}
	}
	switch {
	case settings.App.Text == "":
		return &fault.UsageError{Err: errors.New("--app is missing: the App's client ID, from the top of its settings page")}
	case settings.Key.Text == "" && settings.PrivateKey.IsZero():
		return &fault.UsageError{Err: errors.New("--key is missing: the file of the App's private key")}
	case o.keyring && !keystore.Movable(settings):
		return &fault.UsageError{Err: fmt.Errorf("--keyring: the key in %s stays where it is; leave --keyring out",
			settings.Key.Text)}
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
	for _, app := range target.Apps {
		if id := app.App.Text; id == info.ClientID || id == strconv.FormatInt(info.ID, 10) {
			return &fault.SettingError{Err: fmt.Errorf("%s is in %s already, as %s", info.Name, target.Path(), app.Name),
				Hint: "take it out there first, or change its key: there"}
		}
	}
	var installations []*ghapp.InstallationInfo
	for i, err := range session.App.Installations(ctx) {
		if err != nil {
			return err
		}
		installations = append(installations, i)
	}
	move, err := c.mayMove(ctx, target, settings, o.move)
	if err != nil {
		return err
	}
	if settings, err = target.Adopt(ctx, settings, info, installations, move); err != nil {
		return err
	}
	switch file := keyuri.FilePath(session.Settings.Key.Text); {
	case move:
		c.removeKey(file, settings.Key.Text)
	case o.keyring && file != "":
		c.progress("A copy of the key is in %s; %s is not needed any more.", settings.Key.Text, file)
	}
	session.Settings = settings
	run := c.setupRun(target, "")
	run.Session, run.Info = session, info
	return run.imported(ctx, installations)
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
	return keystore.Issuer(info), nil
}

// mayMove reports whether the key is to be moved, of which a person is asked. It fails
// where it has to be, and nobody has allowed it.
func (c *command) mayMove(ctx context.Context, target *keystore.Target,
	settings config.AppSettings, allowed bool) (bool, error) {
	move, exposure, err := target.MayMove(settings, allowed)
	if err != nil || exposure == nil {
		return move, err
	}
	question := fmt.Sprintf("%s.\nMove it to %s, where only you can read it?", exposure, exposure.To)
	if agreed, err := c.person().Agrees(ctx, question, true); agreed || err != nil {
		return agreed, err
	}
	return false, &fault.SettingError{Err: errors.New(exposure.String()), Hint: exposure.Hint()}
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
		c.progress("Others could read it until now: if they were not to be trusted, generate another on the\n" +
			"App's settings page, and delete this one there.")
	}
}

// imported tells of the App, and proves that it works.
func (r *setupRun) imported(ctx context.Context, installations []*ghapp.InstallationInfo) error {
	r.progress("The key belongs to %s (App ID %d) of %s. %s has it as %s.\n", r.Info.Name, r.Info.ID, r.Info.Owner,
		r.Target.Path(), r.Session.Settings.Name)
	if r.json {
		return term.JSON(r.Stdout, map[string]any{
			"app": r.Session.Settings.Name, "app_id": r.Info.ID, "client_id": r.Info.ClientID,
			"name": r.Info.Name, "owner": r.Info.Owner,
			"key": r.Session.Settings.Key.Text, "config": r.Target.Path(), "installations": installationsJSON(installations),
		})
	}
	if len(installations) == 0 {
		page := setup.InstallURL(r.Session.App.Status().Origin, &setup.App{Slug: r.Info.Slug, Page: r.Info.URL})
		r.progress("It is installed nowhere yet: %s", page)
		return nil
	}
	if err := term.Table(r.Stdout, installationRows(installations)); err != nil {
		return err
	}
	for _, i := range installations {
		if i.AccountType == "Enterprise" || !i.SuspendedAt.IsZero() {
			continue
		}
		proof, err := r.Prove(ctx, i)
		if err != nil {
			return err
		}
		r.progress("")
		r.tellProof(i, proof)
		return nil
	}
	return nil
}
