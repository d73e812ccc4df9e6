package filelock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

func TestOneHoldsTheLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Take(t.Context(), path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), path, 0); !errors.Is(err, ErrHeld) {
		t.Errorf("taken twice: %v, want %v", err, ErrHeld)
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := Take(ctx, path, time.Hour); !errors.Is(err, why) {
		t.Errorf("waited beyond the end of the context: %v, want %v", err, why)
	}
	freed := make(chan struct{})
	go func() {
		defer close(freed)
		unlock()
	}()
	again, err := Take(t.Context(), path, time.Hour)
	if err != nil {
		t.Fatalf("not to be had after it was given back: %v", err)
	}
	<-freed
	again()
}

func TestLinkIsNoLock(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps others out of the directory")
	}
	dir := t.TempDir()
	there, path := filepath.Join(dir, "there"), filepath.Join(dir, "lock")
	if err := os.Symlink(there, path); err != nil {
		t.Fatal(err)
	}
	if unlock, err := Take(t.Context(), path, 0); err == nil {
		unlock()
		t.Error("a link was followed")
	}
	if _, err := os.Lstat(there); err == nil {
		t.Error("a file was made where the link leads")
	}
}
