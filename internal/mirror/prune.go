package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/inventory"
)

// prune takes mirrors away whose repository GitHub has said to be gone for the time that the
// options want, unless that were more than a tenth of all: then something else has happened.
func (p *pass) prune(ctx context.Context, installations map[int64]*site) {
	var list []*Record
	mirrors := 0
	for _, r := range p.state.Repositories {
		if r.Path == "" {
			continue
		}
		mirrors++
		s := installations[r.Installation]
		if r.Gone != nil && r.Gone.Reason == NotFound && p.now.Sub(r.goneSince()) >= p.Entry.PruneAfter &&
			s != nil && s.complete && s.listed > 0 {
			list = append(list, r)
		}
	}
	if most := max(1, mirrors/10); len(list) > most {
		p.report.Held = fmt.Sprintf("%d of %d mirrors would be pruned, and at most a tenth goes at once: "+
			"nothing was taken away", len(list), mirrors)
		p.Log.Warn(p.report.Held)
		return
	}
	for _, r := range list {
		absence, err := installations[r.Installation].asker.Gone(ctx, r.ID) // the last word, of now
		if err != nil || absence != inventory.NotFound {
			continue
		}
		if err := p.remove(r); err != nil {
			p.fail(Failed{Repository: r.Name, Err: fmt.Errorf("prune %s: %w", r.Name, err)})
			continue
		}
		p.report.Pruned = append(p.report.Pruned, *r)
		p.forget(r)
		p.Log.Warn("a mirror was pruned", "repository", r.Name, "gone_since", r.Gone.Since)
	}
}

// remove takes a mirror away, and that of its wiki.
func (p *pass) remove(r *Record) error {
	if err := p.takeAway(r.Path, identity(r.ID)); err != nil {
		return err
	}
	if err := p.takeAway(wikiOf(r.Path), wikiIdentity(r.ID)); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(p.dir, filepath.Dir(r.Path)))
	return nil
}

// takeAway takes a mirror away that says itself that it is the one: by one rename from where people look, and then
// from the disk.
func (p *pass) takeAway(path, is string) error {
	from := filepath.Join(p.dir, path)
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := checkLinks(p.dir, path); err != nil {
		return err
	}
	switch says, err := (&barerepo.Repository{Dir: from}).Identity(); {
	case err != nil:
		return err
	case says != is:
		return foreign(from, is, nil)
	}
	to := filepath.Join(p.dir, own, "pruned", fileOf(is)+"-"+filepath.Base(path))
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := rename(from, to); err != nil {
		return err
	}
	return os.RemoveAll(to)
}
