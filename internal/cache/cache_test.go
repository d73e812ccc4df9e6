package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func keyOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// twoInOneShard returns two keys whose updates use the same lock.
func twoInOneShard() (string, string) {
	return strings.Repeat("a", 64), strings.Repeat("a", 63) + "b"
}

// newDir returns the path of a directory that is not there yet.
func newDir(t *testing.T) string { return filepath.Join(t.TempDir(), "cache") }

func open(t *testing.T, dir string) *Files {
	t.Helper()
	f := testkit.Must(Open(dir))(t)
	return f
}

func put(t *testing.T, f *Files, key, text string) {
	t.Helper()
	err := f.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return []byte(text), nil })
	testkit.OK(t, err)
}

func get(t *testing.T, f *Files, key string) []byte {
	t.Helper()
	entry := testkit.Must(f.Get(t.Context(), key))(t)
	return entry
}

func TestRoundTrip(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "not", "there", "yet"))
	key, other := twoInOneShard()
	var olds []string
	update := func(entry []byte) {
		t.Helper()
		testkit.OK(t, f.Update(t.Context(), key, func(_ context.Context, old []byte) ([]byte, error) {
			olds = append(olds, fmt.Sprintf("%q %v", old, old == nil))
			return entry, nil
		}))
		if got := get(t, f, key); !bytes.Equal(got, entry) || (got == nil) != (entry == nil) {
			t.Errorf("after storing %d bytes (nil: %v) Get returned %d (nil: %v)", len(entry),
				entry == nil, len(got), got == nil)
		}
	}
	update([]byte("one"))
	update([]byte("two"))
	update([]byte{})
	update(nil)
	update(nil)
	update(bytes.Repeat([]byte("x"), MaxEntry))
	want := []string{`"" true`, `"one" false`, `"two" false`, `"" false`, `"" true`, `"" true`}
	testkit.Diff(t, olds, want)
	if entry := get(t, f, other); entry != nil {
		t.Errorf("an entry of another key holds %d bytes", len(entry))
	}
}

func TestChangeInPlaceIsStored(t *testing.T) {
	f := open(t, newDir(t))
	put(t, f, keyOf("k"), "one")
	testkit.OK(t, f.Update(t.Context(), keyOf("k"), func(_ context.Context, old []byte) ([]byte, error) {
		copy(old, "two")
		return old, nil
	}))
	testkit.Equal(t, string(get(t, f, keyOf("k"))), "two", "the entry")
}

func TestUnchangedEntryIsNotWritten(t *testing.T) {
	f := open(t, newDir(t))
	put(t, f, keyOf("k"), "same")
	before := testkit.Must(os.Stat(filepath.Join(f.Dir(), keyOf("k"))))(t)
	put(t, f, keyOf("k"), "same")
	after := testkit.Must(os.Stat(filepath.Join(f.Dir(), keyOf("k"))))(t)
	if !os.SameFile(before, after) {
		t.Error("the same bytes were written again")
	}
}

func TestErrorOfFnChangesNothing(t *testing.T) {
	f := open(t, newDir(t))
	put(t, f, keyOf("k"), "kept")
	mine := errors.New("mine")
	err := f.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) { return []byte("lost"), mine })
	testkit.Equal(t, err, mine, "Update")
	testkit.Equal(t, string(get(t, f, keyOf("k"))), "kept", "the entry")
}

func TestPanicOfFnReleasesTheLock(t *testing.T) {
	f := open(t, newDir(t))
	func() {
		defer func() { recover() }()
		_ = f.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) { panic("in fn") })
	}()
	put(t, f, keyOf("k"), "after")
}

