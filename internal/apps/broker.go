package apps

import (
	"fmt"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// withBroker makes the App of these settings whose key a broker has.
func (o *Opener) withBroker(settings config.AppSettings, store ghapp.Store) (*Session, error) {
	reach, err := o.ReachFor(settings)
	if err != nil {
		return nil, err
	}
	client, _, err := o.Broker(settings, reach)
	if err != nil {
		return nil, err
	}
	// Shared in any case: the broker shares its tokens, and nobody revokes them.
	reach.Broker, reach.Store = client, store
	app, err := ghapp.New(reach)
	if err != nil {
		return nil, &fault.SettingError{Err: err}
	}
	return &Session{App: app, Settings: settings, Transport: reach.Transport, Store: store}, nil
}

// Broker is the client of the broker of these settings, and who asks it. It asks nobody.
func (o *Opener) Broker(settings config.AppSettings, reach ghapp.Config) (*broker.Client, *identity.Identity, error) {
	who, err := identity.Open(settings.Identity.Text, o.identityOptions(reach))
	if err != nil {
		from := "GHAPP_IDENTITY is not set"
		if settings.Identity.Text != "" {
			from = settings.Identity.Source.String()
		}
		return nil, nil, &ghapp.Error{Kind: ghapp.ErrIdentity,
			Op: fmt.Sprintf("prove to the broker %s who asks (%s)", settings.Broker.Text, from), Err: err}
	}
	client, err := broker.New(broker.Config{
		URL: settings.Broker.Text, Identity: who, Audience: settings.Audience.Text, GitHub: reach.Client,
		Transport: reach.Transport, UserAgent: o.UserAgent,
	})
	if err != nil {
		return nil, nil, &fault.SettingError{Err: err}
	}
	return client, who, nil
}

func (o *Opener) identityOptions(reach ghapp.Config) identity.Options {
	return identity.Options{Environ: o.Environ, Transport: reach.Transport}
}

// identitySecrets are the variables that hold a secret of an identity by which a broker of
// this configuration is asked. loaded is nil where it cannot be used: then any may be one.
func identitySecrets(loaded *config.Config) []string {
	if loaded == nil {
		return identity.Secrets("")
	}
	var names []string
	for _, name := range loaded.Identities() {
		names = append(names, identity.Secrets(name)...)
	}
	return names
}
