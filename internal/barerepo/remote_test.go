package barerepo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// remote is the origin of a world as what a network would make of it. It packs what is asked for
// by git, and nothing of it is shared with the code that it tests.
type remote struct {
	w        *world
	service  *gitwire.Service                    // nil: answers are made here
	refused  error                               // by Refs and Fetch
	list     func(*gitwire.Refs)                 // changes a listing
	pack     func([]byte) []byte                 // changes a pack
	want     func(id string) bool                // what is not passed over of what is wanted
	fetching func() error                        // before a fetch
	asked    []gitwire.Request                   // what was fetched
	onByGit  func(dir string, refspecs []string) // before git fetch
}

func (r *remote) Refs(ctx context.Context, prefixes ...string) (*gitwire.Refs, error) {
	if r.refused != nil {
		return nil, r.refused
	}
	if r.service != nil {
		return r.service.Refs(ctx, site(), prefixes...)
	}
	out, err := r.w.tryGit(r.w.origin, nil, "for-each-ref", "--format=%(objectname) %(refname)")
	if err != nil {
		return nil, err
	}
	refs := &gitwire.Refs{Format: "sha1", Requests: 1}
	if format, _ := r.w.tryGit(r.w.origin, nil, "rev-parse", "--show-object-format"); format != "" {
		refs.Format = format
	}
	refs.Head, _ = r.w.tryGit(r.w.origin, nil, "symbolic-ref", "HEAD")
	for line := range strings.Lines(out) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				refs.List = append(refs.List, gitwire.Ref{Name: name, ID: id})
			}
		}
	}
	if r.list != nil {
		r.list(refs)
	}
	return refs, nil
}

func (r *remote) Fetch(ctx context.Context, q gitwire.Request, w io.Writer) (int64, error) {
	if r.refused != nil {
		return 0, r.refused
	}
	if r.service != nil {
		return r.service.Fetch(ctx, site(), q, w)
	}
	r.asked = append(r.asked, q)
	if r.fetching != nil {
		if err := r.fetching(); err != nil {
			return 0, err
		}
	}
	var revs strings.Builder
	for _, id := range q.Wants {
		if r.want != nil && !r.want(id) {
			continue
		}
		revs.WriteString(id + "\n")
	}
	for _, id := range q.Haves {
		if _, err := r.w.tryGit(r.w.origin, nil, "cat-file", "-e", id); err == nil {
			revs.WriteString("^" + id + "\n")
		}
	}
	cmd := exec.CommandContext(ctx, "git", "pack-objects", "--quiet", "--revs", "--thin",
		"--delta-base-offset", "--include-tag", "--stdout")
	cmd.Dir, cmd.Stdin = r.w.origin, strings.NewReader(revs.String())
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, problem.String())
	}
	if r.pack != nil {
		out = r.pack(out)
	}
	if out == nil {
		return 0, errors.New("the connection was lost")
	}
	n, err := io.Copy(w, bytes.NewReader(out))
	return n, err
}

func (r *remote) ByGit(ctx context.Context, dir string, refspecs ...string) error {
	if r.onByGit != nil {
		r.onByGit(dir, refspecs)
	}
	args := slices.Concat([]string{"fetch", "--quiet"}, barerepo.FetchOptions(),
		[]string{"--", "file://" + r.w.origin}, refspecs)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_DIR="+dir)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	if err := cmd.Run(); err != nil {
		return &gitcmd.Error{Op: "fetch", ExitCode: cmd.ProcessState.ExitCode(),
			Stderr: problem.String(), Message: problem.String()}
	}
	return nil
}

func site() ghapp.RepositoryName { return ghapp.RepositoryName{Owner: "acme", Name: "site"} }

// serve has the origin behind git's own server, and the remote ask that.
func (w *world) serve() {
	root := filepath.Dir(filepath.Dir(w.origin))
	server := httptest.NewServer(testkit.GitBackend(w.t, root))
	w.t.Cleanup(server.Close)
	transport := &http.Transport{}
	w.t.Cleanup(transport.CloseIdleConnections)
	w.remote.service = &gitwire.Service{Origin: server.URL, Transport: transport}
}
