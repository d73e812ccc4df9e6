//go:build unix

package mirror

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Nobody waits for the other end of a pipe that somebody has put into a directory of mirrors, or of bundles.
func TestAPipeInADirectoryOfMirrorsStopsNobody(t *testing.T) {
	dir := t.TempDir()
	pipe := func(path string) string {
		testkit.OK(t, os.MkdirAll(filepath.Dir(path), 0o700))
		testkit.OK(t, syscall.Mkfifo(path, 0o600))
		return path
	}
	pipe(mark(dir, "7"))
	testkit.Equal(t, seenMark(dir, "7", ""), "")
	pipe(filepath.Join(dir, neededName))
	testkit.Equal(t, readNeeded(dir) == nil, true)
	pipe(filepath.Join(dir, manifestName))
	testkit.Fails(t, testkit.ErrorOf(readManifest(dir)))
	bundle := pipe(filepath.Join(dir, goodPart))
	testkit.Fails(t, testkit.ErrorOf(readHead(bundle)))
	testkit.Fails(t, testkit.ErrorOf(partOf(bundle)))
	testkit.Fails(t, unpackLarge(bundle, lfsstore.Of(dir)))
	store := lfsstore.Of(dir)
	id := strings.Repeat("ab", 32)
	pipe(store.Path(id))
	testkit.Fails(t, store.Check(id))
	pipe(lockPath(dir))
	testkit.ErrorContains(t, busy(dir), "process")
}
