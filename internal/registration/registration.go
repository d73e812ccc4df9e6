// Package registration takes an App into the configuration: one that is created at GitHub in
// a browser (internal/setup has the pages), or one that exists already. It keeps the key,
// finds the installation, and proves with a token and with git that it works.
package registration

import (
	"context"
	"fmt"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/keystore"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/setup"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

// Run is an App on its way into the configuration.
type Run struct {
	Opener *apps.Opener
	Target *keystore.Target
	// Organization must own the App. Empty: anybody may.
	Organization string
	// Reach is how GitHub is reached before there is an App.
	Reach ghapp.Config
	// GitOutput is where git prints to, which shows that the App works.
	GitOutput gitsession.Output

	// Session and Info are of the App, once its key is kept; nil before.
	Session *apps.Session
	Info    *ghapp.AppInfo
}

// Steps are what the pages of the setup need done.
func (r *Run) Steps() setup.Steps {
	return setup.Steps{
		Register: r.register, Installation: r.installation, Prove: r.Prove,
		Explain: func(err error) (string, string) {
			var secrets scrub.Scrubber
			report := diag.Explain(err)
			return secrets.String(report.Message), secrets.String(report.Hint)
		},
	}
}

// register trades the code for the App and keeps it.
func (r *Run) register(ctx context.Context, code secret.Text) (*setup.App, error) {
	made, err := r.Reach.Register(ctx, code)
	if err != nil {
		return nil, &fault.ExitError{Code: diag.Explain(err).ExitCode, Err: err,
			Hint: "if GitHub shows the new App, generate a private key on its settings page and run ghapp setup import, " +
				"or delete it and run ghapp setup again"}
	}
	if r.Organization != "" && !strings.EqualFold(made.Owner, r.Organization) {
		return nil, &fault.ExitError{Code: fault.Refused, Err: fmt.Errorf("the App %s belongs to %s, and not to %s; "+
			"nothing of it was kept", made.Name, made.Owner, r.Organization),
			Hint: "somebody else may have answered for you: run ghapp setup again"}
	}
	if _, err := signer.FromText("GitHub's answer", made.PEM.Reveal()); err != nil {
		return nil, err
	}
	settings, err := r.Target.Keep(ctx, &made.AppInfo, made.PEM, []string{made.Owner})
	if err != nil {
		return nil, err
	}
	return r.begin(context.WithoutCancel(ctx), settings, &made.AppInfo)
}

// begin opens the session of an App that is in the configuration.
func (r *Run) begin(ctx context.Context, settings config.AppSettings, info *ghapp.AppInfo) (*setup.App, error) {
	session, err := r.Opener.Start(ctx, settings)
	if err != nil {
		return nil, err
	}
	r.Session, r.Info = session, info
	return &setup.App{Name: info.Name, Slug: info.Slug, Owner: info.Owner, Page: info.URL}, nil
}

// Resume finds an App in the configuration that was created and never installed, or
// returns nil.
func (r *Run) Resume(ctx context.Context, name string) (*setup.App, error) {
	for _, settings := range r.Target.Apps {
		session, err := r.Opener.Start(ctx, settings)
		if err != nil {
			r.Opener.Log.Warn("an App of the config file was passed over", "app", settings.Name, "error", err)
			continue
		}
		info, err := session.App.Info(ctx)
		if err == nil {
			var installed bool
			if installed, err = isInstalled(ctx, session.App); err == nil && installed {
				continue
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			r.Opener.Log.Warn("an App of the config file was passed over", "app", settings.Name, "error", err)
		case r.Organization != "" && !strings.EqualFold(info.Owner, r.Organization),
			name != "" && name != info.Name && name != settings.Name:
		default:
			r.Opener.Tell("The App %s of %s, in %s, is not installed yet: going on with that. (--name creates another.)",
				info.Name, info.Owner, r.Target.Path())
			return r.begin(ctx, settings, info)
		}
	}
	return nil, nil
}

func isInstalled(ctx context.Context, app *ghapp.App) (bool, error) {
	for _, err := range app.Installations(ctx) {
		return err == nil, err
	}
	return false, nil
}

// installation asks for the installation on the App's owner.
func (r *Run) installation(ctx context.Context) (*ghapp.InstallationInfo, error) {
	for i, err := range r.Session.App.Installations(ctx) {
		switch {
		case err != nil:
			return nil, err
		case strings.EqualFold(i.Account, r.Info.Owner):
			return i, nil
		}
	}
	return nil, nil
}
