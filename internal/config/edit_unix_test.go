//go:build unix

package config

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Where root changes the file of another, it stays theirs.
func TestEditKeepsTheOwnerOfAFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can write what is another's")
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	put(t, path, "apps:\n  a:\n    app: 1\n", 0o600)
	testkit.OK(t, os.Chown(path, 4711, 4712))
	testkit.OK(t, Edit(path, Options{}, set("a", "default")))
	info := testkit.Must(os.Stat(path))(t)
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 4711 || stat.Gid != 4712 {
		t.Errorf("it belongs to %d:%d", stat.Uid, stat.Gid)
	}
	wantFile(t, path, "apps:\n  a:\n    app: 1\ndefault: a\n", 0o600)
}
