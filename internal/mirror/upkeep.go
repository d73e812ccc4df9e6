package mirror

import (
	"context"
	"path/filepath"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/config"
)

// upkeep ends what was kept for long enough, and has git put in order what has piled up. What
// fails of it is tried again at the next change, and is no failure of the mirror.
func (t *transfers) upkeep(ctx context.Context, c *Copy, result barerepo.Result, path string, adopted bool) {
	repository := &barerepo.Repository{Dir: filepath.Join(t.dir, path), Git: t.git, Log: t.Log}
	before := t.now.Add(-t.Entry.KeepHistory)
	expires := t.Entry.KeepHistory != config.Forever && c.Kept > 0 && c.KeptSince.Before(before)
	if !adopted && !expires && (!result.Changed || result.First) {
		return
	}
	err := t.tidy(ctx, repository, c, before, expires, adopted)
	if err != nil && ctx.Err() == nil {
		t.Log.Warn("a mirror could not be put in order", "mirror", path, "error", err)
	}
}

func (t *transfers) tidy(
	ctx context.Context, r *barerepo.Repository, c *Copy, before time.Time, expires, count bool,
) error {
	ended := 0
	if expires {
		var err error
		if ended, err = r.Expire(ctx, before); err != nil {
			return err
		}
	}
	if expires || count {
		kept, err := r.Kept(ctx)
		if err != nil {
			return err
		}
		c.Kept, c.KeptSince = len(kept), time.Time{}
		if len(kept) > 0 {
			c.KeptSince = kept[0].Time
		}
	}
	processes, err := r.Maintain(ctx, barerepo.Maintenance{Prune: ended > 0})
	if err == nil && ended > 0 {
		err = pruneLarge(ctx, r)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Processes += processes
	return err
}
