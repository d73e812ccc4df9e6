package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
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
				return &diag.UsageError{Err: errors.New("--finish takes no NEW: the keys are in the config file")}
			case shred && !finish:
				return &diag.UsageError{Err: errors.New("--shred goes with --finish: until then the key before is needed")}
			}
			r, err := c.openRotation("leave that out to rotate the key of an App in the config file; where the key stays elsewhere, give two there: --key NEW --key OLD")
			if err != nil {
				return err
			}
			switch {
			case finish:
				return r.finish(cmd.Context(), shred)
			case r.settings.PreviousKey.Text != "":
				return r.resume(cmd.Context(), args)
			}
			return r.begin(cmd.Context(), args)
		},
	}
	cmd.Flags().BoolVar(&finish, "finish", false, "take the key before out of the config file, if GitHub takes the new one")
	cmd.Flags().BoolVar(&shred, "shred", false, "with --finish: overwrite and remove the file of the key before")
	return cmd
}

// rotation is an App of the config file whose key is replaced.
type rotation struct {
	*command
	place    *place
	settings config.AppSettings
}

// openRotation finds the App. hint is for one whose key is not in the config file.
func (c *command) openRotation(hint string) (*rotation, error) {
	loaded, err := c.apps().Load()
	if err != nil {
		return nil, err
	}
	settings, err := loaded.App(config.Selector{})
	if err != nil {
		return nil, err
	}
	from := settings.Key.Source
	if !settings.PrivateKey.IsZero() {
		from = settings.PrivateKeySource
	}
	if settings.Name == "" || from.Kind != config.FromFile {
		return nil, &diag.SettingError{
			Err:  fmt.Errorf("the key in use is not of the config file: it comes from %s", from),
			Hint: hint,
		}
	}
	path, _ := loaded.Path()
	return &rotation{command: c, settings: settings, place: &place{
		path: path.Text, apps: loaded.Apps(), options: c.apps().ConfigOptions(),
	}}, nil
}

// triedKey is a key, and what GitHub says to it.
type triedKey struct {
	key         config.Value
	fingerprint string         // "" where the key cannot be opened
	origin      string         // of the App's pages
	info        *ghapp.AppInfo // nil: GitHub does not take it
	err         error          // why not
}

// try asks GitHub who the App is, with one key alone: what is remembered of a key that
// was refused does not count. The error is one that says nothing about the key.
func (r *rotation) try(ctx context.Context, key config.Value) (*triedKey, error) {
	settings := r.settings
	settings.Key, settings.PreviousKey = key, config.Value{}
	tried := &triedKey{key: key}
	session, err := r.apps().Connect(ctx, settings)
	if err == nil {
		tried.info, err = session.App.Info(ctx)
		tried.fingerprint, tried.origin = session.App.Status().Fingerprint, session.App.Status().Origin
	}
	unusable, ok := errors.AsType[*signer.KeyError](err)
	if err == nil || errors.Is(err, ghapp.ErrKeyMismatch) || ok && !unusable.Problem.Temporary() {
		tried.err = err
		return tried, nil
	}
	return nil, err
}

// begin puts a new key before the one that there is.
func (r *rotation) begin(ctx context.Context, args []string) error {
	old, err := r.try(ctx, r.settings.Key)
	if err != nil {
		return err
	}
	name := ""
	if len(args) == 1 {
		name = args[0]
	} else if name, err = r.ask(ctx, old); err != nil {
		return err
	}
	// It is opened before it is told of: a key that was pasted in the place of its path is
	// found out there.
	if _, err := r.keyOf(ctx, []string{name}); err != nil {
		return err
	}
	given, err := r.namedKey(name)
	if err != nil {
		return err
	}
	newest, err := r.try(ctx, given)
	switch {
	case err != nil:
		return err
	case newest.fingerprint != "" && newest.fingerprint == old.fingerprint:
		return &diag.SettingError{Err: errors.New("NEW is the key in use: its fingerprint is " + old.fingerprint), Hint: "generate another on the App's settings page"}
	case newest.info == nil && (old.info == nil || !errors.Is(newest.err, ghapp.ErrKeyMismatch)):
		return fmt.Errorf("nothing was changed: %w", newest.err)
	}
	text, made, err := r.keepNew(ctx, newest)
	if err != nil {
		return err
	}
	err = r.edit(func(d *config.Draft) error {
		return d.Set([]string{text, r.place.written(r.settings.Key)}, "apps", r.settings.Name, "key")
	})
	if err != nil {
		if made != "" {
			err = errors.Join(err, os.Remove(made)) // there is another copy
		}
		return err
	}
	if made != "" {
		r.progress("A copy of the new key is in %s; %s is not needed any more.\n", made, keyuri.FilePath(newest.key.Text))
		newest.key = config.Value{Text: made}
	}
	return r.tellOf(newest, old)
}

