// Package configured gives a program the App that the command ghapp would use in its place:
// from GHAPP_APP, GHAPP_KEY and the other variables, and from the config file, with its
// certificate authorities, its keys in agents, keyrings and devices, and its cache, which
// the program then shares with the command.
//
//	app, err := configured.Open(ctx, configured.Options{Repository: "acme/site"})
//	token, err := app.Token(ctx, ghapp.TokenRequest{
//		Repositories: []string{"acme/site"}, Installation: app.Installation,
//	})
//
// The key is opened once: a program that outlives it opens another, and calls
// [ghapp.App.Rotate].
//
// `ghapp help` and the README say what the variables and the file may have in them. A
// program that has its settings from elsewhere calls [ghapp.New], and links far less.
package configured

import (
	"context"
	"log/slog"
	"net/http"
	"os"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
)

// Options are what the environment and the config file cannot say. The zero value is good.
type Options struct {
	// Repository chooses among the Apps of the config file: owner/name, or its URL. Empty: the
	// one App, or that of GHAPP_APP.
	Repository string
	// Environ is looked into for GHAPP_ and the other variables, as name=value. Nil: that
	// of this process.
	Environ []string
	// UserAgent goes before our own in the User-Agent header; may be empty.
	UserAgent string
	// Log is told of warnings, such as a key that others can read, of retries and of
	// renewals. Nil: nothing is logged.
	Log *slog.Logger
	// NoCache keeps tokens in this process alone.
	NoCache bool
}

// App is an App as it is configured here. It is safe for concurrent use.
type App struct {
	*ghapp.App
	// Installation belongs in a [ghapp.TokenRequest]. It is empty where the configuration
	// names none, and then that of the repositories' owner is found.
	Installation string
	// Transport reaches the App's host, by the certificate authorities that are configured.
	// It adds no token: see [ghapp.Transport], whose Base it can be.
	Transport http.RoundTripper
}

// Open reads the configuration and opens the App's key. It asks nothing of GitHub. The error
// says which setting is wrong, or missing, and where it was looked for.
func Open(ctx context.Context, o Options) (*App, error) {
	repository, err := o.repository()
	if err != nil {
		return nil, err
	}
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	opener := apps.New(apps.Options{Environ: o.Environ, UserAgent: o.UserAgent, Log: o.Log, NoCache: o.NoCache})
	session, err := opener.Open(ctx, repository)
	if err != nil {
		return nil, err
	}
	return &App{App: session.App, Installation: session.Installation(), Transport: session.Transport}, nil
}

// repository is the zero value where none is named.
func (o Options) repository() (ghapp.RepositoryName, error) {
	if o.Repository == "" {
		return ghapp.RepositoryName{}, nil
	}
	return ghapp.ParseRepository(o.Repository)
}
