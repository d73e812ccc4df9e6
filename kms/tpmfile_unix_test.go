//go:build unix

package kms

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A key's file that others could put another in the place of is not written.
func TestKeyFileIsNotWrittenWhereOthersMayReplaceIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "key.tss2")
	if err := writeNew(path, []byte("x")); err == nil || !strings.Contains(err.Error(), "lets other users put anything there") {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("it was written")
	}
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, []byte("x")); err != nil {
		t.Error(err)
	}
}
