package filelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestOneHoldsTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock := testkit.Must(Take(t.Context(), path, 0))(t)
	testkit.ErrorIs(t, testkit.ErrorOf(Take(t.Context(), path, 0)), ErrHeld, "taken twice")
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	testkit.ErrorIs(t, testkit.ErrorOf(Take(ctx, path, time.Hour)), why, "waited beyond the end of the context")
	freed := make(chan struct{})
	go func() {
		defer close(freed)
		unlock()
	}()
	again := testkit.Must(Take(t.Context(), path, time.Hour))(t)
	<-freed
	again()
}

func TestLinkIsNoLock(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps others out of the directory")
	}
	dir := t.TempDir()
	there, path := filepath.Join(dir, "there"), filepath.Join(dir, "lock")
	testkit.OK(t, os.Symlink(there, path))
	if unlock, err := Take(t.Context(), path, 0); err == nil {
		unlock()
		t.Error("a link was followed")
	}
	testkit.Fails(t, testkit.ErrorOf(os.Lstat(there)), "a file was made where the link leads")
}
