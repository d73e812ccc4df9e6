package mirror

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/inventory"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
)

// Verify proves mirrors to be whole, and equal to what GitHub has. Nothing in them changes, and a
// [Run] of the same directory may be under way. Opener and Log are required.
type Verify struct {
	Opener *apps.Opener
	// Dir is the directory of the mirrors.
	Dir string
	// Names are those of the repositories to look at, as [Find] takes them. None: all.
	Names []string
	// Offline leaves GitHub out.
	Offline bool
	// Jobs is how many are read at once. Zero: 4.
	Jobs int
	// Verified is told of each, one at a time. Nil: nobody is.
	Verified func(*Verified)
	Log      *slog.Logger
}

// Verified is a mirror that was looked at.
type Verified struct {
	ID   int64
	Name string
	Wiki bool
	Dir  string
	Gone *Gone
	Refs int // without those that are kept
	// Large is how many files of Git LFS are whole. Missing are those that refs need and that are
	// not there or damaged, by their IDs.
	Large   int
	Missing []string
	// Damage is why it is not whole; nil: it is.
	Damage error
	// History is why some of what it kept of the past is not there any more; nil: all is.
	History error
	// Compared says that GitHub was asked. Differ are the refs that are others there.
	Compared bool
	Differ   []string
	// Unasked is why GitHub was not.
	Unasked error

	record   *Record
	manifest *Manifest // of bundles
	shot     *barerepo.Snapshot
}

// OK reports whether nothing is wrong with it.
func (v *Verified) OK() bool {
	return v.Damage == nil && v.History == nil && len(v.Differ) == 0 && len(v.Missing) == 0 && v.Unasked == nil
}

// copied is what is remembered of it.
func (v *Verified) copied() *Copy {
	if v.Wiki {
		return &v.record.Wiki
	}
	return &v.record.Code
}

// files is how many large files the last run that kept them wanted.
func (v *Verified) files() int { return v.copied().Large.Files }

// identity is that of the mirror.
func (v *Verified) identity() string { return identityOf(v.ID, v.Wiki) }

// Do looks at all of them, and returns them by name, and how often the API was asked. With an error all the
// same, it is that GitHub could not be asked; without a list, that nothing could be looked at, or that of ctx.
func (v *Verify) Do(ctx context.Context) (list []*Verified, calls int64, err error) {
	state, err := Read(v.Dir, v.Log)
	if err != nil {
		return nil, 0, err
	}
	if list, err = v.choose(state); err != nil {
		return nil, 0, err
	}
	var told sync.Mutex
	var doing errgroup.Group
	doing.SetLimit(cmp.Or(v.Jobs, 4))
	for _, one := range list {
		doing.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := v.read(ctx, one); err != nil {
				return err
			}
			if v.Verified != nil {
				told.Lock()
				defer told.Unlock()
				v.Verified(one)
			}
			return nil
		})
	}
	if err := doing.Wait(); err != nil {
		return nil, 0, err
	}
	if v.Offline {
		return list, 0, nil
	}
	calls, err = v.compare(ctx, state, list)
	for _, one := range list {
		if len(one.Differ) > 0 {
			v.differs(ctx, one)
		}
	}
	return list, calls, err
}

// choose are the mirrors to look at.
func (v *Verify) choose(state *State) ([]*Verified, error) {
	var list []*Verified
	add := func(r *Record, wiki bool) {
		path := cmp.Or(r.Path, r.wanted())
		if wiki {
			path = wikiOf(path)
		}
		list = append(list, &Verified{
			ID: r.ID, Name: r.Name, Wiki: wiki, Dir: filepath.Join(v.Dir, path), Gone: r.Gone, record: r,
		})
	}
	if len(v.Names) > 0 {
		for _, name := range v.Names {
			f, err := find(v.Dir, name, state)
			if err != nil {
				return nil, err
			}
			r := state.Repositories[f.ID]
			if r == nil {
				r = &Record{ID: f.ID, Name: f.Name}
			}
			list = append(list, &Verified{ID: f.ID, Name: f.Name, Wiki: f.Wiki, Dir: f.Dir, Gone: f.Gone, record: r})
		}
		return list, nil
	}
	for _, r := range state.Repositories {
		if r.Path == "" && r.Lost == nil {
			continue
		}
		add(r, false)
		if r.Path != "" && r.WikiKept(v.Dir) {
			add(r, true)
		}
	}
	slices.SortFunc(list, func(a, b *Verified) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID), strings.Compare(a.Dir, b.Dir))
	})
	return list, nil
}

