package githubtest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What GitHub's git servers say. git shows it after "remote:".
// https://docs.github.com/en/get-started/git-basics/about-remote-repositories#cloning-with-https-urls
const (
	gitChallenge      = `Basic realm="GitHub"`
	gitBadCredentials = "Invalid username or token. Password authentication is not supported for Git operations."
	gitBadScheme      = "invalid credentials"
	gitNotFound       = "Repository not found."
	gitNoContents     = "Write access to repository not granted."
	gitDenied         = "Permission to %s.git denied to %s[bot]."
	gitArchived       = "This repository was archived so it is read-only."
	gitAnonymousWrite = "No anonymous write access."
	gitDumbProtocol   = "Please upgrade your git client."
	gitDisabled       = "Access to this repository has been disabled by GitHub staff."
	gitBlocked        = "Repository unavailable due to DMCA takedown.\nSee the takedown notice for more details:\n  " +
		takedown + "."
)

// The last segments of the paths git asks for.
const (
	discovery   = "info/refs"
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

// gitRoute is a path below a repository's URL.
type gitRoute struct {
	owner, repo string
	rest        string // info/refs, git-upload-pack, git-receive-pack, or what begins with info/lfs/
	suffix      string // ".git" if the repository was named with it
}

// gitPath tells the paths git and git-lfs ask for from those of the REST API.
// https://git-scm.com/docs/http-protocol and https://github.com/git-lfs/git-lfs/blob/main/docs/api/server-discovery.md
func gitPath(escaped string) (g gitRoute, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(escaped, "/"), "/", 3)
	if len(parts) < 3 {
		return gitRoute{}, false
	}
	for i, part := range parts {
		text, err := url.PathUnescape(part)
		if err != nil {
			return gitRoute{}, false
		}
		parts[i] = text
	}
	g = gitRoute{owner: parts[0], repo: parts[1], rest: parts[2]}
	if name, found := strings.CutSuffix(g.repo, ".git"); found {
		g.repo, g.suffix = name, ".git"
	}
	switch g.rest {
	case discovery, uploadPack, receivePack:
		return g, true
	}
	return g, g.lfs()
}

// refusal is a request to git or LFS that is not carried out.
type refusal struct {
	status  int
	message string
	lacking bool // it is for want of a permission
}

func refuse(status int, message string) *refusal { return &refusal{status: status, message: message} }

// admit finds the repository or the wiki that a request is about, and refuses what GitHub refuses.
func (gh *GitHub) admit(r *http.Request, g gitRoute, write bool) (repo *Repository, moved bool, no *refusal) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	repo, wiki, moved := gh.findGit(g.owner, g.repo)
	if no := gh.refusal(r, repo, write); no != nil || !wiki {
		return repo, moved, no
	}
	if repo.wiki == nil {
		kind, _ := authorization(r)
		if kind == "" {
			return nil, false, refuse(http.StatusUnauthorized, gitNotFound)
		}
		return nil, false, refuse(http.StatusNotFound, gitNotFound)
	}
	return repo.wiki, moved, nil
}

// refusal is what GitHub refuses a request to a repository with; nil: nothing. The repository is nil where there is
// none.
func (gh *GitHub) refusal(r *http.Request, repo *Repository, write bool) *refusal {
	kind, credential := authorization(r)
	if kind == "" {
		switch {
		case repo == nil || !repo.options.Public:
			return refuse(http.StatusUnauthorized, gitNotFound)
		case repo.options.shut() != nil:
			return repo.options.shut()
		case write:
			return refuse(http.StatusUnauthorized, gitAnonymousWrite)
		}
		return nil
	}
	if kind != "basic" {
		return refuse(http.StatusUnauthorized, gitBadScheme)
	}
	t := gh.alive(credential.password)
	if t == nil || credential.user != "x-access-token" {
		return refuse(http.StatusUnauthorized, gitBadCredentials)
	}
	if gh.propagating(t) {
		return refuse(http.StatusNotFound, gitNotFound)
	}
	if status, message := t.inst.barred(); status != 0 {
		return refuse(status, message)
	}
	switch {
	case repo == nil || !repo.options.Public && !t.covers(repo):
		return refuse(http.StatusNotFound, gitNotFound)
	case repo.owner.allowList:
		return refuse(http.StatusForbidden, fmt.Sprintf(allowListRefusal, repo.owner.Login))
	case repo.options.shut() != nil:
		return repo.options.shut()
	case !repo.options.Public && !t.may("contents", "read"):
		return &refusal{http.StatusForbidden, gitNoContents, true}
	case write && (!t.covers(repo) || !t.may("contents", "write")):
		return &refusal{http.StatusForbidden, fmt.Sprintf(gitDenied, repo.fullName(), t.inst.app.Slug), true}
	case write && repo.options.Archived:
		return refuse(http.StatusForbidden, gitArchived)
	}
	return nil
}