func TestKeyIsNeverAPath(t *testing.T) {
	parent := t.TempDir()
	f := open(t, filepath.Join(parent, "cache"))
	hex64 := keyOf("k")
	for _, key := range []string{
		"", "a", "../" + hex64[3:], "../../" + hex64[6:], "/" + hex64[1:], hex64[:63], hex64 + "0", hex64 + "/",
		strings.ToUpper(hex64), hex64[:63] + "g", hex64[:63] + "\x00", hex64[:62] + "é", "lock-00", pruneMark,
	} {
		testkit.Fails(t, testkit.ErrorOf(f.Get(t.Context(), key)), "Get accepts the key %q", key)
		err := f.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) {
			t.Errorf("Update accepts the key %q", key)
			return []byte("x"), nil
		})
		testkit.Fails(t, err, "Update gives no error for the key %q", key)
	}
	names := testkit.Must(os.ReadDir(parent))(t)
	testkit.Equal(t, len(names), 1, "files outside of the directory: %v", names)
}

func TestEntryTooLarge(t *testing.T) {
	f := open(t, newDir(t))
	put(t, f, keyOf("k"), "small")
	err := f.Update(t.Context(), keyOf("k"),
		func(context.Context, []byte) ([]byte, error) { return make([]byte, MaxEntry+1), nil })
	stored, ok := errors.AsType[*StoreError](err)
	if !ok || !stored.Ran {
		t.Fatalf("Update returned %v, want a StoreError with Ran", err)
	}
	want := "cannot write to the cache in " + f.Dir() + ": the entry has 1048577 bytes, the most is 1048576"
	testkit.Equal(t, err.Error(), want, "got  %s", err)
	if got := string(get(t, f, keyOf("k"))); got != "small" {
		t.Errorf("the entry is %d bytes now", len(got))
	}
	// One that somebody else made so large is not read either.
	testkit.OK(t, os.WriteFile(filepath.Join(f.Dir(), keyOf("large")), make([]byte, MaxEntry+1), 0o600))
	if entry := get(t, f, keyOf("large")); entry != nil {
		t.Errorf("an entry of %d bytes was read", len(entry))
	}
}

func TestEndedContext(t *testing.T) {
	f := open(t, newDir(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	testkit.ErrorIs(t, testkit.ErrorOf(f.Get(ctx, keyOf("k"))), context.Canceled, "Get")
	err := f.Update(ctx, keyOf("k"), func(context.Context, []byte) ([]byte, error) {
		t.Error("fn was called")
		return nil, nil
	})
	if _, store := errors.AsType[*StoreError](err); store || !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v", err)
	}
}

func TestRemovedDirectoryIsMadeAgain(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "cache"))
	put(t, f, keyOf("k"), "one")
	testkit.OK(t, os.RemoveAll(f.Dir()))
	if entry := get(t, f, keyOf("k")); entry != nil {
		t.Errorf("Get returned %q", entry)
	}
	put(t, f, keyOf("k"), "two")
	testkit.Equal(t, string(get(t, f, keyOf("k"))), "two", "the entry")
}

func TestRelativeDirectoryStaysWhereItWas(t *testing.T) {
	start := t.TempDir()
	t.Chdir(start)
	f := open(t, "cache")
	t.Chdir(t.TempDir())
	put(t, f, keyOf("k"), "one")
	testkit.Must(os.Stat(filepath.Join(start, "cache", keyOf("k"))))(t)
}

