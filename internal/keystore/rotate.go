package keystore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

// Rotation is an App of the config file whose key is replaced, without a pause: the file
// has both keys until GitHub takes the new one. [OpenRotation] finds it.
type Rotation struct {
	Settings config.AppSettings // of the App

	opener *apps.Opener
	target *Target
}

// OpenRotation finds the App that flags, environment and config file choose. hint is what
// to do where its key is not in the config file.
func OpenRotation(o *apps.Opener, hint string) (*Rotation, error) {
	loaded, err := o.Load()
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
		return nil, &fault.SettingError{
			Err:  fmt.Errorf("the key in use is not of the config file: it comes from %s", from),
			Hint: hint,
		}
	}
	path, _ := loaded.Path()
	return &Rotation{Settings: settings, opener: o, target: &Target{
		path: path.Text, Apps: loaded.Apps(), options: o.ConfigOptions(),
	}}, nil
}

// Path is that of the config file.
func (r *Rotation) Path() string { return r.target.path }

// UnderWay reports whether the config file has both keys.
func (r *Rotation) UnderWay() bool { return r.Settings.PreviousKey.Text != "" }

// TriedKey is a key, and what GitHub says to it.
type TriedKey struct {
	Key         config.Value
	Fingerprint string // empty: the key cannot be opened
	Err         error  // why GitHub does not take it, or was not asked; nil: it takes it

	origin string         // of the App's pages
	info   *ghapp.AppInfo // nil: GitHub does not take the key
}

// Taken reports whether GitHub takes the key.
func (k *TriedKey) Taken() bool { return k.info != nil }

// Try asks GitHub who the App is, with one key alone: what is remembered of a key that
// was refused does not count. The error is one that says nothing about the key.
func (r *Rotation) Try(ctx context.Context, key config.Value) (*TriedKey, error) {
	settings := r.Settings
	settings.Key, settings.PreviousKey = key, config.Value{}
	tried := &TriedKey{Key: key}
	session, err := r.opener.Connect(ctx, settings)
	if err == nil {
		tried.info, err = session.App.Info(ctx)
		tried.Fingerprint, tried.origin = session.App.Status().Fingerprint, session.App.Status().Origin
	}
	unusable, ok := errors.AsType[*signer.KeyError](err)
	if err == nil || errors.Is(err, ghapp.ErrKeyMismatch) || ok && !unusable.Problem.Temporary() {
		tried.Err = err
		return tried, nil
	}
	return nil, err
}

// Begun is the new key of a rotation.
type Begun struct {
	New  *TriedKey
	From string // the file that was named
	Copy string // of it, beside the config file; empty: none was needed
}

// Begin puts a new key, a file or a key URI, before the one that there is, old, which was
// tried.
func (r *Rotation) Begin(ctx context.Context, old *TriedKey, name string) (*Begun, error) {
	// It is opened before it is told of: a key that was pasted in the place of its path is
	// found out there.
	if _, err := OpenKey(ctx, r.opener, name); err != nil {
		return nil, err
	}
	given, err := NamedKey(r.opener, name)
	if err != nil {
		return nil, err
	}
	newest, err := r.Try(ctx, given)
	switch {
	case err != nil:
		return nil, err
	case newest.Fingerprint != "" && newest.Fingerprint == old.Fingerprint:
		return nil, &fault.SettingError{
			Err:  errors.New("NEW is the key in use: its fingerprint is " + old.Fingerprint),
			Hint: "generate another on the App's settings page",
		}
	case !newest.Taken() && (!old.Taken() || !errors.Is(newest.Err, ghapp.ErrKeyMismatch)):
		return nil, fmt.Errorf("nothing was changed: %w", newest.Err)
	}
	text, made, err := r.keepNew(ctx, newest)
	if err != nil {
		return nil, err
	}
	err = r.edit(func(d *config.Draft) error {
		return d.Set([]string{text, r.target.written(r.Settings.Key)}, "apps", r.Settings.Name, "key")
	})
	if err != nil {
		if made != "" {
			err = errors.Join(err, os.Remove(made)) // there is another copy
		}
		return nil, err
	}
	begun := &Begun{New: newest, From: keyuri.FilePath(newest.Key.Text), Copy: made}
	if made != "" {
		newest.Key = config.Value{Text: made}
	}
	return begun, nil
}

// Resume tries both keys of a rotation that is under way. name is the new key, or "" where
// nobody has said which that is: it must be the one that the file has.
func (r *Rotation) Resume(ctx context.Context, name string) (newest, old *TriedKey, err error) {
	if name != "" {
		given, err := OpenKey(ctx, r.opener, name)
		if err != nil {
			return nil, nil, err
		}
		if key, err := OpenKey(ctx, r.opener, ""); err != nil || key.Fingerprint() != given.Fingerprint() {
			return nil, nil, &fault.SettingError{
				Err: fmt.Errorf("a rotation of %s is under way: %s has two keys of it, and can have no third",
					r.Settings.Name, r.target.path),
				Hint: "run ghapp keys rotate --finish first, or take one of them out there",
			}
		}
	}
	if newest, err = r.Try(ctx, r.Settings.Key); err != nil {
		return nil, nil, err
	}
	if old, err = r.Try(ctx, r.Settings.PreviousKey); err != nil {
		return nil, nil, err
	}
	return newest, old, nil
}

