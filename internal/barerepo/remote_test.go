package barerepo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// remote is the origin of a world as what a network would make of it. It packs what is asked for
// by git, and nothing of it is shared with the code that it tests.
type remote struct {
	w       *world
	refused error                               // by Refs and Fetch
	list    func(*barerepo.WireRefs)            // changes a listing
	pack    func([]byte) []byte                 // changes a pack
	want    func(id string) bool                // what is not passed over of what is wanted
	asked   []barerepo.WireRequest              // what was fetched
	onByGit func(dir string, refspecs []string) // before git fetch
}

func (r *remote) Refs(_ context.Context, prefixes ...string) (*barerepo.WireRefs, error) {
	if r.refused != nil {
		return nil, r.refused
	}
	out, err := r.w.tryGit(r.w.origin, nil, "for-each-ref", "--format=%(objectname) %(refname)")
	if err != nil {
		return nil, err
	}
	refs := &barerepo.WireRefs{Format: "sha1", Requests: 1}
	if format, _ := r.w.tryGit(r.w.origin, nil, "rev-parse", "--show-object-format"); format != "" {
		refs.Format = format
	}
	refs.Head, _ = r.w.tryGit(r.w.origin, nil, "symbolic-ref", "HEAD")
	if id, err := r.w.tryGit(r.w.origin, nil, "rev-parse", "--verify", "--quiet", "HEAD"); err == nil {
		refs.List = append(refs.List, barerepo.WireRef{Name: "HEAD", ID: id, Target: refs.Head})
	}
	for line := range strings.Lines(out) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				refs.List = append(refs.List, barerepo.WireRef{Name: name, ID: id})
			}
		}
	}
	if r.list != nil {
		r.list(refs)
	}
	return refs, nil
}

func (r *remote) Fetch(ctx context.Context, q barerepo.WireRequest, w io.Writer) (int64, error) {
	if r.refused != nil {
		return 0, r.refused
	}
	r.asked = append(r.asked, q)
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
	cmd := exec.CommandContext(ctx, "git", "pack-objects", "--quiet", "--revs", "--thin", "--delta-base-offset", "--include-tag", "--stdout")
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
	args := append([]string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--",
		r.w.origin}, refspecs...)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_DIR="+dir)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	if err := cmd.Run(); err != nil {
		return &gitcmd.Error{Op: "fetch", ExitCode: cmd.ProcessState.ExitCode(), Stderr: problem.String(), Message: problem.String()}
	}
	return nil
}
