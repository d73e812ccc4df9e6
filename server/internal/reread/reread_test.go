package reread_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/reread"
)

// pair is two files that have to fit, as a certificate and its key.
func pair(contents [][]byte) (string, error) {
	if string(contents[0]) != string(contents[1]) {
		return "", errors.New("they do not fit")
	}
	return string(contents[0]), nil
}

func replace(t *testing.T, path, content string) {
	testkit.OK(t, os.WriteFile(path+".new", []byte(content), 0o600))
	testkit.OK(t, os.Rename(path+".new", path))
}

func TestFilesAreReadAnewWhenAllOfThemFit(t *testing.T) {
	dir := t.TempDir()
	certificate, key := filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	synctest.Test(t, func(t *testing.T) {
		replace(t, certificate, "one")
		replace(t, key, "one")
		files := testkit.Must(reread.Open(pair, certificate, key))(t)
		testkit.Equal(t, files.Get(), "one")

		replace(t, certificate, "two")
		time.Sleep(time.Minute)
		testkit.Equal(t, files.Get(), "one", "half of it is replaced")
		testkit.Fails(t, files.Err(), "half of it is replaced")

		replace(t, key, "two")
		time.Sleep(time.Minute)
		testkit.Equal(t, files.Get(), "two")
		testkit.OK(t, files.Err())

		testkit.OK(t, os.Remove(key))
		time.Sleep(time.Minute)
		testkit.Equal(t, files.Get(), "two", "one is gone")
		testkit.ErrorIs(t, files.Err(), os.ErrNotExist)
	})
}

func TestFilesThatMakeNoSenseAreRefusedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	path, large := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	replace(t, path, "a")
	replace(t, large, "b")
	testkit.Fails(t, testkit.ErrorOf(reread.Open(pair, path, large)), "they do not fit")
	testkit.OK(t, os.Truncate(large, 5<<20))
	testkit.ErrorContains(t, testkit.ErrorOf(reread.Open(pair, large, large)), "over")
	testkit.ErrorIs(t, testkit.ErrorOf(reread.Open(pair, filepath.Join(dir, "c"))), os.ErrNotExist)
}
