package mirror

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsession"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
)

// Push says which repository on GitHub a mirror is brought back to. It has to be there.
type Push struct {
	To     ghapp.RepositoryName
	Opener *apps.Opener
	// Output is where git shows its progress.
	Output gitsession.Output
	// Force lets refs be overwritten that are there.
	Force bool
	// Agree is asked before some are, by their full names. Nil, or false: nothing is done.
	Agree func(ctx context.Context, overwritten []string) (bool, error)
}

// ToRepository pushes all branches, tags and notes as they were to a repository on GitHub, with a
// token for that one alone, and before them the large files. Nothing is deleted there.
func (r *Restore) ToRepository(ctx context.Context, p Push) (done *Restored, err error) {
	if p.To.Wiki != r.From.Wiki {
		return nil, &fault.UsageError{Err: fmt.Errorf("one of the two is a wiki: %s, and %s", r.word(), p.To)}
	}
	shot, err := r.snapshot(ctx, restoredPrefixes()...)
	if err != nil {
		return nil, err
	}
	if len(shot.Refs) == 0 {
		return nil, &fault.ExitError{Code: fault.Usage, Err: fmt.Errorf("%s had no branches and no tags", r.word()),
			Hint: "there is nothing to push"}
	}
	request := ghapp.TokenRequest{
		Repositories: []string{codeOf(p.To).String()}, Permissions: ghapp.Permissions{"contents": "write"},
	}
	workflows, err := r.repository().Touches(ctx, slices.Sorted(maps.Values(shot.Refs)), ".github/workflows")
	if err != nil {
		return nil, err
	}
	if workflows { // GitHub takes no such commit from an App without it
		request.Permissions["workflows"] = "write"
	}
	access, err := gitsession.Grant(ctx, p.Opener, p.To, request)
	if err != nil {
		return nil, err
	}
	defer access.End()
	done = newRestored(shot)
	err = access.Serve(ctx, func() error {
		return access.Explained((&pushing{Restore: r, Push: p, access: access, shot: shot, done: done}).do(ctx))
	})
	return done, err
}

// word is the mirror's repository, for people.
func (r *Restore) word() string {
	if r.From.Wiki {
		return r.From.Name + ".wiki"
	}
	return r.From.Name
}

// pushing is a push in the doing.
type pushing struct {
	*Restore
	Push
	access *gitsession.Access
	shot   *barerepo.Snapshot
	done   *Restored
	there  map[string]string // what the repository has
}

func (p *pushing) do(ctx context.Context) error {
	// git and git-lfs run with a token that may write, in a repository that may have come from anybody.
	if err := p.repository().CheckFiles(); err != nil {
		return err
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	if err := p.mayOverwrite(ctx); err != nil {
		return err
	}
	git, scope, err := p.access.Git(ctx, p.To, p.Output)
	if err != nil {
		return err
	}
	git.Dir, git.Repository = p.From.Dir, gitcmd.Repository{Dir: p.From.Dir}
	git.Config = []string{"core.useReplaceRefs=false", "lfs.locksverify=false"}
	if err := p.pushLarge(ctx, git, scope); err != nil {
		return err
	}
	for _, part := range p.parts() {
		if err := git.Run(ctx, scope, p.arguments(scope.URLs[0], part)...); err != nil {
			return err
		}
	}
	return nil
}

// look asks for the refs of the repository, under the name that it has by now.
func (p *pushing) look(ctx context.Context) error {
	if names := p.access.Token.Repositories; len(names) == 1 {
		if now, err := ghapp.ParseRepository(names[0]); err == nil {
			now.Wiki = p.To.Wiki
			p.To = now
		}
	}
	service := &gitwire.Service{
		Origin: p.access.App.Status().Origin, Transport: p.access.Transport(), Log: p.Log,
		Token: func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return p.access.Token, nil },
		Drop:  func(context.Context, ghapp.RepositoryName, *ghapp.Token) error { return nil },
	}
	refs, err := service.Refs(ctx, p.To)
	if err != nil {
		return err
	}
	p.there = map[string]string{}
	for _, ref := range refs.List {
		p.there[ref.Name] = ref.ID
	}
	return nil
}