// differs has the next pass compare a mirror. A ref that a run has moved since it was read here does not count.
func (v *Verify) differs(ctx context.Context, one *Verified) {
	if now, err := v.repository(one).Snapshot(ctx); err == nil {
		one.Differ = slices.DeleteFunc(one.Differ, func(name string) bool {
			return name == "HEAD" && now.Head != one.shot.Head || now.Refs[name] != one.shot.Refs[name]
		})
	}
	if len(one.Differ) == 0 {
		return
	}
	if err := markDiffering(v.Dir, one.identity(), one.Differ); err != nil {
		v.Log.Warn("that a mirror differs cannot be written down", "mirror", one.Dir, "error", err)
	}
}

func (v *Verify) repository(one *Verified) *barerepo.Repository {
	return &barerepo.Repository{
		Dir: one.Dir, Git: gitcmd.Runner{Environ: v.Opener.Environ, Own: v.Opener.Own()}, Log: v.Log,
	}
}

// read reads one on the disk. The error is that of ctx.
func (v *Verify) read(ctx context.Context, one *Verified) error {
	if one.record.Path == "" && one.record.Lost != nil { // another may be at its name
		one.Damage = onlyCopy(errNotThere())
		return nil
	}
	r := v.repository(one)
	var err error
	for range mostLooks {
		before, _ := os.Lstat(one.Dir)
		one.Missing, one.History = nil, nil
		err = v.look(ctx, r, one)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		after, _ := os.Lstat(one.Dir)
		if err == nil || before == nil || after == nil || os.SameFile(before, after) {
			break // else a run has put another one in its place meanwhile
		}
	}
	if one.Damage = err; err != nil {
		if one.Gone != nil {
			one.Damage = onlyCopy(err)
		}
		if err := markDamaged(v.Dir, one.identity(), err); err != nil {
			v.Log.Warn("that a mirror is damaged cannot be written down", "mirror", one.Dir, "error", err)
		}
	}
	v.noteHistory(one)
	if len(one.Missing) > 0 {
		if err := markLarge(v.Dir, one.identity(), one.Missing); err != nil {
			v.Log.Warn("that large files are damaged cannot be written down", "mirror", one.Dir, "error", err)
		}
	}
	return nil
}

// noteHistory has the status tell whether history is lost.
func (v *Verify) noteHistory(one *Verified) {
	var err error
	if one.History != nil {
		err = markHistory(v.Dir, one.identity(), one.History)
	} else if one.Damage == nil {
		err = endMark(v.Dir, one.identity(), historyMark, seenMark(v.Dir, one.identity(), historyMark))
	}
	if err != nil {
		v.Log.Warn("whether history is lost cannot be written down", "mirror", one.Dir, "error", err)
	}
}

// mostLooks is how often a mirror is read that a run replaces meanwhile.
const mostLooks = 3

func (v *Verify) look(ctx context.Context, r *barerepo.Repository, one *Verified) (err error) {
	if one.shot, err = r.Snapshot(ctx); err != nil {
		return err
	}
	one.Refs = len(one.shot.Refs)
	if err := v.lookAtFiles(ctx, r, one); err != nil {
		return err
	}
	if err := r.Fsck(ctx); err != nil {
		return err
	}
	if err := v.lookAtHistory(ctx, r, one); err != nil {
		return err
	}
	return v.lookAtLarge(ctx, r, one)
}

