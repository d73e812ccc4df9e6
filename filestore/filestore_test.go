package filestore_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/filestore"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/storetest"
)

func TestStoreKeepsItsPromises(t *testing.T) {
	storetest.Run(t, func(t testing.TB) ghapp.Store {
		store := testkit.Must(filestore.Open(filepath.Join(t.TempDir(), "tokens")))(t)
		return store
	})
}

func TestDirectoryOfOthersIsRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing on Windows")
	}
	dir := t.TempDir()
	testkit.OK(t, os.Chmod(dir, 0o755))
	testkit.ErrorContains(t, testkit.ErrorOf(filestore.Open(dir)), dir)
}