// resume tells how far a rotation is that is under way.
func (r *rotation) resume(ctx context.Context, args []string) error {
	if len(args) == 1 {
		given, err := r.keyOf(ctx, args)
		if err != nil {
			return err
		}
		if key, err := r.keyOf(ctx, nil); err != nil || key.Fingerprint() != given.Fingerprint() {
			return &diag.SettingError{
				Err:  fmt.Errorf("a rotation of %s is under way: %s has two keys of it, and can have no third", r.settings.Name, r.place.path),
				Hint: "run ghapp keys rotate --finish first, or take one of them out there",
			}
		}
	}
	newest, err := r.try(ctx, r.settings.Key)
	if err != nil {
		return err
	}
	old, err := r.try(ctx, r.settings.PreviousKey)
	if err != nil {
		return err
	}
	return r.tellOf(newest, old)
}

// tellOf says what GitHub takes, and what comes next.
func (r *rotation) tellOf(newest, old *triedKey) error {
	if r.json {
		return term.JSON(r.Stdout, map[string]any{"app": r.settings.Name, "config": r.place.path, "new": newest.json(), "previous": old.json()})
	}
	rows := [][]string{{"KEY", "FINGERPRINT", "GITHUB"}}
	for _, k := range []struct {
		is  string
		key *triedKey
	}{{"new", newest}, {"before", old}} {
		says := "takes it"
		switch {
		case k.key.info == nil && errors.Is(k.key.err, ghapp.ErrKeyMismatch):
			says = "does not take it"
		case k.key.info == nil:
			says = "was not asked: the key cannot be used"
		}
		rows = append(rows, []string{k.is, term.OrDash(k.key.fingerprint), says})
	}
	if err := term.Table(r.Stdout, rows); err != nil {
		return err
	}
	r.progress("\nThe App %s in %s has both keys.", r.settings.Name, r.place.path)
	if newest.info == nil {
		r.log().Warn("GitHub does not take the new key yet, and the one before it is used", "new", newest.fingerprint)
		r.progress("Compare its fingerprint with those on the App's settings page, under Private keys.")
	}
	r.progress("Once GitHub takes the new one, and every machine that needs it has it: ghapp keys rotate --finish")
	return nil
}

func (k *triedKey) json() map[string]any {
	return map[string]any{"key": k.key.Text, "fingerprint": k.fingerprint, "taken": k.info != nil}
}

// finish takes the key before out of the config file.
func (r *rotation) finish(ctx context.Context, shred bool) error {
	previous := r.settings.PreviousKey
	if previous.Text == "" {
		return &diag.SettingError{Err: fmt.Errorf("no rotation of %s is under way: %s has one key of it", r.settings.Name, r.place.path), Hint: "begin one with ghapp keys rotate NEW"}
	}
	newest, err := r.try(ctx, r.settings.Key)
	if err == nil {
		err = newest.err
	}
	if err != nil {
		return fmt.Errorf("both keys stay in %s: %w", r.place.path, err)
	}
	fingerprint := ""
	if key, err := r.apps().OpenKey(ctx, previous, r.settings, nil); err == nil {
		fingerprint = key.Fingerprint()
	}
	if fingerprint == newest.fingerprint && fingerprint != "" {
		return &diag.SettingError{Err: fmt.Errorf("both keys of %s in %s are the same one, %s", r.settings.Name, r.place.path, fingerprint), Hint: "take one of them out there"}
	}
	file := keyuri.FilePath(previous.Text)
	if shred {
		if file == "" {
			return &diag.UsageError{Err: errors.New("--shred: the key before is in no file")}
		}
		if err := mayShred(file, r.othersThan(previous)); err != nil {
			return err
		}
	}
	err = r.edit(func(d *config.Draft) error {
		return d.Set(r.place.written(r.settings.Key), "apps", r.settings.Name, "key")
	})
	if err != nil {
		return err
	}
	if shred {
		if err := shredFile(file); err != nil {
			return fmt.Errorf("the key before is out of %s, and its file %s is still there: %w", r.place.path, file, err)
		}
	}
	if r.json {
		return term.JSON(r.Stdout, map[string]any{
			"app": r.settings.Name, "config": r.place.path, "new": newest.json(),
			"removed": map[string]any{"key": previous.Text, "fingerprint": fingerprint, "shredded": shred},
		})
	}
	r.progress("GitHub takes the new key %s. The one before it is out of %s.", newest.fingerprint, r.place.path)
	which := fingerprint
	if which == "" {
		which = "the one before it, which is not " + newest.fingerprint
	}
	r.progress("GitHub may take the one before still: delete %s under Private keys on the App's settings page,\n  %s", which, term.Paragraph(newest.settingsPages()))
	switch {
	case shred:
		r.progress("Its file %s was overwritten and removed. %s", file, term.Paragraph(shredLimits))
	case file != "":
		r.progress("Its file is still there: %s", file)
	}
	return nil
}

