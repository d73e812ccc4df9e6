package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A key's public half is found out while a token is being minted, under a lock.
func TestPutWaitsForNoUpdate(t *testing.T) {
	f := open(t, newDir(t))
	one, other := twoInOneShard()
	testkit.OK(t, f.Update(t.Context(), one, func(ctx context.Context, _ []byte) ([]byte, error) {
		return []byte("updated"), f.Put(ctx, other, []byte("put"))
	}))
	testkit.Equal(t, string(get(t, f, one)), "updated")
	testkit.Equal(t, string(get(t, f, other)), "put")
	info, err := os.Stat(filepath.Join(f.Dir(), other))
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestPutRefusesWhatUpdateRefuses(t *testing.T) {
	f := open(t, newDir(t))
	for _, key := range []string{"../escape", "name", ""} {
		testkit.Fails(t, f.Put(t.Context(), key, []byte("x")), "%q is taken for a key", key)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	testkit.ErrorIs(t, f.Put(ctx, keyOf("a"), nil), context.Canceled)
	if e, ok := errors.AsType[*StoreError](f.Put(t.Context(), keyOf("a"), make([]byte, MaxEntry+1))); !ok || !e.Ran {
		t.Error("an entry that is too large is stored")
	}
	if runtime.GOOS == "windows" {
		return
	}
	testkit.OK(t, os.Chmod(f.Dir(), 0o777))
	testkit.ErrorAs[*DirError](t, f.Put(t.Context(), keyOf("a"), []byte("x")))
}
