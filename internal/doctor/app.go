package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/signer"
)

// appChain is an App, from its key to its tokens, and what the checks have found out.
type appChain struct {
	*chain
	x          *examination
	settings   config.AppSettings
	host       *hostChain
	repository ghapp.RepositoryName // the zero one: none
	atOrigin   bool                 // nobody named it: it is that of the current directory

	client   *broker.Client     // where a broker has the key; else nil
	who      *identity.Identity // who asks it
	audience string             // that the broker takes tokens for; empty: not known

	key          signer.Signer
	before       ghapp.Signer // the key before it, if there is one that can be used
	signs        ghapp.Signer // key, or the one before it while GitHub refuses that
	app          *ghapp.App   // whose tokens are the doctor's own
	info         *ghapp.AppInfo
	installation *ghapp.InstallationInfo
	lent         []lent
	unknown      bool // GitHub's git service does not know the token yet
}

// requestWait bounds the waiting between the attempts at one request: a limit is told
// rather than waited for.
const requestWait = 5 * time.Second

// open makes the App of the settings, with the key and the host that were found.
func (a *appChain) open(change func(*ghapp.Config)) (*ghapp.App, error) {
	c := a.host.reach
	c.Issuer, c.Signer, c.MaxWait = a.settings.App.Text, a.signs, requestWait
	change(&c)
	app, err := ghapp.New(c)
	if err != nil {
		return nil, &fault.SettingError{Err: err}
	}
	return app, nil
}

// appLinks are the App itself, and where it is installed.
func (a *appChain) appLinks() []link {
	list := []link{{name: "App", needs: []string{"key", linkHost, linkClock}, check: a.checkApp}}
	if a.repository.Name == "" || a.atOrigin {
		list = append(list, link{name: "installations", needs: []string{"App"}, check: a.checkInstallations})
	}
	if a.repository.Name == "" {
		return list
	}
	return append(list,
		link{name: "installation", needs: []string{"App", "installations"}, check: a.checkInstallation},
		link{name: "permissions", needs: []string{"installation"}, check: a.checkPermissions},
		link{name: "repository", needs: []string{"installation"}, check: a.checkRepository},
	)
}

func (a *appChain) checkApp(ctx context.Context) Finding {
	app, err := a.open(func(*ghapp.Config) {})
	if err != nil {
		return broken(err, "%s cannot be used", a.settings.App.Text)
	}
	a.app = app
	a.x.names.issuer(a.settings.App.Text)
	info, err := app.Info(ctx)
	if errors.Is(err, ghapp.ErrKeyMismatch) {
		if before := a.keyBefore(ctx); before != nil {
			a.info = before
			a.x.names.app(before)
			return warn(&diag.TroubleError{Trouble: diag.KeyNotTaken,
				Text: fmt.Sprintf("GitHub refuses the key %s (%s)", a.key.Fingerprint(), err)},
				"%s of %s, App ID %d, by the key before the newest one", before.Name, before.Owner, before.ID)
		}
		if other := a.ownerOfKey(ctx); other != "" {
			return broken(&diag.TroubleError{Trouble: diag.KeyOfAnother, Subject: other,
				Text: fmt.Sprintf("the key %s signs for %s, and not for this App (%s)", a.key.Fingerprint(), other, err)},
				"%s does not take the key", a.settings.App.Text)
		}
	}
	switch {
	case errors.Is(err, ghapp.ErrKeyMismatch):
		return broken(err, "%s does not take the key", a.settings.App.Text)
	case errors.Is(err, ghapp.ErrKey):
		return broken(err, "the key does not sign")
	case err != nil:
		return broken(err, "%s is not recognized", a.settings.App.Text)
	}
	a.info = info
	a.x.names.app(info)
	return ok("%s of %s, App ID %d; it asks for %s", info.Name, info.Owner, info.ID, listed(info.Permissions))
}

// keyBefore takes the key before the newest one, as the commands do, if GitHub takes it.
func (a *appChain) keyBefore(ctx context.Context) *ghapp.AppInfo {
	if a.before == nil {
		return nil // the newest one is the one to tell of
	}
	app, err := a.open(func(c *ghapp.Config) { c.Signer = a.before })
	if err != nil {
		return nil
	}
	info, err := app.Info(ctx)
	if err != nil {
		return nil
	}
	a.app, a.signs = app, a.before
	return info
}

// ownerOfKey looks for the App of the configuration that the key belongs to.
func (a *appChain) ownerOfKey(ctx context.Context) string {
	for other, err := range a.x.loaded.Each() {
		if err != nil || other.App.Text == a.settings.App.Text || other.Host.Text != a.settings.Host.Text {
			continue
		}
		app, err := a.open(func(c *ghapp.Config) { c.Issuer = other.App.Text })
		if err != nil {
			continue
		}
		if info, err := app.Info(ctx); err == nil {
			a.x.names.app(info)
			return "the App " + info.Name
		}
	}
	return ""
}

// listed are permissions in words.
func listed(p ghapp.Permissions) string {
	if len(p) == 0 {
		return "nothing"
	}
	return p.String()
}
