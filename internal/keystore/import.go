package keystore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

// ImportOptions say where a private key is put, and what becomes of where it was.
type ImportOptions struct {
	To    string // the key URI of the place for the key
	Use   bool   // the config file is to name that
	Shred bool   // the file of the key is to be overwritten and removed
	signer.ImportOptions
}

// Import is a private key on its way to what is to hold it. [PrepareImport] makes one.
type Import struct {
	Place config.Value // where it is put
	File  string       // in which it is; empty: in none

	options  ImportOptions
	opener   *apps.Opener
	apps     []config.AppSettings // of the config file
	key      *signer.Key
	from     string    // as people name it
	rotation *Rotation // of the App in the config file whose key it is, with Use
	replaced config.Value
}

// PrepareImport reads a key, a file or a key URI or, for "", the key in use, and refuses
// what could not be finished.
func PrepareImport(ctx context.Context, o *apps.Opener, name string, options ImportOptions) (*Import, error) {
	if options.To == "" {
		return nil, &fault.UsageError{Err: errors.New("--to is missing: the key URI of the place for the key")}
	}
	i := &Import{options: options, opener: o}
	var err error
	if i.Place, err = NamedKey(o, options.To); err != nil {
		return nil, err
	}
	loaded, err := o.Load()
	if err != nil {
		return nil, err
	}
	i.apps = loaded.Apps()
	settings, err := loaded.App(config.Selector{KeyOnly: name == "", HostOnly: name != ""})
	if err != nil {
		return nil, err
	}
	i.options.Options = o.KeyOptions(settings)
	if settings.KeyTimeout.Source.Kind < config.FromFile {
		i.options.Timeout = 0 // nobody has said how long
	}
	if err := i.read(ctx, settings, name); err != nil {
		return nil, err
	}
	if options.Use {
		if err := i.findUse(ctx); err != nil {
			return nil, err
		}
	}
	if options.Shred {
		return i, i.MayShred()
	}
	return i, nil
}

// Put puts the key where it belongs, and has it sign there. It reports whether it was not
// there before.
func (i *Import) Put(ctx context.Context) (put bool, err error) {
	_, put, err = signer.Import(ctx, i.key, i.Place.Reveal(), i.options.ImportOptions)
	if err != nil && put {
		err = fmt.Errorf("%w; it may be at %s all the same, which is to be looked at before the next attempt, "+
			"and %s stays as it is", err, i.Place.Text, i.from)
	}
	return put, err
}

// Fingerprint is that of the key.
func (i *Import) Fingerprint() string { return i.key.Fingerprint() }

// User is the App whose key it is, with Use, and the path of the config file that has it.
func (i *Import) User() (app, path string) { return i.rotation.Settings.Name, i.rotation.Path() }

// InAgent reports whether the place of the key does not outlive a login.
func (i *Import) InAgent() bool { return keyuri.Scheme(i.Place.Text) == "ssh-agent" }

// read reads the key.
func (i *Import) read(ctx context.Context, settings config.AppSettings, name string) error {
	key := settings.Key
	if name != "" {
		var err error
		if key, err = NamedKey(i.opener, name); err != nil {
			return err
		}
		settings.PrivateKey = config.AppSettings{}.PrivateKey
	}
	i.from, i.File = key.Text, keyuri.FilePath(key.Text)
	if !settings.PrivateKey.IsZero() {
		i.from, i.File = settings.PrivateKeySource.String(), ""
	}
	if name, ok := strings.CutPrefix(key.Text, "env:"); ok {
		// A program that takes the key in gets it by its standard input alone.
		own := i.opener.Own()
		text, _ := i.opener.LookupEnv(name)
		own.Names, own.Values = append(own.Names, name), append(own.Values, secret.New(text))
		i.options.ImportOptions.Environ = childenv.For(i.opener.Environ, own)
	}
	settings.Key = key
	held, err := i.opener.Key(ctx, settings, nil)
	if err != nil {
		return err
	}
	var inMemory bool
	if i.key, inMemory = held.(*signer.Key); !inMemory {
		return &fault.SettingError{Err: fmt.Errorf("the key in %s never leaves its holder, and cannot be put elsewhere",
			i.from), Hint: "name the PEM file that GitHub's settings page has downloaded: ghapp keys import KEY --to URI"}
	}
	return nil
}

// findUse finds the App in the config file whose key this is, the newest one or the one
// before.
func (i *Import) findUse(ctx context.Context) error {
	var err error
	if i.rotation, err = OpenRotation(i.opener, "leave that out, so that --use finds the App of the config file; "+
		"where the key stays elsewhere, name the URI there"); err != nil {
		return err
	}
	settings := i.rotation.Settings
	for _, key := range []config.Value{settings.Key, settings.PreviousKey} {
		if key.Text == "" {
			continue
		}
		if held, err := i.opener.OpenKey(ctx, key, settings, nil); err == nil && held.Fingerprint() == i.key.Fingerprint() {
			i.replaced = key
			return nil
		}
	}
	return &fault.SettingError{
		Err:  fmt.Errorf("the key in %s is none of those that %s has for %s", i.from, i.rotation.target.path, settings.Name),
		Hint: "import it without --use, and then put it in the place of the one before: ghapp keys rotate URI",
	}
}

// Name has the config file name the place of the key.
func (i *Import) Name() error {
	return i.rotation.edit(func(d *config.Draft) error {
		settings := i.rotation.Settings
		written := func(key config.Value) string {
			if key.Reveal() == i.replaced.Reveal() {
				return i.Place.Text
			}
			return i.rotation.target.written(key)
		}
		if settings.PreviousKey.Text == "" {
			return d.Set(written(settings.Key), "apps", settings.Name, "key")
		}
		return d.Set([]string{written(settings.Key), written(settings.PreviousKey)}, "apps", settings.Name, "key")
	})
}

// MayShred refuses to shred what is needed.
func (i *Import) MayShred() error {
	switch {
	case i.File == "":
		return &fault.UsageError{Err: errors.New("--shred: the key is in no file")}
	case i.InAgent():
		return &fault.SettingError{Err: errors.New("--shred: an ssh-agent forgets its keys when it ends, so the file stays"),
			Hint: "leave --shred out; to be without a file, import the key elsewhere too"}
	}
	app := ""
	if i.rotation != nil {
		app = i.rotation.Settings.Name
	}
	others := &Target{Apps: i.apps}
	err := mayShred(i.File, others.othersThan(app, i.replaced))
	if e, ok := errors.AsType[*fault.SettingError](err); ok && !i.options.Use {
		e.Hint = "leave --shred out, or pass --use where it is the key of one App in the config file"
	}
	return err
}

// RemoveFile overwrites and removes the file of the key, unless another key is in it by now.
func (i *Import) RemoveFile() error {
	// A download may have taken its place meanwhile.
	now, err := signer.File(i.File)
	if err != nil {
		return err
	}
	if now.Fingerprint() != i.key.Fingerprint() {
		return errors.New("there is another key in it now")
	}
	return shredFile(i.File)
}
