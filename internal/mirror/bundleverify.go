package mirror

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/regular"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// bundlesName is what the directory of a repository's bundles is called: its ID.
var bundlesName = regexp.MustCompile(`^[1-9][0-9]*(-wiki)?$`)

// DoBundles looks at a directory of bundles, Dir, instead of one of mirrors: each repository is made of its
// files in a temporary directory, as a restore would make it, which proves all of them. GitHub is not asked.
// The error is that nothing could be looked at, or that of ctx.
func (v *Verify) DoBundles(ctx context.Context) ([]*Verified, error) {
	list, err := chooseBundles(v.Dir, v.Names)
	if err != nil {
		return nil, err
	}
	var doing errgroup.Group
	doing.SetLimit(cmp.Or(v.Jobs, 4))
	for _, one := range list {
		doing.Go(func() error {
			if ctx.Err() == nil && one.manifest != nil {
				one.Damage = v.unpack(ctx, one)
			}
			return context.Cause(ctx)
		})
	}
	if err := doing.Wait(); err != nil {
		return nil, err
	}
	for _, one := range list {
		if err := markBundles(one.Dir, one.Damage); err != nil {
			v.Log.Warn("that bundles are damaged cannot be written down", "directory", one.Dir, "error", err)
		}
	}
	return list, nil
}

// markBundles has the next bundle build on nothing that is there, where the damage is that of the files, and not
// that they could not be looked at.
func markBundles(dir string, damage error) error {
	_, unusable := errors.AsType[*fault.ExitError](damage)
	if !unusable && !errors.Is(damage, barerepo.ErrBundle) && !errors.Is(damage, barerepo.ErrDamaged) {
		return nil
	}
	file, err := atomicfile.Begin(filepath.Join(dir, damagedName), atomicfile.Options{Perm: 0o666})
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.WriteString(text.Shorten(text.OneLine(damage.Error()), 1000) + "\n"); err != nil {
		return err
	}
	return file.Commit()
}

// bundlesOf reads all manifests in a directory of bundles.
func bundlesOf(dir string) (list []*Verified, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.IsDir() || !bundlesName.MatchString(e.Name()) {
			continue
		}
		one := &Verified{Name: e.Name(), Dir: filepath.Join(dir, e.Name()), record: &Record{}}
		one.Wiki = strings.HasSuffix(e.Name(), "-wiki")
		m, err := readManifest(one.Dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			one.Damage = unusable(one.Dir, "there is no %s, and without it nothing counts", manifestName)
		case err != nil:
			one.Damage = err
		case bundleDir(dir, &Found{ID: m.ID, Wiki: m.Wiki}) != one.Dir:
			one.Damage = unusable(one.Dir, "the manifest is of the repository %s", identityOf(m.ID, m.Wiki))
		default:
			one.ID, one.Name, one.manifest = m.ID, m.Name, m
			for _, i := range m.Increments {
				one.copied().Large.Files += len(i.Objects)
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// chooseBundles are those of some repositories, or all where none is named.
func chooseBundles(dir string, words []string) ([]*Verified, error) {
	list, err := bundlesOf(dir)
	if err != nil || len(words) == 0 {
		return list, err
	}
	state := &State{Repositories: map[int64]*Record{}}
	var broken error
	for _, one := range list {
		if m := one.manifest; m != nil {
			state.Repositories[m.ID] = &Record{ID: m.ID, Name: m.Name, Former: m.Former, Path: one.Dir}
		} else {
			broken = one.Damage
		}
	}
	var chosen []*Verified
	for _, word := range words {
		f, err := chosenBundle(state, dir, word)
		if err != nil {
			return nil, cmp.Or(broken, err)
		}
		at := slices.IndexFunc(list, func(one *Verified) bool {
			return one.Dir == bundleDir(dir, f) && one.manifest != nil
		})
		if at < 0 {
			return nil, cmp.Or(broken, noMirror(dir, word))
		}
		chosen = append(chosen, list[at])
	}
	return chosen, nil
}

// unpack makes the repository of its bundles, and looks whether all is there.
func (v *Verify) unpack(ctx context.Context, one *Verified) error {
	temp, err := os.MkdirTemp("", "ghapp-bundles-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	r := &barerepo.Repository{
		Dir: filepath.Join(temp, "mirror.git"), Log: v.Log,
		Git: gitcmd.Runner{Environ: v.Opener.Environ, Own: v.Opener.Own()},
	}
	if err := one.manifest.unpack(ctx, one.Dir, r.Dir, r.Git, v.Log); err != nil {
		return err
	}
	if one.shot, err = r.Snapshot(ctx); err != nil {
		return err
	}
	one.Refs = len(one.shot.Refs)
	return v.lookAtLarge(ctx, r, one)
}

// agree returns an error where a manifest says other refs than its bundles do, or that they build on other
// objects. A ref that has moved since its last bundle, to what was there by then, is in none.
func (m *Manifest) agree(dir string) error {
	if err := m.Repository.Check(); err != nil {
		return unusable(dir, "%w", err)
	}
	listed := map[string]int{} // by the names of refs: which increment has it last
	heads := make([]*barerepo.BundleHead, len(m.Increments))
	ids := map[string]bool{}
	for n, i := range m.Increments {
		if i.Bundle == nil {
			continue
		}
		head, err := readHead(filepath.Join(dir, i.Bundle.File))
		if err != nil {
			return unusable(dir, "%s: %w", i.Bundle.File, err)
		}
		if !slices.Equal(slices.Sorted(slices.Values(head.Prerequisites)), slices.Sorted(slices.Values(i.Prerequisites))) {
			return unusable(dir, "%s builds on other objects than the manifest says", i.Bundle.File)
		}
		heads[n] = head
		for name, id := range head.Refs {
			listed[name], ids[id] = n, true
		}
	}
	for _, e := range m.Repository.Journal {
		ids[e.New] = true
	}
	for _, name := range slices.Sorted(maps.Keys(m.Repository.Refs)) {
		id := m.Repository.Refs[name]
		n, in := listed[name]
		since := m.Increments[n].Time // of the first where there is no other
		if in && heads[n].Refs[name] == id || m.Time.After(since) && ids[id] {
			continue
		}
		if in {
			return unusable(dir, "the manifest says that %s is at %s, and %s that it is at %q", name, id,
				m.Increments[n].Bundle.File, heads[n].Refs[name])
		}
		return unusable(dir, "the manifest says that %s is at %s, and no bundle has it", name, id)
	}
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		n := listed[name]
		if _, there := m.Repository.Refs[name]; !there && !m.Time.After(m.Increments[n].Time) {
			return unusable(dir, "%s has %q, and the manifest does not", m.Increments[n].Bundle.File, name)
		}
	}
	return nil
}

func readHead(file string) (*barerepo.BundleHead, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return barerepo.ReadBundleHead(f)
}
