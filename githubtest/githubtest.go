// Package githubtest is a GitHub in a process, for tests of what talks to GitHub as a GitHub App: the REST endpoints
// that an App needs to authenticate, and git over smart HTTP, as one [http.Handler]. It needs the standard library
// and, for git, the git program.
//
//	gh, err := githubtest.New(githubtest.Options{})
//	defer gh.Close()
//	server := httptest.NewServer(gh)
//	app := gh.AddApp(githubtest.AppOptions{})
//	app.AddKey(&key.PublicKey)
//	repo := gh.AddRepository("acme/site", githubtest.RepositoryOptions{})
//	repo.Commit("main", "first", map[string]string{"index.html": "hello\n"})
//	app.Install("acme", githubtest.InstallOptions{All: true})
//
// It is strict where GitHub is strict. A JWT is verified for real, a token is checked for expiry, revocation,
// suspension, repositories and permissions on every request, a missing User-Agent is refused, and each mistake is
// answered with GitHub's own status and text, so that a client which passes here has a reason to pass there.
//
// The REST endpoints answer at the root, as api.github.com does, and under /api/v3, as GitHub Enterprise Server does.
// Repositories are served at /OWNER/NAME with or without ".git", git-lfs at /OWNER/NAME.git/info/lfs. One address is
// all of GitHub; a request whose Host begins with "api." is told of git at the host without it.
//
// What goes wrong at GitHub can be made to go wrong here: see [Fault] and the Set methods. [GitHub.Requests] tells what
// was asked.
//
// Statuses and texts are those of GitHub's documentation, of its OpenAPI description, and of what its users report.
// Where none of these says anything the stand-in has to guess: a test should not lean on what git is told behind an IP
// allow list or with the token of a suspended installation, nor on the text of a 422 for a body of the wrong form.
//
// An [Issuer] is the other side of a broker: it says who a job is.
//
// Time comes from [time.Now], moved by [GitHub.SetClockOffset], and the REST half starts no goroutine and no process,
// so together with [GitHub.RoundTripper] it works inside a testing/synctest bubble.
//
// This package is v0 and may change with any release: docs/compatibility.md.
package githubtest

import (
	"net/http"
	"time"

	standin "github.com/ghapp-dev/ghapp/internal/githubtest"
)

// Options says how a [GitHub] is made. The zero value is valid.
type Options struct {
	// Dir is where the bare repositories are kept. It is made if it is not there, must be empty, and is left behind by
	// Close. Empty means a directory under [os.TempDir], made when the first repository needs it and removed by Close.
	Dir string

	// Git is the git program. Empty means the one found in PATH. It is first looked for when a repository needs it.
	Git string
}

// GitHub is the stand-in. It is an [http.Handler], and safe for concurrent use. Make one with [New].
type GitHub struct{ gh *standin.GitHub }

// New makes a GitHub with no Apps and no repositories. It fails when [Options.Dir] cannot be made or is not empty.
func New(o Options) (*GitHub, error) {
	gh, err := standin.New(standin.Options(o))
	if err != nil {
		return nil, err
	}
	return &GitHub{gh}, nil
}

// ServeHTTP answers a request as GitHub would, or as a [Fault] says.
func (g *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.gh.ServeHTTP(w, r) }

// RoundTripper answers requests in this process, with no socket and no goroutine, so that it can be used inside a
// testing/synctest bubble. It obeys the request's context, and faults that wait or break the connection do so here as
// well. The host asked is kept in [Request.Host].
func (g *GitHub) RoundTripper() http.RoundTripper { return g.gh.RoundTripper() }

// Close ends the git processes of requests still running, waits for them, and removes the repositories if
// [Options.Dir] was empty. Requests that come later are answered with 503.
func (g *GitHub) Close() error { return g.gh.Close() }

// RevokeTokens revokes every token minted so far, as if each had been sent to DELETE /installation/token.
func (g *GitHub) RevokeTokens() { g.gh.RevokeTokens() }

// SetTokenLife sets how long a token minted from now on lives. GitHub's hour is the default.
func (g *GitHub) SetTokenLife(life time.Duration) { g.gh.SetTokenLife(life) }

// SetClockOffset moves the stand-in's clock away from [time.Now]: a positive offset makes GitHub's clock fast, which is
// the same as a slow clock at the client. The Date header, the checks of a JWT and the expiry of tokens all move.
func (g *GitHub) SetClockOffset(offset time.Duration) { g.gh.SetClockOffset(offset) }

// SetPropagationDelay makes a token unknown to everything but the mint until it is this old by the stand-in's clock:
// the REST endpoints answer it with 401 "Bad credentials", git with 404 "Repository not found.". Zero, the default,
// turns it off.
func (g *GitHub) SetPropagationDelay(delay time.Duration) { g.gh.SetPropagationDelay(delay) }

// SetRateLimit sets how many REST requests an installation may make in an hour, and starts the hour anew. The default
// is 5000. With 0 every request is over the limit; below 0 there is no limit, as on a GitHub Enterprise Server fresh
// from its box: no X-RateLimit headers, and 404 at /rate_limit.
func (g *GitHub) SetRateLimit(perHour int) { g.gh.SetRateLimit(perHour) }