// edit changes the config file, unless its keys are no longer those that were tried.
func (r *rotation) edit(change func(*config.Draft) error) error {
	return config.Edit(r.place.path, r.place.options, func(d *config.Draft) error {
		// Whoever changes the file after this makes Edit call again.
		loaded, err := config.Load(r.place.options)
		if err != nil {
			return err
		}
		now, err := loaded.App(config.Selector{})
		if err != nil {
			return err
		}
		if now.Name != r.settings.Name || now.Key.Reveal() != r.settings.Key.Reveal() || now.PreviousKey.Reveal() != r.settings.PreviousKey.Reveal() {
			return &diag.SettingError{Err: fmt.Errorf("the keys of %s in %s were changed meanwhile", r.settings.Name, r.place.path), Hint: "run the command again"}
		}
		return change(d)
	})
}

// ask says where GitHub generates a key, and reads where it was put.
func (r *rotation) ask(ctx context.Context, old *triedKey) (string, error) {
	where := "on the App's settings page, under Private keys"
	if old.info != nil {
		where += ":\n  " + old.settingsPages()
	}
	none := &diag.UsageError{Err: errors.New("NEW is missing: the file of the new key, or its key URI")}
	if r.json {
		return "", none
	}
	r.console().Tell("Generate a private key %s\n\nPath of the file that was downloaded:", term.Paragraph(where))
	line, err := term.Line(ctx, r.Stdin)
	switch {
	case err == io.EOF, err == nil && line == "":
		return "", none
	case err != nil:
		return "", fmt.Errorf("read the path of the new key: %w", err)
	}
	return line, nil
}

// keepNew returns what the config file is to say for a new key, and the path of the copy
// that was made of it, or "". A file in the config file's directory stays as it is where
// nobody else can read it.
func (r *rotation) keepNew(ctx context.Context, newest *triedKey) (text, made string, err error) {
	path := keyuri.FilePath(newest.key.Text)
	if path == "" {
		return newest.key.Text, "", nil
	}
	r.apps().WarnOfKeyFile(ctx, path)
	exposure, err := keyfile.Exposed(path)
	if err != nil {
		return "", "", err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && exposure == nil && filepath.Dir(path) == r.place.dir() {
		return r.place.written(newest.key), "", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", "", fmt.Errorf("read the key: %w", err)
	}
	pem := secret.New(string(content))
	if key, err := signer.FromText("file "+path, pem.Reveal()); err != nil {
		return "", "", err
	} else if key.Fingerprint() != newest.fingerprint {
		return "", "", &diag.SettingError{Err: fmt.Errorf("the file %s was changed meanwhile", path), Hint: "run ghapp keys rotate again"}
	}
	if err := r.place.ready(); err != nil {
		return "", "", err
	}
	base := filepath.Join(r.place.dir(), config.AppName(r.settings.Name))
	made, err = base+".pem", errTaken
	for i := 2; errors.Is(err, errTaken) && i <= maxNamesakes; i++ {
		if err = writeKey(made, pem); errors.Is(err, errTaken) {
			made = base + "-" + strconv.Itoa(i) + ".pem"
		}
	}
	if err != nil {
		return "", "", fmt.Errorf("keep the key as %s: %w", made, err)
	}
	if err := checkCopy(ctx, made, pem); err != nil {
		return "", "", errors.Join(err, os.Remove(made))
	}
	return filepath.Base(made), made, nil
}

// written is a key as the config file says it: beside the file, by its name alone.
func (p *place) written(key config.Value) string {
	if path := keyuri.FilePath(key.Text); path != "" && filepath.Dir(path) == p.dir() && keyuri.Scheme(filepath.Base(path)) == "" {
		return filepath.Base(path)
	}
	return key.Reveal()
}

// settingsPages are where an App's settings may be: GitHub's answer names the App's
// public page, and its owner without saying of what type that is.
func (k *triedKey) settingsPages() string {
	path := "/settings/apps/" + url.PathEscape(k.info.Slug)
	return k.origin + "/organizations/" + url.PathEscape(k.info.Owner) + path + "\n  " + k.origin + path + " (where the owner is a user)"
}
