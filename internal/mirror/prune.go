package mirror

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

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
		if r.Gone != nil && r.Gone.Reason == NotFound && p.now.Sub(r.Gone.Since) >= p.Entry.PruneAfter &&
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

// remove takes a mirror away: by one rename from where people look, and then from the disk.
func (p *pass) remove(r *Record) error {
	for _, path := range []string{r.Path, wikiOf(r.Path)} {
		to := filepath.Join(p.dir, own, "pruned", identity(r.ID)+"-"+filepath.Base(path))
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		err := rename(filepath.Join(p.dir, path), to)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	_ = os.Remove(filepath.Join(p.dir, filepath.Dir(r.Path)))
	return nil
}
