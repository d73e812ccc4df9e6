//go:build unix

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

func TestWarningOfAFileThatOthersCanChange(t *testing.T) {
	another := os.Geteuid() + 1
	for _, test := range []struct {
		mode  fs.FileMode
		owner int // besides the one who runs the tests, only where that is root
		why   string
	}{
		{0o600, os.Geteuid(), ""},
		{0o644, os.Geteuid(), ""},
		{0o664, os.Geteuid(), "its mode is 0664"},
		{0o602, os.Geteuid(), "its mode is 0602"},
		{0o600, another, fmt.Sprintf("it belongs to user %d", another)},
	} {
		if test.owner != os.Geteuid() && os.Geteuid() != 0 {
			continue
		}
		path := filepath.Join(t.TempDir(), "c.yaml")
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, test.mode),
			os.Chown(path, test.owner, -1)); err != nil {
			t.Fatal(err)
		}
		c := testkit.Must(Load(Options{Flags: map[string]string{"config": path}}))(t)
		var want []Problem
		if test.why != "" {
			want = []Problem{{
				File: path, Text: "other users can change the config file, which says where keys are: " + test.why,
				Hint: "make it your own with chown, and keep others out with chmod go-w",
			}}
		}
		if diff := cmp.Diff(want, c.Warnings()); diff != "" {
			t.Errorf("mode %04o of user %d (-want +got):\n%s", test.mode, test.owner, diff)
		}
	}
}

// TestFilesOfRootAreTrusted has no warning for a file of the system, whoever runs
// the tests, and none for what is no file.
func TestFilesOfRootAreTrusted(t *testing.T) {
	for _, path := range []string{"/etc/passwd", os.DevNull} {
		info := testkit.Must(os.Stat(path))(t)
		testkit.Equal(t, writableByOthers(info), "", "%s", path)
	}
}
