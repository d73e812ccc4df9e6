package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/signer"
)

func (c *command) keysImport() *cobra.Command {
	var i keyImport
	cmd := &cobra.Command{
		Use:   "import [KEY] --to URI",
		Short: "Move a downloaded key to where it only signs",
		Long: `Puts a private key where the key URI says, has it sign there, and prints the line of the
config file that names it. KEY is the file that GitHub's settings page has downloaded;
without it, the key in use is taken.

URI is keyring:NAME for the keyring of the system; ssh-agent:COMMENT for an ssh-agent,
which forgets its keys when it ends; exec:PROGRAM for a program that takes keys in; or
pkcs11:, tpmkms:, yubikey:, hashivault:, awskms:, gcpkms: or azurekms: for what the
program ghapp-signer-kms reaches, where the service can import. What is there already is
not overwritten: another key there is an error, and this one is used as it is. The key
goes through pipes and sockets alone, and never through an argument or a variable.

With --use the config file names the URI from then on. With --shred the file of the key
is overwritten and removed, once the key has signed at its new place; on a terminal it
is asked for. Overwriting reaches the blocks of a file on a disk. ` + shredLimits,
		Example: `  ghapp keys import ~/Downloads/acme.private-key.pem --to keyring:deploy --use --shred
  ghapp keys import app.pem --to ssh-agent:deploy --confirm --lifetime 8h
  ghapp keys import app.pem --to 'pkcs11:token=Card;object=app?pin-source=file:/run/secrets/pin'`,
		Args: usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.command = c
			return i.run(cmd.Context(), args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&i.to, "to", "", "the key URI of the place for the key")
	flags.BoolVar(&i.use, "use", false, "have the config file name the URI in the place of KEY")
	flags.BoolVar(&i.shred, "shred", false, "overwrite and remove the file of the key in the end")
	flags.BoolVar(&i.options.Confirm, "confirm", false, "have the ssh-agent ask you before each signature")
	flags.DurationVar(&i.options.Lifetime, "lifetime", 0, "have the ssh-agent forget the key after this time")
	return cmd
}

// keyImport is a private key on its way from a file to whoever is to hold it.
type keyImport struct {
	*command
	to         string
	use, shred bool
	options    signer.ImportOptions

	key      *signer.Key
	from     string // what KEY names
	file     string // if it is one
	place    config.Value
	rotation *rotation // of the App in the config file whose key it is, with --use
	replaced config.Value
}

func (i *keyImport) run(ctx context.Context, args []string) error {
	if err := i.prepare(ctx, args); err != nil {
		return err
	}
	_, put, err := signer.Import(ctx, i.key, i.place.Reveal(), i.options)
	if err != nil {
		if put {
			err = fmt.Errorf("%w; it may be at %s all the same, which is to be looked at before the next attempt, and %s stays as it is", err, i.place.Text, i.from)
		}
		return err
	}
	if put {
		i.progress("The key %s is at %s, and has signed there.", i.key.Fingerprint(), i.place.Text)
	} else {
		i.progress("The key %s is at %s already, and has signed there. Nothing was put there.", i.key.Fingerprint(), i.place.Text)
	}
	if i.inAgent() {
		i.progress("An ssh-agent forgets its keys when it ends: import it again at the next login.")
	}
	if i.use {
		if err := i.enter(); err != nil {
			return fmt.Errorf("the key is at %s, and the config file does not name it: %w", i.place.Text, err)
		}
		i.progress("%s names it as the key of %s.", i.rotation.place.path, i.rotation.settings.Name)
	}
	shredded, err := i.removeFile(ctx)
	if err != nil {
		return fmt.Errorf("the key is at %s, and its file %s is still there: %w", i.place.Text, i.file, err)
	}
	if i.json {
		return term.JSON(i.Stdout, map[string]any{"fingerprint": i.key.Fingerprint(), "key": i.place.Text, "imported": put, "used": i.use, "shredded": shredded})
	}
	if !i.use {
		_, err = fmt.Fprintf(i.Stdout, "key: %s\n", yamlText(i.place.Text))
	}
	return err
}

// prepare reads the key and refuses what could not be finished.
func (i *keyImport) prepare(ctx context.Context, args []string) error {
	if i.to == "" {
		return &diag.UsageError{Err: errors.New("--to is missing: the key URI of the place for the key")}
	}
	var err error
	if i.place, err = i.namedKey(i.to); err != nil {
		return err
	}
	loaded, err := i.apps().Load()
	if err != nil {
		return err
	}
	settings, err := loaded.App(config.Selector{KeyOnly: len(args) == 0, HostOnly: len(args) == 1})
	if err != nil {
		return err
	}
	i.options.Options = i.apps().KeyOptions(settings)
	if settings.KeyTimeout.Source.Kind < config.FromFile {
		i.options.Timeout = 0 // nobody has said how long
	}
	if err := i.read(ctx, settings, args); err != nil {
		return err
	}
	if i.use {
		if err := i.findUse(ctx); err != nil {
			return err
		}
	}
	if i.shred {
		return i.mayRemove(loaded.Apps())
	}
	return nil
}

// read reads the key.
func (i *keyImport) read(ctx context.Context, settings config.AppSettings, args []string) error {
	key := settings.Key
	if len(args) == 1 {
		var err error
		if key, err = i.namedKey(args[0]); err != nil {
			return err
		}
		settings.PrivateKey = config.AppSettings{}.PrivateKey
	}
	i.from, i.file = key.Text, keyuri.FilePath(key.Text)
	if !settings.PrivateKey.IsZero() {
		i.from, i.file = settings.PrivateKeySource.String(), ""
	}
	if name, ok := strings.CutPrefix(key.Text, "env:"); ok {
		// A program that takes the key in gets it by its standard input alone.
		i.options.Environ = slices.DeleteFunc(slices.Clone(i.Environ), func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	}
	settings.Key = key
	held, err := i.apps().Key(ctx, settings, nil)
	if err != nil {
		return err
	}
	var inMemory bool
	if i.key, inMemory = held.(*signer.Key); !inMemory {
		return &diag.SettingError{Err: fmt.Errorf("the key in %s never leaves its holder, and cannot be put elsewhere", i.from), Hint: "name the PEM file that GitHub's settings page has downloaded: ghapp keys import KEY --to URI"}
	}
	return nil
}

// inAgent reports whether the place of the key does not outlive a login.
func (i *keyImport) inAgent() bool { return keyuri.Scheme(i.place.Text) == "ssh-agent" }

// findUse finds the App in the config file whose key this is, the newest one or the one
// before.
func (i *keyImport) findUse(ctx context.Context) error {
	var err error
	if i.rotation, err = i.openRotation("leave that out, so that --use finds the App of the config file; where the key stays elsewhere, name the URI there"); err != nil {
		return err
	}
	settings := i.rotation.settings
	for _, key := range []config.Value{settings.Key, settings.PreviousKey} {
		if key.Text == "" {
			continue
		}
		if held, err := i.apps().OpenKey(ctx, key, settings, nil); err == nil && held.Fingerprint() == i.key.Fingerprint() {
			i.replaced = key
			return nil
		}
	}
	return &diag.SettingError{
		Err:  fmt.Errorf("the key in %s is none of those that %s has for %s", i.from, i.rotation.place.path, settings.Name),
		Hint: "import it without --use, and then put it in the place of the one before: ghapp keys rotate URI",
	}
}

// enter has the config file name the place of the key.
func (i *keyImport) enter() error {
	return i.rotation.edit(func(d *config.Draft) error {
		settings := i.rotation.settings
		written := func(key config.Value) string {
			if key.Reveal() == i.replaced.Reveal() {
				return i.place.Text
			}
			return i.rotation.place.written(key)
		}
		if settings.PreviousKey.Text == "" {
			return d.Set(written(settings.Key), "apps", settings.Name, "key")
		}
		return d.Set([]string{written(settings.Key), written(settings.PreviousKey)}, "apps", settings.Name, "key")
	})
}

// mayRemove refuses to shred what is needed.
func (i *keyImport) mayRemove(apps []config.AppSettings) error {
	switch {
	case i.file == "":
		return &diag.UsageError{Err: errors.New("--shred: the key is in no file")}
	case i.inAgent():
		return &diag.SettingError{Err: errors.New("--shred: an ssh-agent forgets its keys when it ends, so the file stays"), Hint: "leave --shred out; to be without a file, import the key elsewhere too"}
	}
	r := i.rotation
	if r == nil {
		r = &rotation{command: i.command, place: &place{apps: apps}}
	}
	err := mayShred(i.file, r.othersThan(i.replaced))
	if e, ok := errors.AsType[*diag.SettingError](err); ok && !i.use {
		e.Hint = "leave --shred out, or pass --use where it is the key of one App in the config file"
	}
	return err
}

// removeFile shreds the file of the key, if that was asked for, or if a person says so.
func (i *keyImport) removeFile(ctx context.Context) (shredded bool, err error) {
	if i.file == "" || i.inAgent() {
		return false, nil
	}
	if !i.shred {
		agreed, err := i.mayShredAsked(ctx)
		if err != nil || !agreed {
			i.progress("Its file is still there: %s", i.file)
			return false, err
		}
	}
	// A download may have taken its place meanwhile.
	if now, err := signer.File(i.file); err != nil {
		return false, err
	} else if now.Fingerprint() != i.key.Fingerprint() {
		return false, errors.New("there is another key in it now")
	}
	if err := shredFile(i.file); err != nil {
		return false, err
	}
	i.progress("Its file %s was overwritten and removed.", i.file)
	if i.shred {
		i.progress("%s", term.Paragraph(shredLimits))
	}
	return true, nil
}

// mayShredAsked asks a person, where one is there.
func (i *keyImport) mayShredAsked(ctx context.Context) (bool, error) {
	loaded, err := i.apps().Load()
	if err != nil || i.mayRemove(loaded.Apps()) != nil {
		return false, err
	}
	return i.person().Agrees(ctx, fmt.Sprintf("%s\nOverwrite and remove %s?", shredLimits, i.file), false)
}

// yamlText is a key URI as the config file has it: as it is where YAML reads it so, and
// else in double quotes, which know every escape of Go's.
func yamlText(uri string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._%=?&;@+~:-", r)
	}
	if strings.IndexFunc(uri, func(r rune) bool { return !plain(r) }) < 0 && !strings.HasSuffix(uri, ":") {
		return uri
	}
	return strconv.Quote(uri)
}
