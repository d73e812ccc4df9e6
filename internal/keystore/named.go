package keystore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/userdirs"
	"github.com/ghapp-dev/ghapp/signer"
)

// NamedKey is a key that somebody has named, a file or a key URI, good for every
// directory. What has a secret in it is refused, since others can read a command line.
func NamedKey(o *apps.Opener, name string) (config.Value, error) {
	if keyuri.HasSecret(name) {
		return config.Value{}, &fault.SettingError{
			Err:  errors.New("the key URI has a PIN or a password in it, and others can read a command line"),
			Hint: "say in it where that is (pin-source=file:/path in a pkcs11: URI); a key in use can be given in GHAPP_KEY",
		}
	}
	dir, _ := os.Getwd() // without it a relative path is refused
	key, err := config.CompleteKey(name, dir, userdirs.Home(runtime.GOOS, o.LookupEnv))
	if err != nil {
		return config.Value{}, &fault.SettingError{Err: fmt.Errorf("read the key's name: %w", err)}
	}
	return config.Value{Text: key, Source: config.Source{Kind: config.FromFlag, Name: "KEY"}}, nil
}

// OpenKey opens the key of a name, or for "" the key in use. What is remembered of it is
// not believed: what holds it is asked.
func OpenKey(ctx context.Context, o *apps.Opener, name string) (signer.Signer, error) {
	if name != "" {
		key, err := NamedKey(o, name)
		if err != nil {
			return nil, err
		}
		var settings config.AppSettings
		if loaded, err := o.Load(); err == nil { // else the key is all that is needed
			settings, _ = loaded.App(config.Selector{HostOnly: true})
		}
		return o.OpenKey(ctx, key, settings, nil)
	}
	loaded, err := o.Load()
	if err != nil {
		return nil, err
	}
	settings, err := loaded.App(config.Selector{KeyOnly: true})
	if err != nil {
		return nil, err
	}
	return o.Key(ctx, settings, nil)
}

// OpenApp makes the App in general with a named key in the place of its own, of which
// nothing is believed that is remembered.
func OpenApp(ctx context.Context, o *apps.Opener, name string) (*apps.Session, error) {
	key, err := NamedKey(o, name)
	if err != nil {
		return nil, err
	}
	// It is opened before it is told of: a key that was pasted in the place of its path is
	// found out there.
	if _, err := OpenKey(ctx, o, name); err != nil {
		return nil, err
	}
	options := o.ConfigOptions()
	options.Flags["key"] = key.Text
	loaded, err := config.Load(options)
	if err != nil {
		return nil, err
	}
	settings, err := loaded.App(config.Selector{})
	if err != nil {
		return nil, err
	}
	settings.Key, settings.PreviousKey = key, config.Value{}
	return o.With(func(o *apps.Options) { o.NoCache = true }).Start(ctx, settings)
}
