package apps

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/signer"
)

// Key opens the private key that the settings name. Where the store remembers what is
// public of it, nobody is asked for anything before a signature is needed. A nil store
// remembers nothing.
func (o *Opener) Key(ctx context.Context, settings config.AppSettings, store ghapp.Store) (signer.Signer, error) {
	if !settings.PrivateKey.IsZero() {
		key, err := signer.FromText(settings.PrivateKeySource.String(), settings.PrivateKey.Reveal())
		if err != nil {
			return nil, err // and not as a Signer that holds nothing
		}
		return key, nil
	}
	return o.OpenKey(ctx, settings.Key, settings, store)
}

// PreviousKey opens the key before the newest one when it is needed. It is nil where the
// settings name none.
func (o *Opener) PreviousKey(settings config.AppSettings,
	store ghapp.Store) func(context.Context) (ghapp.Signer, error) {
	if settings.PreviousKey.Text == "" {
		return nil
	}
	return func(ctx context.Context) (ghapp.Signer, error) {
		return o.OpenKey(ctx, settings.PreviousKey, settings, store)
	}
}

// OpenKey opens a key by its name, as these settings have keys opened.
func (o *Opener) OpenKey(ctx context.Context, key config.Value, settings config.AppSettings,
	store ghapp.Store) (signer.Signer, error) {
	options := o.KeyOptions(settings)
	if keyuri.Scheme(key.Text) == "env" {
		options.Environ = o.Environ // it is read from there, and no program is started
	}
	options.Memory, _ = store.(signer.Memory)
	return signer.Open(ctx, key.Reveal(), options)
}

// KeyOptions are for the program or the device that holds a key.
func (o *Opener) KeyOptions(settings config.AppSettings) signer.Options {
	timeout, _ := time.ParseDuration(settings.KeyTimeout.Text) // it was checked when it was read
	return signer.Options{
		Environ: childenv.For(o.Environ, o.Own()), Timeout: timeout, Notice: o.Notice,
	}
}

// WarnOfKey logs a warning where others can read a key of these settings, or where it is
// about to be committed.
func (o *Opener) WarnOfKey(ctx context.Context, settings config.AppSettings) {
	for _, key := range []config.Value{settings.Key, settings.PreviousKey} {
		if path := keyuri.FilePath(key.Text); path != "" {
			o.WarnOfKeyFile(ctx, path)
		}
	}
}

// WarnOfKeyFile is [Opener.WarnOfKey] for the file of one key.
func (o *Opener) WarnOfKeyFile(ctx context.Context, path string) {
	log := o.Log
	if !log.Enabled(ctx, slog.LevelWarn) {
		return
	}
	if exposure, err := keyfile.Exposed(path); err == nil && exposure != nil {
		log.Warn(exposure.String() + "; run: " + exposure.Hint())
	}
	git := gitcmd.Runner{Environ: o.Environ, Own: o.Own()}
	if unignored, err := git.Unignored(ctx, path); err == nil && unignored {
		log.Warn(fmt.Sprintf("the private key %s lies in a git work tree that does not ignore it; "+
			"move it out, so that nobody commits it", path))
	}
}
