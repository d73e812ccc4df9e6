package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keystore"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/spf13/cobra"
)

func (c *command) keysRotate() *cobra.Command {
	finish, shred := false, false
	cmd := &cobra.Command{
		Use:   "rotate [NEW]",
		Short: "Put a new key in the place of the one in the config file, without a pause",
		Long: `Puts a new key before the one in the config file. Both are tried against GitHub, and
while GitHub does not take the new one, the one before it serves. NEW is a file, of which
a copy is kept beside the config file that only you can read, or a key URI. Without NEW
it says where GitHub generates one, and reads the path of what was downloaded from
standard input; where a rotation is under way, it says how far that is.

--finish takes the key before out of the config file, once GitHub takes the new one, and
names what is left to be deleted on GitHub. --shred overwrites and removes its file too;
else that stays. ` + "`ghapp keys import --help`" + ` says what overwriting cannot do.`,
		Example: `  ghapp keys rotate ~/Downloads/acme.private-key.pem
  ghapp keys rotate
  ghapp keys rotate --finish`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case finish && len(args) > 0:
				return &fault.UsageError{Err: errors.New("--finish takes no NEW: the keys are in the config file")}
			case shred && !finish:
				return &fault.UsageError{Err: errors.New("--shred goes with --finish: until then the key before is needed")}
			}
			r, err := keystore.OpenRotation(c.apps(), "leave that out to rotate the key of an App in the config file; "+
				"where the key stays elsewhere, give two there: --key NEW --key OLD")
			if err != nil {
				return err
			}
			switch {
			case finish:
				return c.finishRotation(cmd.Context(), r, shred)
			case r.UnderWay():
				newest, old, err := r.Resume(cmd.Context(), argument(args))
				if err != nil {
					return err
				}
				return c.tellOfRotation(r, newest, old)
			}
			return c.beginRotation(cmd.Context(), r, argument(args))
		},
	}
	cmd.Flags().BoolVar(&finish, "finish", false,
		"take the key before out of the config file, if GitHub takes the new one")
	cmd.Flags().BoolVar(&shred, "shred", false, "with --finish: overwrite and remove the file of the key before")
	return cmd
}

// beginRotation puts a new key before the one that there is; "" is for a person to name.
func (c *command) beginRotation(ctx context.Context, r *keystore.Rotation, name string) error {
	old, err := r.Try(ctx, r.Settings.Key)
	if err != nil {
		return err
	}
	if name == "" {
		if name, err = c.askForKey(ctx, old); err != nil {
			return err
		}
	}
	begun, err := r.Begin(ctx, old, name)
	if err != nil {
		return err
	}
	if begun.Copy != "" {
		c.progress("A copy of the new key is in %s; %s is not needed any more.\n", begun.Copy, begun.From)
	}
	return c.tellOfRotation(r, begun.New, old)
}

// tellOfRotation says what GitHub takes, and what comes next.
func (c *command) tellOfRotation(r *keystore.Rotation, newest, old *keystore.TriedKey) error {
	if c.json {
		return term.JSON(c.Stdout, map[string]any{"app": r.Settings.Name, "config": r.Path(),
			"new": triedJSON(newest), "previous": triedJSON(old)})
	}
	rows := [][]string{{"KEY", "FINGERPRINT", "GITHUB"}}
	for _, k := range []struct {
		is  string
		key *keystore.TriedKey
	}{{"new", newest}, {"before", old}} {
		says := "takes it"
		switch {
		case !k.key.Taken() && errors.Is(k.key.Err, ghapp.ErrKeyMismatch):
			says = "does not take it"
		case !k.key.Taken():
			says = "was not asked: the key cannot be used"
		}
		rows = append(rows, []string{k.is, term.OrDash(k.key.Fingerprint), says})
	}
	if err := term.Table(c.Stdout, rows); err != nil {
		return err
	}
	c.progress("\nThe App %s in %s has both keys.", r.Settings.Name, r.Path())
	if !newest.Taken() {
		c.log().Warn("GitHub does not take the new key yet, and the one before it is used", "new", newest.Fingerprint)
		c.progress("Compare its fingerprint with those on the App's settings page, under Private keys.")
	}
	c.progress("Once GitHub takes the new one, and every machine that needs it has it: ghapp keys rotate --finish")
	return nil
}

func triedJSON(k *keystore.TriedKey) map[string]any {
	return map[string]any{"key": k.Key.Text, "fingerprint": k.Fingerprint, "taken": k.Taken()}
}

// finishRotation takes the key before out of the config file, and says what is left of it.
func (c *command) finishRotation(ctx context.Context, r *keystore.Rotation, shred bool) error {
	done, err := r.Finish(ctx, shred)
	if err != nil {
		return err
	}
	if c.json {
		return term.JSON(c.Stdout, map[string]any{
			"app": r.Settings.Name, "config": r.Path(), "new": triedJSON(done.New),
			"removed": map[string]any{"key": done.Removed.Text, "fingerprint": done.Fingerprint, "shredded": shred},
		})
	}
	c.progress("GitHub takes the new key %s. The one before it is out of %s.", done.New.Fingerprint, r.Path())
	which := done.Fingerprint
	if which == "" {
		which = "the one before it, which is not " + done.New.Fingerprint
	}
	c.progress("GitHub may take the one before still: delete %s under Private keys on the App's settings page,\n  %s",
		which, term.Paragraph(done.New.SettingsPages()))
	switch {
	case shred:
		c.progress("Its file %s was overwritten and removed. %s", done.File, term.Paragraph(keystore.ShredLimits))
	case done.File != "":
		c.progress("Its file is still there: %s", done.File)
	}
	return nil
}

// askForKey says where GitHub generates a key, and reads where it was put.
func (c *command) askForKey(ctx context.Context, old *keystore.TriedKey) (string, error) {
	where := "on the App's settings page, under Private keys"
	if old.Taken() {
		where += ":\n  " + old.SettingsPages()
	}
	none := &fault.UsageError{Err: errors.New("NEW is missing: the file of the new key, or its key URI")}
	if c.json {
		return "", none
	}
	c.console().Tell("Generate a private key %s\n\nPath of the file that was downloaded:", term.Paragraph(where))
	line, err := term.Line(ctx, c.Stdin)
	switch {
	case errors.Is(err, io.EOF), err == nil && line == "":
		return "", none
	case err != nil:
		return "", fmt.Errorf("read the path of the new key: %w", err)
	}
	return line, nil
}
