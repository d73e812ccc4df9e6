// Package apps opens the Apps that a process is configured for: it reads flags,
// environment and config file, opens the key, finds the certificate authorities and the
// cache, and makes the [ghapp.App]. It answers git for them, and follows a key that
// changes while the process runs.
package apps

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/signer"
)

// Options are what an [Opener] has of the process around it. The zero value is a process
// without flags and without an environment.
type Options struct {
	Environ []string          // as os.Environ
	Flags   map[string]string // that were given, by their names; see [config.Options]
	// ByGit says that git has started the process for a credential, and that the flags
	// stand in git's configuration; see HelperLine of [config.Options].
	ByGit bool
	// UserAgent is sent to GitHub. Empty: the library's own.
	UserAgent string
	// Log is told of warnings, and of each request. Nil: nothing is logged.
	Log *slog.Logger
	// Tell is told, in the format of fmt.Printf, what a person wants to know. Nil: nobody is.
	Tell func(format string, args ...any)
	// Notice is told, line by line, what the holder of a key wants a person to do. Nil:
	// nobody is.
	Notice func(line string)
	// NoCache keeps tokens in this process alone.
	NoCache bool
	// Unshared mints tokens for this process alone, since it revokes them in the end.
	Unshared bool
	// RefusalLife is for how long a key that GitHub has refused is not tried again. Zero:
	// it is tried each time.
	RefusalLife time.Duration
	// Configuration reads the configuration in the place of flags, environment and file. Nil:
	// these are read.
	Configuration func() (*config.Config, error)
	// Tokens is the store in which tokens are shared. Nil: the cache of this user's processes.
	Tokens ghapp.Store
	// Observe wraps what sends requests to GitHub. Nil: nobody looks on.
	Observe func(http.RoundTripper) http.RoundTripper
}

// Opener opens the Apps of one reading of the configuration, which is read when it is
// first needed. It is safe for concurrent use. [New] makes one.
type Opener struct {
	Options // with which it was made; they do not change
	// LookupEnv is [os.LookupEnv] on Environ.
	LookupEnv func(name string) (string, bool)

	opening singleflight.Group
	mu      sync.Mutex
	config  *config.Config  // nil: not read yet
	apps    map[string]*App // by appKey
}

// New makes an Opener.
func New(o Options) *Opener {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tell == nil {
		o.Tell = func(string, ...any) {}
	}
	return &Opener{Options: o, LookupEnv: childenv.Lookup(o.Environ), apps: map[string]*App{}}
}

// Fresh is an Opener that reads the configuration anew.
func (o *Opener) Fresh() *Opener { return New(o.Options) }

// With is an Opener with other Options, and with the configuration that was read already.
func (o *Opener) With(change func(*Options)) *Opener {
	options := o.Options
	change(&options)
	changed := New(options)
	changed.config = o.read()
	return changed
}

// Of is an Opener for a configuration that somebody else has read.
func (o *Opener) Of(loaded *config.Config) *Opener {
	changed := New(o.Options)
	changed.config = loaded
	return changed
}

// Session is an App, ready to be used, and the settings that named it.
type Session struct {
	App       *ghapp.App
	Settings  config.AppSettings
	Transport http.RoundTripper
	Store     ghapp.Store // nil: none is shared
}

// Installation is what --installation says, or "".
func (s *Session) Installation() string { return s.Settings.Installation.Text }

// ConfigOptions are those with which the configuration is read.
func (o *Opener) ConfigOptions() config.Options {
	return config.Options{Flags: maps.Clone(o.Flags), LookupEnv: o.LookupEnv, HelperLine: o.ByGit}
}

// Load reads flags, environment and file, once. What is doubtful in them is logged.
func (o *Opener) Load() (*config.Config, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.config != nil {
		return o.config, nil
	}
	read := o.Configuration
	if read == nil {
		read = func() (*config.Config, error) { return config.Load(o.ConfigOptions()) }
	}
	loaded, err := read()
	if err != nil {
		return nil, err
	}
	for _, warning := range loaded.Warnings() {
		o.Log.Warn(warning.String())
	}
	o.config = loaded
	return loaded, nil
}

// read is the configuration, or nil where it has not been read yet.
func (o *Opener) read() *config.Config {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.config
}

// Settings chooses the App for a repository; of the zero Repository, the App in general.
func (o *Opener) Settings(r ghapp.RepositoryName) (config.AppSettings, error) {
	loaded, err := o.Load()
	if err != nil {
		return config.AppSettings{}, err
	}
	return loaded.App(config.Selector{Owner: r.Owner, Host: r.Host, AnyPort: r.AnyPort})
}

// Chosen reports whether a flag, or its variable, says something.
func (o *Opener) Chosen(flag string) bool {
	if _, given := o.Flags[flag]; given {
		return true
	}
	for _, s := range config.Settings() {
		if text, _ := o.LookupEnv(s.Env); s.Flag == flag && text != "" {
			return true
		}
	}
	return false
}

// Open opens the App for a repository.
func (o *Opener) Open(ctx context.Context, r ghapp.RepositoryName) (*Session, error) {
	settings, err := o.Settings(r)
	if err != nil {
		return nil, err
	}
	return o.Start(ctx, settings)
}

// Start opens the App of these settings, and warns of a key that others can read, or are
// about to.
func (o *Opener) Start(ctx context.Context, settings config.AppSettings) (*Session, error) {
	session, err := o.Connect(ctx, settings)
	if err == nil {
		o.WarnOfKey(ctx, settings)
	}
	return session, err
}

// Connect is [Opener.Start] without a word about the key.
func (o *Opener) Connect(ctx context.Context, settings config.AppSettings) (*Session, error) {
	store := o.Store()
	if settings.Broker.Text != "" {
		return o.withBroker(settings, store)
	}
	key, err := o.Key(ctx, settings, store)
	if err != nil {
		return nil, err
	}
	return o.withKey(settings, key, store)
}

// withKey makes the App of these settings with a key.
func (o *Opener) withKey(settings config.AppSettings, key signer.Signer, store ghapp.Store) (*Session, error) {
	reach, err := o.ReachFor(settings)
	if err != nil {
		return nil, err
	}
	reach.Issuer, reach.Signer, reach.Store, reach.Unshared = settings.App.Text, key, store, o.Unshared
	reach.FallbackSigner = o.PreviousKey(settings, store)
	reach.RefusalLife = o.RefusalLife
	app, err := ghapp.New(reach)
	if err != nil {
		return nil, &fault.SettingError{Err: err}
	}
	return &Session{App: app, Settings: settings, Transport: reach.Transport, Store: reach.Store}, nil
}
