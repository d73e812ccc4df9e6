// Package githubtest is all of the stand-in for GitHub that the tests of this house and its demo use: what the public
// package of this name has, which is the core of it, and the pages on which a person makes and installs an App, see
// [GitHub.SignIn], GraphQL as far as it tells of repositories, webhooks, see [App.SetWebhook], LFS, wikis, a host
// that records what is sent to it, see [Recorder], a git service that lies, see [GitServer], and all but the last of it
// as text, see [GitHub.Script].
//
// It imports the standard library and nothing of ours, so that it cannot share our mistakes.
//
// Statuses and texts are those of GitHub's documentation, of its OpenAPI description, and of what its users report.
// Where none of these says anything the stand-in has to guess, and a test should not lean on it: what git is told
// behind an IP allow list and with the token of a suspended installation (403 and the text of the REST API), a JWT at
// an endpoint that is not for Apps (it sees what everybody sees), the text of a 422 for a body of the wrong form, that
// of GraphQL for a document it cannot read, what GraphQL has in the place of a list that may not be read (null),
// and in that of a repository that a takedown notice has closed (null), what git is told of a disabled repository,
// whether taking a permission from an installation reaches tokens already minted (it does here), the order of the
// events of one push (that of the refs' names, "create" and "delete" after the "push"), and who is told of a transfer
// (the former owner's installations, that the repository was removed; the new owner's, "transferred").
//
// The files that begin with rest_ are the endpoints of the REST API, by what GitHub's reference lists them under;
// call.go is what they are made of, and rest.go finds the one that is asked. git.go and lfs.go answer git, graphql.go
// GraphQL, and pages.go a browser. What they tell of is in account.go, app.go, installation.go, repository.go and
// token.go.
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
	changes  int                    // of which repositories there are and who reaches them
	names    map[string]*Repository // by folded owner/name
	moved    map[string]*Repository // by folded former owner/name
	tokens   map[string]*token
	minted   []*token
	faults   []*fault
	requests []*Request
	buckets  map[string]*bucket

	offset            time.Duration
	life              time.Duration
	propagation       time.Duration
	propagationStatus int
	format            TokenFormat
	rateLimit         int
	graphQLLimit      int // below 0: that of the REST API
	versions          []string
	storage           string
	requestCount      uint64

	person        *Account                 // whom the pages are for; nil until it is known
	proposals     map[string]*proposal     // by the token of the page that shows them
	registrations map[string]*registration // by code
}

// New makes a GitHub with no accounts, no Apps and no repositories. It fails when [Options.Dir] cannot be made or is
// not empty.
func New(o Options) (*GitHub, error) {
	gh := &GitHub{
		git: o.Git,
		key: make([]byte, 32),
		dir: o.Dir,
		nextID: map[string]int64{"account": 1_000_001, "app": 2_000_001, "installation": 30_000_001,
			"repository": 400_000_001, "hook": 500_000_001, "bot": 600_000_001},
		accounts:          map[string]*Account{},
		installs:          map[int64]*Installation{},
		repos:             map[int64]*Repository{},
		names:             map[string]*Repository{},
		moved:             map[string]*Repository{},
		tokens:            map[string]*token{},
		buckets:           map[string]*bucket{},
		life:              time.Hour,
		propagationStatus: http.StatusUnauthorized,
		rateLimit:         5000,
		graphQLLimit:      -1,
		versions:          []string{version2022, version2026},

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
