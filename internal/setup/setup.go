// Package setup leads a person from nothing to an installed App: the App Manifest flow
// (https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest),
// shown as pages on a loopback address of this machine.
//
//	this page      posts the manifest to GitHub
//	GitHub         asks the person, makes the App, sends the browser back with a code
//	this machine   trades the code for the App and its key, keeps them, and sends the
//	               browser on to GitHub's page for the installation
//	GitHub         asks the person, installs the App, sends the browser back
//	this machine   asks the API for the installation, and proves that it works
//
// The pages need no JavaScript: what they wait for they ask for again by themselves,
// and are answered when it is there. With JavaScript the first page sends its form by
// itself, once, which leaves the two buttons of GitHub's.
//
// # Who may take part
//
// Who completes the flow decides whose App this machine uses from now on, and who gets
// the code gets the App's key. So:
//
// A code counts with the state that was sent out with the manifest, once, within an
// hour, and only in the browser that was given this state: a cookie ties the two. The
// state stands in a page, in GitHub's address and in the one that GitHub sends the
// browser to; never in a command line, which other users of the machine can read: a
// browser is opened at the bare address of the pages.
//
// Other users of the machine can find the port and connect to it. Where the kernel
// tells whose socket is at the other end of a loopback connection, as Linux does, only
// this user, root, and the user who became root by sudo are answered. Elsewhere
// another user could take part with a browser, and a GitHub account, of his own. He
// sees nothing of this user's part, and what he can achieve is that an App of his own
// is set up: its owner must be the organization asked for, is named on the terminal,
// and repositories of others stay out of its reach.
//
// Pages of other sites are kept out by the Host header (so that a name that is made to
// lead here does not help), by the browser's Sec-Fetch headers, by SameSite, and by
// frame-ancestors. What GitHub's redirects say besides the code is not believed: that
// there is an installation, the API tells.
//
// When this program ends before the person is done, the port is free for others. A
// code that GitHub sends there then opens an App that nobody has installed yet; it is
// best deleted, as the program says.
package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/secret"
)

const (
	// MaxName is how many characters GitHub allows in the name of an App.
	MaxName = 34
	// homepage is the address that GitHub wants every App to have.
	homepage = "https://github.com/ghapp-dev/ghapp"
	// life is how long the flow may take until the code is traded: GitHub's own hour.
	life = time.Hour
	// installLife is how long the installation is waited for.
	installLife = time.Hour
)

// ErrLate means that the person did not finish in time.
var ErrLate = errors.New("an hour has passed")

// Plan is the App to be.
type Plan struct {
	// Origin is scheme and host of GitHub, such as https://github.com.
	Origin string
	// Organization is to own the App. Empty: the person who is signed in.
	Organization string
	// Name is the App's name, which the person may change on GitHub's page.
	Name string
	// Permissions are those the App asks for.
	Permissions ghapp.Permissions
	// Machine and KeyPlace tell where the key will be kept.
	Machine, KeyPlace string
	// SudoUID is the user who became root by sudo, as $SUDO_UID has it. It may be empty.
	SudoUID string
}

// App is a new App whose key has been kept.
type App struct {
	Name  string // at GitHub
	Slug  string
	Owner string
	Page  string // its public page
}

// Proof is how it was shown that the App works.
type Proof struct {
	// Repository is owner/name, or empty: the installation reaches none yet.
	Repository string
	// Refs is how many branches, tags and other references git was told of.
	Refs int
	// WithoutGit says that a token was all that could be had, since the App may not
	// read contents.
	WithoutGit bool
}

// Steps are what is done between the pages. They may take a while, and return when ctx
// ends.
type Steps struct {
	// Register trades the code for the App, and keeps its key.
	Register func(ctx context.Context, code secret.Text) (*App, error)
	// Installation returns the installation on the App's owner, or nil where there is
	// none yet.
	Installation func(ctx context.Context) (*ghapp.InstallationInfo, error)
	// Prove uses the installation.
	Prove func(ctx context.Context, i *ghapp.InstallationInfo) (*Proof, error)
	// Explain says what an error means, and what to do, for people. It holds no secret.
	Explain func(err error) (message, hint string)
}

// phase is how far a flow has come.
type phase int