// lookAtFiles looks for the files that were there when the mirror was last brought up to date: git takes a
// repository without its packed refs for one that has none. Where that is not remembered, the journal tells.
func (v *Verify) lookAtFiles(ctx context.Context, r *barerepo.Repository, one *Verified) error {
	before := one.copied().Stat
	if before == nil {
		return r.CheckRefs(ctx)
	}
	lacks := lost(r.Stat(), before)
	if lacks == "" {
		return nil
	}
	// A run may have made it anew since that was read.
	if state, err := StoreOf(v.Dir).Read(); err == nil && state.Repositories[one.ID] != nil {
		one.record = state.Repositories[one.ID]
		lacks = lost(r.Stat(), one.copied().Stat)
	}
	if lacks == "" {
		return nil
	}
	return &barerepo.Error{Problem: barerepo.ErrDamaged, Op: "look at " + r.Dir,
		Detail: "it has no " + lacks + " any more"}
}

// lost is a file that is not there any more, but for the journal, of which the history tells; "": none is.
func lost(now, before barerepo.Stat) string {
	before = maps.Clone(before)
	delete(before, barerepo.JournalName)
	return now.Lacks(before)
}

// lookAtHistory looks for what is remembered of the past.
func (v *Verify) lookAtHistory(ctx context.Context, r *barerepo.Repository, one *Verified) error {
	err := r.CheckHistory(ctx, one.copied().remembered())
	if !errors.Is(err, barerepo.ErrHistoryLost) {
		return err
	}
	// A run may have changed both since that was read.
	if state, failed := StoreOf(v.Dir).Read(); failed == nil && state.Repositories[one.ID] != nil {
		one.record = state.Repositories[one.ID]
		err = r.CheckHistory(ctx, one.copied().remembered())
	}
	if !errors.Is(err, barerepo.ErrHistoryLost) {
		return err
	}
	one.History = err
	return nil
}

// lookAtLarge reads the large files, of a mirror that has any, or is to have some.
func (v *Verify) lookAtLarge(ctx context.Context, r *barerepo.Repository, one *Verified) error {
	store := lfsstore.Of(r.Dir)
	there, err := store.List()
	if err != nil || len(there) == 0 && one.files() == 0 {
		return err
	}
	whole := map[string]bool{}
	for _, p := range there {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err := store.Check(p.ID)
		if errors.As(err, new(*lfsstore.DamagedError)) || errors.Is(err, fs.ErrNotExist) {
			one.Missing = append(one.Missing, p.ID)
			continue
		}
		if err != nil {
			return err
		}
		whole[p.ID] = true
	}
	one.Large = len(whole)
	need, err := pointersOf(ctx, r, slices.Collect(maps.Values(one.shot.Refs)))
	if err != nil {
		return err
	}
	for id := range need {
		if !whole[id] {
			one.Missing = append(one.Missing, id)
		}
	}
	slices.Sort(one.Missing)
	one.Missing = slices.Compact(one.Missing)
	return nil
}

// compare asks GitHub for the refs of all that are there and whole enough to have some.
func (v *Verify) compare(ctx context.Context, state *State, list []*Verified) (int64, error) {
	of := map[int64][]*Verified{}
	for _, one := range list {
		if one.Gone == nil && !one.record.Left && one.shot != nil {
			of[one.record.Installation] = append(of[one.record.Installation], one)
		}
	}
	if len(of) == 0 {
		return 0, nil
	}
	if state.Scanned {
		for _, one := range slices.Concat(slices.Collect(maps.Values(of))...) {
			one.Unasked = errScanned()
		}
		return 0, nil
	}
	entry := config.DefaultMirror()
	entry.To = v.Dir
	run := &Run{
		Options: Options{Opener: v.Opener, Entry: entry, Log: v.Log}, dir: v.Dir, store: StoreOf(v.Dir), state: state,
		calls: &atomic.Int64{},
	}
	run.Opener = run.counted(v.Opener)
	run.see(nil)
	defer run.endSession()
	p := run.newPass(Request{})
	sites, err := p.installations(ctx)
	if err != nil {
		return run.calls.Load(), err
	}
	for id, mirrors := range of {
		s := sites[id]
		if s == nil || !s.info.SuspendedAt.IsZero() {
			for _, one := range mirrors {
				one.Unasked = errors.New("the App is not installed there any more, or is suspended")
			}
			continue
		}
		c := &comparison{pass: p, site: s}
		if err := c.do(ctx, mirrors); err != nil {
			return run.calls.Load(), err
		}
	}
	return run.calls.Load(), nil
}

