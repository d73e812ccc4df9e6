//go:build unix

package regular

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Who opens what somebody else has put in the place of a file neither waits nor is led elsewhere.
func TestOnlyARegularFileIsOpened(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	testkit.OK(t, os.WriteFile(at("file"), []byte("text"), 0o600))
	testkit.OK(t, os.Symlink("file", at("link")))
	testkit.OK(t, syscall.Mkfifo(at("pipe"), 0o600))
	for _, name := range []string{"link", "pipe", "."} {
		testkit.ErrorContains(t, testkit.ErrorOf(Open(at(name))), "no regular file")
	}
	testkit.ErrorIs(t, testkit.ErrorOf(Open(at("none"))), os.ErrNotExist)
	testkit.Equal(t, string(testkit.Must(Read(at("file"), 4))(t)), "text")
	testkit.ErrorContains(t, testkit.ErrorOf(Read(at("file"), 3)), "more than 3 bytes")
}