const (
	asking      phase = iota // for the App
	registering              // the code is being traded
	installing               // the installation is waited for
	proving
	done
	failed
)

// Flow is one way from nothing to an App. Make one with [New].
type Flow struct {
	plan  Plan
	steps Steps
	log   *slog.Logger

	codes chan secret.Text // the one that was taken
	nudge chan struct{}    // the person may have installed the App

	mu           sync.Mutex
	phase        phase
	address      string // of the pages, once they are served
	until        time.Time
	turns        map[string]*turn // by cookie
	app          *App
	installation *ghapp.InstallationInfo
	proof        *Proof
	err          error
	away         bool          // a browser was sent to GitHub, and is to come back
	seen         bool          // the last page has been shown
	changed      chan struct{} // closed when one of these changes
}

// New returns a flow that begins with the App. An app that is not nil is there
// already, and the flow begins with its installation. A nil log is silent.
func New(plan Plan, steps Steps, app *App, log *slog.Logger) *Flow {
	f := &Flow{
		plan: plan, steps: steps, log: log, app: app, until: time.Now().Add(life), turns: map[string]*turn{},
		codes: make(chan secret.Text, 1), nudge: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	if log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if app != nil {
		f.phase = installing
	}
	return f
}

// Run goes all the way, as the person does on the pages, and tells of the App before
// its installation is waited for. Its error is ctx's, that of a step, or [ErrLate].
func (f *Flow) Run(ctx context.Context, tell func(*App)) (*ghapp.InstallationInfo, *Proof, error) {
	installation, proof, err := f.run(ctx, tell)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proof, f.err = proof, err
	last := done
	if err != nil {
		last = failed
	}
	f.become(last)
	return installation, proof, err
}

func (f *Flow) run(ctx context.Context, tell func(*App)) (*ghapp.InstallationInfo, *Proof, error) {
	if f.app == nil {
		app, err := f.register(ctx)
		if err != nil {
			return nil, nil, err
		}
		f.mu.Lock()
		f.app = app
		f.become(installing)
		f.mu.Unlock()
	}
	tell(f.app)
	installation, err := f.await(ctx)
	if err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	f.installation = installation
	f.become(proving)
	f.mu.Unlock()
	proof, err := f.steps.Prove(ctx, installation)
	return installation, proof, err
}

// register waits for the code and trades it.
func (f *Flow) register(ctx context.Context) (*App, error) {
	late := time.NewTimer(time.Until(f.until))
	defer late.Stop()
	select {
	case code := <-f.codes:
		return f.steps.Register(ctx, code)
	case <-late.C:
		return nil, fmt.Errorf("wait for the App to be created: %w", ErrLate)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// become changes the phase, and lets the pages that wait for it go on. It is called
// with the lock held.
func (f *Flow) become(p phase) {
	f.phase = p
	close(f.changed)
	f.changed = make(chan struct{})
}

// manifest is what GitHub is sent. It has no hook_attributes, since the App has no
// webhook: GitHub refuses them without a URL, even if they say that it is off.
func (f *Flow) manifest() string {
	permissions := map[string]string{}
	for name, value := range f.plan.Permissions {
		permissions[name] = value
	}
	text, err := json.Marshal(map[string]any{
		"name":                f.plan.Name,
		"url":                 homepage,
		"description":         "Made by ghapp setup on " + f.plan.Machine,
		"redirect_url":        f.address + createdPath,
		"setup_url":           f.address + installedPath,
		"public":              false,
		"default_permissions": permissions,
	})
	if err != nil {
		panic(err) // texts and a bool: it cannot fail
	}
	return string(text)
}

// newAppURL is where the manifest is posted.
func (f *Flow) newAppURL(state string) string {
	path := "/settings/apps/new"
	if f.plan.Organization != "" {
		path = "/organizations/" + url.PathEscape(f.plan.Organization) + path
	}
	return f.plan.Origin + path + "?state=" + url.QueryEscape(state)
}

// InstallURL is GitHub's page to install an App, on origin whatever the App's own
// answer says.
func InstallURL(origin string, app *App) string {
	page := app.Page
	if !strings.HasPrefix(page, origin+"/") {
		page = origin + "/apps/" + url.PathEscape(app.Slug)
	}
	return page + "/installations/new"
}
