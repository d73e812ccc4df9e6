//go:build unix

package kms

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A key's file that others could put another in the place of is not written.
func TestKeyFileIsNotWrittenWhereOthersMayReplaceIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "open")
	testkit.OK(t, os.Mkdir(dir, 0o700))
	testkit.OK(t, os.Chmod(dir, 0o777))
	path := filepath.Join(dir, "key.tss2")
	testkit.ErrorContains(t, writeNew(path, []byte("x")), "lets other users put anything there")
	testkit.Fails(t, testkit.ErrorOf(os.Lstat(path)), "it was written")
	testkit.OK(t, os.Chmod(dir, 0o777|os.ModeSticky))
	testkit.OK(t, writeNew(path, []byte("x")))
}