func TestUpdatesOfOneEntryExcludeEachOther(t *testing.T) {
	dir := newDir(t)
	// Two stores stand for two processes: their locks are two open files.
	stores := []*Files{open(t, dir), open(t, dir)}
	const each = 50
	var wg sync.WaitGroup
	for _, f := range stores {
		for range each {
			wg.Go(func() {
				err := f.Update(t.Context(), keyOf("counter"), func(_ context.Context, old []byte) ([]byte, error) {
					runtime.Gosched()
					return append(old, '.'), nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		for range each {
			wg.Go(func() {
				entry, err := f.Get(t.Context(), keyOf("counter"))
				if err != nil || strings.Trim(string(entry), ".") != "" {
					t.Errorf("Get returned %q, %v", entry, err)
				}
			})
		}
	}
	wg.Wait()
	testkit.Equal(t, len(get(t, stores[0], keyOf("counter"))), each*len(stores), "updates are left of")
}

func TestUpdatesOfOneShardDoNotMixEntries(t *testing.T) {
	f := open(t, newDir(t))
	one, two := twoInOneShard()
	var wg sync.WaitGroup
	for _, key := range []string{one, two} {
		wg.Go(func() { put(t, f, key, key) })
	}
	wg.Wait()
	for _, key := range []string{one, two} {
		testkit.Equal(t, string(get(t, f, key)), key, "the entry")
	}
}

func TestUpdatesOfOtherShardsDoNotWait(t *testing.T) {
	f := open(t, newDir(t))
	err := f.Update(t.Context(), strings.Repeat("a", 64), func(context.Context, []byte) ([]byte, error) {
		// In another goroutine's name: not nested, only at the same time.
		put(t, f, strings.Repeat("b", 64), "done")
		return []byte("done"), nil
	})
	testkit.OK(t, err)
}

func TestUpdateInsideUpdateIsRefused(t *testing.T) {
	f, other := open(t, newDir(t)), open(t, newDir(t))
	fail := func(context.Context, []byte) ([]byte, error) {
		t.Error("the inner update ran")
		return nil, nil
	}
	pass := func(context.Context, []byte) ([]byte, error) { return []byte("inner"), nil }
	err := f.Update(t.Context(), keyOf("outer"), func(ctx context.Context, _ []byte) ([]byte, error) {
		for _, key := range []string{"outer", "another"} {
			if err := f.Update(ctx, keyOf(key), fail); err == nil || errors.Is(err, context.Canceled) {
				t.Errorf("the inner update of %s returned %v", key, err)
			}
		}
		// Work that outlives its caller's context is still inside.
		if err := f.Update(context.WithoutCancel(ctx), keyOf("outer"), fail); err == nil {
			t.Error("a detached inner update was not refused")
		}
		if err := other.Update(ctx, keyOf("outer"), pass); err != nil {
			t.Errorf("an update of another store was refused: %v", err)
		}
		return []byte("outer"), nil
	})
	testkit.OK(t, err)
}

// TestWaiterObeysItsContext has one waiter in the process that holds the entry,
// and one in another.
func TestWaiterObeysItsContext(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := open(t, dir), open(t, dir)
		release := make(chan struct{})
		var wg sync.WaitGroup
		held := make(chan struct{})
		wg.Go(func() {
			err := mine.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) {
				close(held)
				<-release
				return []byte("kept"), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		<-held
		for name, f := range map[string]*Files{"same process": mine, "another": theirs} {
			wg.Go(func() {
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				err := f.Update(ctx, keyOf("k"), func(context.Context, []byte) ([]byte, error) {
					t.Errorf("%s: fn was called while the entry was held", name)
					return nil, nil
				})
				if _, store := errors.AsType[*StoreError](err); store || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", name, err)
				}
				if waited := time.Since(start); waited < 3*time.Second || waited > 3*time.Second+2*poll {
					t.Errorf("%s: left after %s", name, waited)
				}
			})
		}
		time.Sleep(4 * time.Second)
		close(release)
		wg.Wait()
		testkit.Equal(t, string(get(t, theirs, keyOf("k"))), "kept", "the entry")
	})
}

func TestWaiterInAnotherProcessIsQuick(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := open(t, dir), open(t, dir)
		held, release := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = mine.Update(t.Context(), keyOf("k"), func(context.Context, []byte) ([]byte, error) {
				close(held)
				<-release
				return []byte("kept"), nil
			})
		})
		<-held
		var released, entered time.Time
		wg.Go(func() {
			_ = theirs.Update(t.Context(), keyOf("k"), func(_ context.Context, old []byte) ([]byte, error) {
				entered = time.Now()
				return old, nil
			})
		})
		time.Sleep(time.Second)
		released = time.Now()
		close(release)
		wg.Wait()
		if waited := entered.Sub(released); waited > 2*poll {
			t.Errorf("the waiter came %s after the entry was free", waited)
		}
	})
}

