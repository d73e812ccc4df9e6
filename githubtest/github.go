// Package githubtest is a GitHub in a process, for tests: the REST endpoints a GitHub App needs to authenticate, and
// git over smart HTTP, as one [http.Handler]. It needs the standard library and, for git, the git program.
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
// The pages on which a person makes an App from a manifest, and installs it, are there too; see [GitHub.SignIn].
//
// The REST endpoints answer at the root, as api.github.com does, and under /api/v3, as GitHub Enterprise Server does;
// GraphQL, as far as it tells of one repository, at /graphql and /api/graphql. Repositories are served at /OWNER/NAME
// with or without ".git", their wikis at /OWNER/NAME.wiki, git-lfs at /OWNER/NAME.git/info/lfs. One address is all of GitHub; a request whose Host
// begins with "api." is told of git at the host without it.
//
// Apps are told of pushes by webhook; see [App.SetWebhook].
//
// What goes wrong at GitHub can be made to go wrong here: see [Fault], [GitHub.Script] and the Set methods.
// [GitHub.Requests] tells what was asked and which credential each request carried.
//
// Statuses and texts are those of GitHub's documentation, of its OpenAPI description, and of what its users report. Where
// none of these says anything the stand-in has to guess, and a test should not lean on it: what git is told behind an
// IP allow list and with the token of a suspended installation (403 and the text of the REST API), a JWT at an endpoint
// that is not for Apps (it sees what everybody sees), the text of a 422 for a body of the wrong form, that of GraphQL
// for a document it cannot read, what GraphQL has in the place of a list that may not be read (null), whether taking a
// permission from an installation reaches tokens already minted (it does here), and the order of the events of one push
// (that of the refs' names).
//
// Time comes from [time.Now], moved by [GitHub.SetClockOffset], and the REST half starts no goroutine and no process,
// so together with [GitHub.RoundTripper] it works inside a testing/synctest bubble.
package githubtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
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
type GitHub struct {
	key  []byte // signs the links to LFS objects
	ctx  context.Context
	stop context.CancelFunc
	runs sync.WaitGroup // git processes of requests under way

	mu       sync.Mutex // guards everything below, and the state of every account, app, installation and repository
	closed   bool
	git      string // as given in Options
	program  string // git's full path, once it was needed
	dir      string // where the repositories are, made when it was needed
	ownDir   bool   // Close removes it
	nextID   map[string]int64
	accounts map[string]*Account // by folded login
	apps     []*App
	installs map[int64]*Installation
	repos    map[int64]*Repository
	names    map[string]*Repository // by folded owner/name
	moved    map[string]*Repository // by folded former owner/name
	tokens   map[string]*token
	minted   []*token
	faults   []*fault
	requests []*Request
	buckets  map[string]*bucket

	offset       time.Duration
	life         time.Duration
	lag          time.Duration
	lagStatus    int
	format       TokenFormat
	rateLimit    int
	versions     []string
	storage      string
	requestCount uint64

	person        *Account                 // whom the pages are for; nil until it is known
	proposals     map[string]*proposal     // by the token of the page that shows them
	registrations map[string]*registration // by code
}

// New makes a GitHub with no accounts, no Apps and no repositories. It fails when [Options.Dir] cannot be made or is
// not empty.
func New(o Options) (*GitHub, error) {
	gh := &GitHub{
		git:       o.Git,
		key:       make([]byte, 32),
		dir:       o.Dir,
		nextID:    map[string]int64{"account": 1_000_001, "app": 2_000_001, "installation": 30_000_001, "repository": 400_000_001, "hook": 500_000_001, "bot": 600_000_001},
		accounts:  map[string]*Account{},
		installs:  map[int64]*Installation{},
		repos:     map[int64]*Repository{},
		names:     map[string]*Repository{},
		moved:     map[string]*Repository{},
		tokens:    map[string]*token{},
		buckets:   map[string]*bucket{},
		life:      time.Hour,
		lagStatus: http.StatusUnauthorized,
		rateLimit: 5000,
		versions:  []string{version2022, version2026},

		proposals:     map[string]*proposal{},
		registrations: map[string]*registration{},
	}
	rand.Read(gh.key)
	gh.ctx, gh.stop = context.WithCancel(context.Background())
	if o.Dir == "" {
		return gh, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("githubtest: %w", err)
	}
	left, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("githubtest: %w", err)
	}
	if len(left) > 0 {
		return nil, fmt.Errorf("githubtest: directory %s is not empty", o.Dir)
	}
	if gh.dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("githubtest: %w", err)
	}
	return gh, nil
}

// Close ends the git processes of requests still running, waits for them, and removes the repositories if
// [Options.Dir] was empty. Requests that come later are answered with 503.
func (gh *GitHub) Close() error {
	gh.mu.Lock()
	gh.closed = true
	gh.mu.Unlock()
	gh.stop()
	gh.runs.Wait()
	gh.mu.Lock()
	defer gh.mu.Unlock()
	if !gh.ownDir {
		return nil
	}
	gh.ownDir = false
	return os.RemoveAll(gh.dir)
}

// now is GitHub's time.
func (gh *GitHub) now() time.Time { return time.Now().Add(gh.offset) }

// id hands out the next number of a kind. The kinds begin far apart, so that one used for another is noticed.
func (gh *GitHub) id(kind string) int64 {
	n := gh.nextID[kind]
	gh.nextID[kind]++
	return n
}