// shut is what keeps everybody from a repository; nil: nothing.
func (o RepositoryOptions) shut() *refusal {
	switch {
	case o.Blocked:
		return refuse(http.StatusForbidden, gitBlocked)
	case o.Disabled:
		return refuse(http.StatusForbidden, gitDisabled)
	}
	return nil
}

// serveGit answers a request of git's smart HTTP protocol, with git http-backend.
func (gh *GitHub) serveGit(w http.ResponseWriter, r *http.Request, g gitRoute) {
	service := g.rest
	if service == discovery {
		service = r.URL.Query().Get("service")
	}
	if service != uploadPack && service != receivePack {
		gh.writeGit(w, refuse(http.StatusForbidden, gitDumbProtocol))
		return
	}
	repo, moved, no := gh.admit(r, g, service == receivePack)
	if no != nil {
		gh.writeGit(w, no)
		return
	}
	if moved && g.rest == discovery {
		// git takes the new address for the requests that follow.
		w.Header().Set("Location", origin(r)+"/"+repo.FullName()+g.suffix+"/"+g.rest+"?"+r.URL.RawQuery)
		gh.writeGit(w, refuse(http.StatusMovedPermanently, ""))
		return
	}
	if err := repo.prepare(); err != nil {
		gh.writeGit(w, refuse(http.StatusInternalServerError, err.Error()))
		return
	}
	if g.rest == receivePack {
		// Before the push and not after it, so that who sees the push done sees pushed_at moved.
		gh.mu.Lock()
		repo.pushed = gh.now()
		gh.mu.Unlock()
		_ = repo.pushing(func() error {
			gh.backend(w, r, fmt.Sprintf("/%d.git/%s", repo.ID, g.rest))
			return nil
		})
		return
	}
	gh.backend(w, r, fmt.Sprintf("/%d.git/%s", repo.ID, g.rest))
}

// writeGit sends a text as GitHub's git servers do.
func (gh *GitHub) writeGit(w http.ResponseWriter, a *refusal) {
	if a.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", gitChallenge)
	}
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.message)))
	gh.date(w.Header())
	w.WriteHeader(a.status)
	io.WriteString(w, a.message)
}

func (gh *GitHub) date(h http.Header) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	h.Set("Date", gh.now().UTC().Format(http.TimeFormat))
	h.Set("X-GitHub-Request-Id", gh.requestID())
}

// backend runs git http-backend for a request. It sees no credential and nothing of the caller's git configuration.
// When the client goes away or the GitHub is closed, it and what it started end with the next thing they read or
// write; upload-pack writes at least once a second.
func (gh *GitHub) backend(w http.ResponseWriter, r *http.Request, path string) {
	if !gh.enter() {
		gh.writeGit(w, refuse(http.StatusServiceUnavailable, "githubtest: closed"))
		return
	}
	defer gh.runs.Done()
	connection := http.NewResponseController(w)
	defer context.AfterFunc(gh.ctx, func() {
		connection.SetReadDeadline(time.Now())
		connection.SetWriteDeadline(time.Now())
	})()

	in := r.Clone(r.Context())
	in.Header.Del("Authorization")
	in.URL.Path, in.URL.RawPath = path, ""
	if slices.Contains(in.TransferEncoding, "chunked") {
		in.TransferEncoding = nil // net/http has undone it, and http-backend reads to the end when it knows no length
		in.ContentLength = -1
	}
	gh.date(w.Header())
	h := cgi.Handler{
		Path:   gh.program,
		Args:   []string{"http-backend"},
		Root:   "/",
		Dir:    gh.dir,
		Env:    append(gh.environment(), "GIT_PROTOCOL="+r.Header.Get("Git-Protocol")),
		Logger: log.New(io.Discard, "", 0),
		Stderr: io.Discard,
	}
	h.ServeHTTP(w, in)
}