func TestPruning(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		f := open(t, dir)
		leftover := filepath.Join(dir, tempPrefix+"OFAKILLEDPROCESS")
		stray := filepath.Join(dir, "notes.txt")
		age := func(path string) {
			t.Helper()
			testkit.OK(t, os.WriteFile(path, []byte("x"), 0o600))
			testkit.OK(t, os.Chtimes(path, time.Now(), time.Now()))
		}
		exists := func(path string) bool {
			_, err := os.Lstat(path)
			return err == nil
		}
		put(t, f, keyOf("old"), "old") // the first round
		age(leftover)
		age(stray)

		time.Sleep(pruneEvery - time.Minute)
		put(t, f, keyOf("soon"), "soon")
		if !exists(leftover) {
			t.Error("a second round within the hour")
		}
		time.Sleep(2 * time.Minute)
		put(t, f, keyOf("later"), "later")
		if exists(leftover) {
			t.Error("an unfinished file of an hour ago is still there")
		}
		if get(t, f, keyOf("old")) == nil {
			t.Error("an entry of an hour ago was removed")
		}

		time.Sleep(entryLife - 30*time.Minute)
		age(leftover)
		put(t, f, keyOf("next day"), "next day")
		for key, want := range map[string]bool{"old": false, "soon": true, "later": true, "next day": true} {
			testkit.Equal(t, get(t, f, keyOf(key)) != nil, want, "after a day, entry %q is there", key)
		}
		if !exists(leftover) {
			t.Error("a file that is being written was removed")
		}
		if !exists(stray) {
			t.Error("a file that is not the cache's was removed")
		}

		// A read, or an update that changes nothing, is no reason to prune.
		time.Sleep(2 * entryLife)
		get(t, f, keyOf("next day"))
		put(t, f, keyOf("next day"), "next day")
		if get(t, f, keyOf("soon")) == nil {
			t.Error("pruned without a write")
		}

		// A mark and an entry from the future, of a clock that was wrong.
		future := time.Now().Add(1000 * time.Hour)
		for _, name := range []string{pruneMark, keyOf("next day")} {
			testkit.OK(t, os.Chtimes(filepath.Join(dir, name), future, future))
		}
		put(t, f, keyOf("now"), "now")
		if get(t, f, keyOf("next day")) != nil || get(t, f, keyOf("soon")) != nil {
			t.Error("a wrong clock stops the pruning")
		}
	})
}

func TestPruningLeavesAnEntryInUse(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		f, theirs := open(t, dir), open(t, dir)
		put(t, f, keyOf("old"), "old")
		time.Sleep(2 * entryLife)
		testkit.OK(t, theirs.Update(t.Context(), keyOf("old"), func(_ context.Context, old []byte) ([]byte, error) {
			put(t, f, keyOf("new"), "new")
			if _, err := os.Lstat(filepath.Join(dir, keyOf("old"))); errors.Is(err, fs.ErrNotExist) {
				t.Error("an entry was removed while it was being updated")
			}
			return old, nil
		}))
	})
}

// TestPruningLooksAgain has an entry replaced after a round found it old and before
// that round has its lock.
func TestPruningLooksAgain(t *testing.T) {
	f := open(t, newDir(t))
	put(t, f, keyOf("k"), "fresh")
	root := testkit.Must(f.open())(t)
	defer root.Close()
	f.pruneEntry(root, keyOf("k"))
	if get(t, f, keyOf("k")) == nil {
		t.Error("a fresh entry was removed")
	}
}

func TestPruningIsBounded(t *testing.T) {
	dir := newDir(t)
	synctest.Test(t, func(t *testing.T) {
		f := open(t, dir)
		const most, more = 50, 20
		// The disk's clock is years ahead of the bubble's, so all of these are old.
		for i := range most + more {
			testkit.OK(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s%d", tempPrefix, i)), nil, 0o600))
		}
		for _, want := range []int{more, 0} {
			root := testkit.Must(f.open())(t)
			f.prune(root, most)
			root.Close()
			names := testkit.Must(filepath.Glob(filepath.Join(dir, tempPrefix+"*")))(t)
			// The mark is a name like the others.
			if len(names) != want && len(names) != want+1 {
				t.Errorf("%d old files are left after a round, want %d", len(names), want)
			}
			time.Sleep(pruneEvery + time.Second)
		}
	})
}
