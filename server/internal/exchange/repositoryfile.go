package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

const (
	repositoryFile = ".github/ghapp.yaml"
	// maxRepositoryFile is how many bytes of it are read.
	maxRepositoryFile = 64 << 10
	// freshFile is for how long a file is believed without a look at it, and staleFile for how
	// long while GitHub does not answer.
	freshFile = 30 * time.Second
	staleFile = 5 * time.Minute
	// mostFiles is how many are remembered.
	mostFiles = 1000
)

// repositoryFiles are what repositories say themselves. The zero value is ready.
type repositoryFiles struct {
	mu    sync.Mutex
	known map[string]knownFile
}

// knownFile is a file as it was last seen, or why it allows nothing.
type knownFile struct {
	file   *policy.RepositoryFile
	err    error
	read   time.Time // when it was read
	looked time.Time // when somebody last looked at it
}

// of returns the file of a repository. One that cannot be read allows nothing, but for a while
// where GitHub has trouble: no file, one that may not be read and one that makes no sense are
// its owner's word.
func (f *repositoryFiles) of(ctx context.Context, g *generation, r policy.Repository) (*policy.RepositoryFile, error) {
	key := fmt.Sprintf("%s %s %d", g.name, r.Name, r.ID)
	now := time.Now()
	f.mu.Lock()
	known := f.known[key]
	f.mu.Unlock()
	if now.Sub(known.looked) < freshFile && (known.file != nil || known.err != nil) {
		return known.file, known.err
	}
	data, err := g.readFile(ctx, r)
	if unavailable, ok := errors.AsType[*Error](err); ok && unavailable.Outcome == Unavailable {
		if known.file == nil || now.Sub(known.read) > staleFile {
			return nil, err
		}
		known.looked = now
		f.keep(key, known)
		return known.file, nil
	}
	next := knownFile{err: err, read: now, looked: now}
	if err == nil {
		next.file, next.err = policy.ParseRepositoryFile(r.Name+"/"+repositoryFile, data)
	}
	f.keep(key, next)
	return next.file, next.err
}

func (f *repositoryFiles) keep(key string, k knownFile) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil || len(f.known) >= mostFiles {
		f.known = map[string]knownFile{}
	}
	f.known[key] = k
}

// readFile reads the file of a repository, on its default branch, with a token that may do
// nothing else.
func (g *generation) readFile(ctx context.Context, r policy.Repository) ([]byte, error) {
	owner, _, _ := strings.Cut(r.Name, "/")
	grant := policy.Grant{
		Owner: owner, Repositories: []policy.Repository{r}, Permissions: ghapp.Permissions{"contents": "read"},
	}
	t, err := g.token(ctx, grant, 0)
	if err != nil {
		return nil, classify(err)
	}
	if err := fits(t, grant); err != nil {
		return nil, err
	}
	app, err := g.app(ctx, grant)
	if err != nil {
		return nil, &Error{Outcome: Unavailable, Err: err}
	}
	s := app.Current()
	address := strings.TrimSuffix(t.API, "/") + "/repos/" + r.Name + "/contents/" + repositoryFile
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	ask.Header.Set("Accept", "application/vnd.github.raw+json")
	ask.Header.Set("User-Agent", "ghapp-server")
	client := http.Client{
		Transport: &ghapp.Transport{Source: s.App.TokenSource(request(s, grant, 0)), Base: s.Transport},
		// A repository that has moved is not the one that was granted.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       15 * time.Second,
	}
	answer, err := client.Do(ask)
	if err != nil {
		return nil, &Error{Outcome: Unavailable, Err: fmt.Errorf("read %s of %s: %w", repositoryFile, r.Name, err)}
	}
	defer answer.Body.Close()
	return fileIn(answer, r)
}

// fileIn is the file in GitHub's answer, or why there is none.
func fileIn(answer *http.Response, r policy.Repository) ([]byte, error) {
	err := fmt.Errorf("read %s of %s: GitHub answers %d", repositoryFile, r.Name, answer.StatusCode)
	switch limited := answer.Header.Get("Retry-After") != "" || answer.Header.Get("X-RateLimit-Remaining") == "0"; {
	case answer.StatusCode >= 500, answer.StatusCode == http.StatusTooManyRequests,
		answer.StatusCode == http.StatusForbidden && limited:
		return nil, &Error{Outcome: Unavailable, RetryAfter: time.Minute, Err: err}
	case answer.StatusCode != http.StatusOK:
		return nil, err
	}
	data, readErr := io.ReadAll(io.LimitReader(answer.Body, maxRepositoryFile+1))
	switch {
	case readErr != nil:
		return nil, &Error{Outcome: Unavailable, Err: fmt.Errorf("read %s of %s: %w", repositoryFile, r.Name, readErr)}
	case len(data) > maxRepositoryFile:
		return nil, fmt.Errorf("%s of %s has more than %d bytes", repositoryFile, r.Name, maxRepositoryFile)
	}
	return data, nil
}