// mayOverwrite is an error where something is in the repository that was not pushed from here, and
// nobody has said that it may be overwritten.
func (p *pushing) mayOverwrite(ctx context.Context) error {
	var overwritten []string
	others := 0
	for name, id := range p.there {
		ours, both := p.shot.Refs[name]
		switch {
		case both && ours != id:
			overwritten = append(overwritten, name)
		case !both && !strings.HasPrefix(name, "refs/pull/"):
			others++
		}
	}
	slices.Sort(overwritten)
	if !p.Force && len(overwritten)+others > 0 {
		return &fault.ExitError{Code: fault.Refused,
			Err: fmt.Errorf("%s is not empty: it has %d refs that are others than those of %s", p.To,
				len(overwritten)+others, p.word()),
			Hint: "push to a new repository; with --force what has the same name is overwritten, and nothing is deleted"}
	}
	if len(overwritten) == 0 {
		return nil
	}
	agreed := false
	var err error
	if p.Agree != nil {
		agreed, err = p.Agree(ctx, overwritten)
	}
	if err == nil && !agreed {
		err = &fault.ExitError{Code: fault.Refused,
			Err:  fmt.Errorf("%d refs of %s would be overwritten, and nobody has agreed to it", len(overwritten), p.To),
			Hint: "nothing was pushed; --yes agrees"}
	}
	return err
}

// arguments are those of a git push of some refs.
func (p *pushing) arguments(url string, names []string) []string {
	args := append([]string{"push", "--quiet", "--no-verify"}, p.leases(names)...)
	args = append(args, "--", url)
	for _, name := range names {
		args = append(args, p.shot.Refs[name]+":"+name)
	}
	return args
}

// overwrites reports whether a push of a ref takes a commit out of it, which was agreed to.
func (p *pushing) overwrites(name string) bool {
	id := p.there[name]
	return p.Force && id != "" && id != p.shot.Refs[name]
}

// leases have git overwrite what was looked at, and nothing that has come since. A plus before a
// refspec would have it overwrite that, too, whatever the lease says.
func (p *pushing) leases(names []string) []string {
	var list []string
	for _, name := range names {
		if p.overwrites(name) {
			list = append(list, "--force-with-lease="+name+":"+p.there[name])
		}
	}
	return list
}

const (
	// mostRefspecs and mostArguments bound what stands in one command line, the latter in bytes.
	mostRefspecs  = 500
	mostArguments = 60 << 10
)

// parts are the refs that have to be pushed, in as many pieces as command lines bear. The default
// branch goes first: GitHub takes the first for the default of an empty repository.
func (p *pushing) parts() [][]string {
	var parts [][]string
	size := mostArguments
	add := func(name string) {
		if p.there[name] == p.shot.Refs[name] {
			return
		}
		one := 2*len(name) + 200
		if size += one; size > mostArguments || len(parts[len(parts)-1]) == mostRefspecs {
			parts, size = append(parts, nil), one
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], name)
	}
	if p.shot.Refs[p.shot.Head] != "" {
		add(p.shot.Head)
		size = mostArguments // by itself
	}
	for _, name := range slices.Sorted(maps.Keys(p.shot.Refs)) {
		if name != p.shot.Head {
			add(name)
		}
	}
	return parts
}

// pushLarge uploads the large files that the refs need.
func (p *pushing) pushLarge(ctx context.Context, git *gitcmd.Runner, scope gitcmd.Scope) error {
	need, err := p.pointers(ctx, p.shot)
	if err != nil {
		return err
	}
	store := lfsstore.Of(p.From.Dir)
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(need)) {
		if store.Check(id) != nil {
			p.done.Missing = append(p.done.Missing, id)
			continue
		}
		ids = append(ids, id)
	}
	for part := range slices.Chunk(ids, mostRefspecs) {
		if err := git.Run(ctx, scope, append([]string{"lfs", "push", "--object-id", scope.URLs[0]}, part...)...); err != nil {
			return err
		}
		p.done.Large += len(part)
	}
	return nil
}