// Finished is what a rotation has left.
type Finished struct {
	New         *TriedKey
	Removed     config.Value // the key before, which is out of the config file
	Fingerprint string       // of that; empty: it could not be opened
	File        string       // of that; empty: it is in none
}

// Finish takes the key before out of the config file, if GitHub takes the new one. With
// shred its file is overwritten and removed as well.
func (r *Rotation) Finish(ctx context.Context, shred bool) (*Finished, error) {
	previous := r.Settings.PreviousKey
	if !r.UnderWay() {
		return nil, &fault.SettingError{
			Err:  fmt.Errorf("no rotation of %s is under way: %s has one key of it", r.Settings.Name, r.target.path),
			Hint: "begin one with ghapp keys rotate NEW",
		}
	}
	newest, err := r.Try(ctx, r.Settings.Key)
	if err == nil {
		err = newest.Err
	}
	if err != nil {
		return nil, fmt.Errorf("both keys stay in %s: %w", r.target.path, err)
	}
	done := &Finished{New: newest, Removed: previous, File: keyuri.FilePath(previous.Text)}
	if key, err := r.opener.OpenKey(ctx, previous, r.Settings, nil); err == nil {
		done.Fingerprint = key.Fingerprint()
	}
	if done.Fingerprint == newest.Fingerprint && done.Fingerprint != "" {
		return nil, &fault.SettingError{
			Err: fmt.Errorf("both keys of %s in %s are the same one, %s",
				r.Settings.Name, r.target.path, done.Fingerprint),
			Hint: "take one of them out there",
		}
	}
	if shred && done.File == "" {
		return nil, &fault.UsageError{Err: errors.New("--shred: the key before is in no file")}
	}
	if shred {
		if err := mayShred(done.File, r.target.othersThan(r.Settings.Name, previous)); err != nil {
			return nil, err
		}
	}
	err = r.edit(func(d *config.Draft) error {
		return d.Set(r.target.written(r.Settings.Key), "apps", r.Settings.Name, "key")
	})
	if err != nil {
		return nil, err
	}
	if shred {
		if err := shredFile(done.File); err != nil {
			return nil, fmt.Errorf("the key before is out of %s, and its file %s is still there: %w",
				r.target.path, done.File, err)
		}
	}
	return done, nil
}

// edit changes the config file, unless its keys are no longer those that were tried.
func (r *Rotation) edit(change func(*config.Draft) error) error {
	return config.Edit(r.target.path, r.target.options, func(d *config.Draft) error {
		// Where the file is changed after this, Edit calls again.
		loaded, err := config.Load(r.target.options)
		if err != nil {
			return err
		}
		now, err := loaded.App(config.Selector{})
		if err != nil {
			return err
		}
		if now.Name != r.Settings.Name || now.Key.Reveal() != r.Settings.Key.Reveal() ||
			now.PreviousKey.Reveal() != r.Settings.PreviousKey.Reveal() {
			return &fault.SettingError{Err: fmt.Errorf("the keys of %s in %s were changed meanwhile", r.Settings.Name,
				r.target.path), Hint: "run the command again"}
		}
		return change(d)
	})
}

// keepNew returns what the config file is to say for a new key, and the path of the copy
// that was made of it, or "". A file in the config file's directory stays as it is where
// nobody else can read it.
func (r *Rotation) keepNew(ctx context.Context, newest *TriedKey) (text, made string, err error) {
	path := keyuri.FilePath(newest.Key.Text)
	if path == "" {
		return newest.Key.Text, "", nil
	}
	r.opener.WarnOfKeyFile(ctx, path)
	exposure, err := keyfile.Exposed(path)
	if err != nil {
		return "", "", err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && exposure == nil &&
		filepath.Dir(path) == r.target.Dir() {
		return r.target.written(newest.Key), "", nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", "", fmt.Errorf("read the key: %w", err)
	}
	pem := secret.New(string(content))
	if key, err := signer.FromText("file "+path, pem.Reveal()); err != nil {
		return "", "", err
	} else if key.Fingerprint() != newest.Fingerprint {
		return "", "", &fault.SettingError{Err: fmt.Errorf("the file %s was changed meanwhile", path),
			Hint: "run ghapp keys rotate again"}
	}
	if err := r.target.Ready(); err != nil {
		return "", "", err
	}
	base := filepath.Join(r.target.Dir(), config.AppName(r.Settings.Name))
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

// SettingsPages are where an App's settings may be: GitHub's answer names the App's
// public page, and its owner without saying of what type that is.
func (k *TriedKey) SettingsPages() string {
	path := "/settings/apps/" + url.PathEscape(k.info.Slug)
	return k.origin + "/organizations/" + url.PathEscape(k.info.Owner) + path + "\n  " + k.origin + path +
		" (where the owner is a user)"
}
