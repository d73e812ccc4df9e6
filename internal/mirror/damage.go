package mirror

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
)

// A mirror that was found damaged has a file in DIR/.ghapp/damaged/, named by the identity of the
// mirror, with what was found: so that whoever finds it need not be who mends it.

func damagedDir(dir string) string { return filepath.Join(dir, own, "damaged") }

// mark is the file of a mirror.
func mark(dir, identity string) string {
	return filepath.Join(damagedDir(dir), strings.ReplaceAll(identity, "/", "-"))
}

// markDamaged has the next pass mend a mirror.
func markDamaged(dir, identity string, cause error) error {
	if err := os.MkdirAll(damagedDir(dir), 0o777); err != nil {
		return err
	}
	return os.WriteFile(mark(dir, identity), []byte(cause.Error()+"\n"), 0o666)
}

// damaged are the mirrors that are to be mended, by the IDs of their repositories, and of their wikis.
func damaged(dir string) (code, wikis map[int64]bool) {
	code, wikis = map[int64]bool{}, map[int64]bool{}
	list, err := os.ReadDir(damagedDir(dir))
	if err != nil {
		return code, wikis
	}
	for _, e := range list {
		name, wiki := strings.CutSuffix(e.Name(), "-wiki")
		if id, err := strconv.ParseInt(name, 10, 64); err == nil && e.Type().IsRegular() {
			if wiki {
				wikis[id] = true
			} else {
				code[id] = true
			}
		}
	}
	return code, wikis
}

// bring brings a mirror up to date, or mends it where it was found damaged.
func (t *transfers) bring(ctx context.Context, r *barerepo.Repository, from barerepo.Remote, o barerepo.Options) (
	barerepo.Result, error) {
	_, err := os.Lstat(mark(t.dir, o.Identity))
	if _, gone := os.Lstat(r.Dir); err != nil || gone != nil {
		result, err := r.Update(ctx, from, o)
		if errors.Is(err, barerepo.ErrDamaged) {
			err = errors.Join(err, markDamaged(t.dir, o.Identity, err))
		} else if err == nil {
			_ = os.Remove(mark(t.dir, o.Identity))
		}
		return result, err
	}
	name := strings.ReplaceAll(o.Identity, "/", "-")
	// Where a mirror that waits for its place is looked for, if this process is killed.
	aside := filepath.Join(t.dir, own, "moving", name+".damaged.git")
	if err := os.RemoveAll(aside); err != nil {
		return barerepo.Result{}, err
	}
	mended, err := r.Mend(ctx, from, aside, o)
	if err != nil {
		return mended.Result, err
	}
	if len(mended.Lost) > 0 {
		stays := filepath.Join(damagedDir(t.dir), name+"-"+time.Now().UTC().Format("20060102T150405Z")+".git")
		if err := os.Rename(mended.Aside, stays); err != nil {
			return mended.Result, err
		}
		mended.Aside = ""
		t.Log.Warn("a damaged mirror was made anew; some of what it kept could not be read, and it was put aside",
			"mirror", r.Dir, "lost", strings.Join(mended.Lost, " "), "aside", stays)
	} else {
		t.Log.Info("a damaged mirror was made anew, with all that it kept", "mirror", r.Dir)
	}
	return mended.Result, os.Remove(mark(t.dir, o.Identity))
}
