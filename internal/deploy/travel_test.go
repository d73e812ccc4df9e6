//go:build unix

package deploy

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// travels copies everything beside the directory and the directory itself to other
// inodes, by a command, and takes the old ones away.
func (w *world) travels(command string) {
	w.t.Helper()
	from, to := filepath.Dir(w.target.Dir), filepath.Join(w.t.TempDir(), "there")
	testkit.OK(w.t, os.Mkdir(to, 0o755))
	cmd := exec.CommandContext(w.t.Context(), "sh", "-ec", command)
	cmd.Env = append(os.Environ(), "FROM="+from, "TO="+to)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	testkit.OK(w.t, os.RemoveAll(filepath.Join(from, ".site.ghapp")))
	w.target.Dir = filepath.Join(to, "site")
}

func TestDirectoryIsKnownAfterItWasCopied(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	ways := map[string]string{
		"cp -a":   `cp -a "$FROM/." "$TO/"`,
		"tar":     `tar -C "$FROM" -cf - . | tar -C "$TO" -xf -`,
		"cp -r":   `cp -r "$FROM/." "$TO/"`, // with new times
		"rsync":   `rsync -a "$FROM/" "$TO/"`,
		"renamed": `mv "$FROM/site" "$FROM/.site.ghapp" "$TO/"`,
	}
	if _, err := exec.LookPath("rsync"); err != nil {
		delete(ways, "rsync")
	}
	for name, way := range ways {
		for _, mode := range []Mode{Link, Directory} {
			t.Run(name+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(g *Target) { g.Mode = mode })
				w.target.Dir = filepath.Join(t.TempDir(), "here", "site")
				w.publish(w.commit(map[string]string{"a": "1", "b": "1", "c": "1"}))
				newest := w.commit(map[string]string{"a": "2"})
				w.publish(newest)
				w.travels(way)
				if status, err := w.target.Status(); err != nil || status.Damage != nil || status.Published == nil ||
					status.Published.Commit != newest {
					t.Fatalf("%+v %v", status, err)
				}
				w.publish(newest)
				w.clean()
				if r := w.published(); mode == Directory && r.Inode != inode(w.target.Dir) {
					t.Errorf("the next pass looks at every file again: %+v", r)
				}
				w.rollback("")
				testkit.Equal(t, w.shows(), "a: 1; b: 1; c: 1")
				w.publish(w.commit(map[string]string{"a": "3"}))
				testkit.Equal(t, w.shows(), "a: 3; b: 1; c: 1")
				w.clean()
			})
		}
	}
}

// Numbers of inodes are given anew on another disk, and may be those of other releases.
func TestDirectoryIsNotKnownByTheInodeAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(g *Target) { g.Mode = Directory })
	w.publish(w.commit(map[string]string{"a": "1", "b": "1"}))
	old := w.published()
	w.publish(w.commit(map[string]string{"a": "2"}))
	newest := w.published()
	old.Inode, newest.Inode = newest.Inode, 1
	testkit.OK(t, errors.Join(w.target.save(old), w.target.save(newest)))
	if r := w.published(); r == nil || r.ID != newest.ID {
		t.Errorf("%+v is published, and taken for %+v", newest, r)
	}
}

// Who is killed while two directories are exchanged, and copied then, is still known.
func TestExchangeThatWasCutShortIsKnownAfterACopy(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, done := range []bool{true, false} {
		for _, copied := range []bool{true, false} {
			w := newWorld(t, func(g *Target) { g.Mode = Directory })
			w.target.Dir = filepath.Join(t.TempDir(), "here", "site")
			w.publish(w.commit(map[string]string{"a": "1", "b": "1", "c": "1"}))
			old := w.published()
			newest := w.commit(map[string]string{"a": "2"})
			w.publish(newest)
			r := w.published()
			// As it was before the names were put right, or before the exchange.
			r.Exchange = old.ID
			err := errors.Join(os.Rename(w.target.tree(old.ID), w.target.tree(r.ID)), w.target.save(r))
			if !done {
				err = errors.Join(err, exchange(w.target.tree(r.ID), w.target.Dir))
			}
			testkit.OK(t, err)
			if copied {
				w.travels(`cp -a "$FROM/." "$TO/"`)
			}
			want := map[bool]string{true: r.ID, false: old.ID}[done]
			if now := w.published(); now == nil || now.ID != want {
				t.Errorf("exchanged %t, copied %t: %+v is published", done, copied, now)
			}
			w.publish(newest)
			w.clean()
			testkit.Equal(t, w.shows(), "a: 2; b: 1; c: 1", "exchanged %t, copied %t", done, copied)
			w.rollback("")
			testkit.Equal(t, w.shows(), "a: 1; b: 1; c: 1", "exchanged %t, copied %t: after a rollback", done, copied)
		}
	}
}

// A directory that somebody has put in the place of ours is left alone, also where
// it is a clone with the same files.
func TestDirectoryOfSomebodyElseIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]string{
		"other files": `mkdir "$DIR" && echo x > "$DIR/x"`,
		"a clone":     `cp -r "$DIR.moved" "$DIR" && mkdir "$DIR/.git"`,
	} {
		w := newWorld(t, func(g *Target) { g.Mode = Directory })
		w.publish(w.commit(map[string]string{"a": "1", "b": "1"}))
		testkit.OK(t, os.Rename(w.target.Dir, w.target.Dir+".moved"))
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", put)
		cmd.Env = append(os.Environ(), "DIR="+w.target.Dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if _, err := w.target.Publish(t.Context(),
			w.want(w.commit(map[string]string{"a": "2"}))); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