// errScanned is why nothing is compared of which nothing is remembered: by its name alone another repository
// may be meant.
func errScanned() error {
	return &fault.ExitError{Code: fault.Failed,
		Err:  errors.New("it is not remembered which repository of GitHub's this is by now"),
		Hint: "the next run of `ghapp mirror` finds that out; --offline looks at what is on the disk alone"}
}

// comparison is that of an installation's mirrors with GitHub.
type comparison struct {
	*pass
	*site
}

// do compares: by GraphQL what it can list in one go, and the rest one by one. The error is that of ctx.
func (c *comparison) do(ctx context.Context, mirrors []*Verified) error {
	slices.SortFunc(mirrors, func(a, b *Verified) int { return cmp.Compare(a.ID, b.ID) })
	var names []string
	var many, few []*Verified
	for _, one := range mirrors {
		// A token of before may be for another repository, which had the name then.
		c.named[strings.ToLower(one.Name)] = one.record.NamedAt
		if !one.Wiki {
			names = append(names, one.Name)
		}
		if one.Wiki || one.record.NodeID == "" || one.tooMany() {
			few = append(few, one)
		} else {
			many = append(many, one)
		}
	}
	c.tokens = newTokens(names, c.reads)
	for list := range slices.Chunk(many, inventory.PerRefs) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		few = append(few, c.ask(ctx, list)...)
	}
	service := c.service(c.pass)
	var doing errgroup.Group
	doing.SetLimit(4)
	for _, one := range few {
		doing.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			name := one.record.repository(c.state.Host)
			name.Wiki = one.Wiki
			prefixes := []string{"refs/heads/", "refs/tags/", "refs/notes/"}
			refs, err := service.Refs(ctx, name, prefixes...)
			if err == nil {
				err = one.take(refs, prefixes)
			}
			one.Unasked = err
			return context.Cause(ctx)
		})
	}
	return doing.Wait()
}

// tooMany reports whether GraphQL would not tell of all refs.
func (v *Verified) tooMany() bool {
	branches, tags := 0, 0
	for name := range v.shot.Refs {
		switch {
		case strings.HasPrefix(name, "refs/heads/"):
			branches++
		case strings.HasPrefix(name, "refs/tags/"):
			tags++
		}
	}
	return branches > inventory.PerList || tags > inventory.PerList
}

// take compares with what GitHub has.
func (v *Verified) take(refs *gitwire.Refs, prefixes []string) error {
	differ, err := v.shot.Differences(refs, prefixes...)
	if err == nil {
		v.Compared, v.Differ = true, differ
	}
	return err
}

// ask asks GraphQL for some, and returns those of which it has not told.
func (c *comparison) ask(ctx context.Context, list []*Verified) (rest []*Verified) {
	nodes := make([]string, len(list))
	for i, one := range list {
		nodes[i] = one.record.NodeID
	}
	answers, err := c.asker.Refs(c.budget.within(ctx), &readsOf{c.tokens, list[0].Name}, nodes)
	if err != nil {
		c.Log.Info("repositories are asked for their refs one by one, since GraphQL does not tell", "error", err)
		return list
	}
	for i, one := range list {
		if answers[i] == nil || one.take(answers[i], []string{"refs/heads/", "refs/tags/"}) != nil {
			rest = append(rest, one)
		}
	}
	return rest
}

// readsOf is a source of the token that reads a repository, among others.
type readsOf struct {
	tokens *tokens
	name   string
}

// Token implements [ghapp.TokenSource].
func (r *readsOf) Token(ctx context.Context) (*ghapp.Token, error) {
	return r.tokens.token(ctx, r.name)
}

// Invalidate implements [ghapp.Invalidator].
func (r *readsOf) Invalidate(ctx context.Context, refused *ghapp.Token) error {
	return r.tokens.drop(ctx, r.name, refused)
}
