package mirror

import (
	"context"
	"errors"
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

// forgo has a mirror go on with what is there of its history, where a full run meets that some is lost, and
// reports whether it did. Before that, whoever has a copy could bring it back.
func (t *transfers) forgo(ctx context.Context, c *Copy, path, identity string) bool {
	if !t.Full {
		return false
	}
	r := &barerepo.Repository{Dir: filepath.Join(t.dir, path), Git: t.git, Log: t.Log}
	lost, err := r.Forgo(ctx, c.remembered(), t.now)
	if err == nil {
		c.Lost = nil
		err = endMark(t.dir, identity, historyMark, seenMark(t.dir, identity, historyMark))
	}
	if lost == nil {
		return false
	}
	t.Log.Warn("some of the history of a mirror is lost; it goes on with what is there", "mirror", path,
		"lost", errors.Join(lost, err))
	return true
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
		now, err := r.Remember(ctx)
		if err != nil {
			return err
		}
		if lacks := c.Kept - ended - now.Kept; lacks > 0 && !count {
			t.Log.Warn("refs that were kept have been taken away by somebody else", "mirror", r.Dir, "refs", lacks)
		}
		c.remember(now)
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
