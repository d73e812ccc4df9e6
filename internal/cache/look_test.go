package cache

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestALookIsBoundedAndChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	seen := func(ctx context.Context, most int) (list []string, err error) {
		err = Look(ctx, dir, most, func(entry []byte) { list = append(list, string(entry)) })
		slices.Sort(list)
		return list, err
	}
	if list, err := seen(t.Context(), 10); list != nil || err != nil {
		t.Errorf("of a directory that is not there: %q, %v", list, err)
	}
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("it was made: %v", err)
	}
	f := testkit.Must(Open(dir))(t)
	if list, err := seen(t.Context(), 10); list != nil || err != nil {
		t.Errorf("of an empty directory: %q, %v", list, err)
	}
	for i := range 20 {
		testkit.OK(t, f.Put(t.Context(), keyOf(fmt.Sprint(i)), fmt.Append(nil, i)))
	}
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "other"), []byte("no entry"), 0o600))
	if list, err := seen(t.Context(), 100); len(list) != 20 || err != nil || slices.Contains(list, "no entry") {
		t.Errorf("%q, %v", list, err)
	}
	if list, err := seen(t.Context(), 5); len(list) > 5 || len(list) < 4 || err != nil {
		t.Errorf("five were to be looked at: %q, %v", list, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if list, err := seen(ended, 100); list != nil || err != nil {
		t.Errorf("after the end: %q, %v", list, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	testkit.OK(t, os.Chmod(dir, fs.FileMode(0o777)))
	if list, err := seen(t.Context(), 100); list != nil || err == nil {
		t.Errorf("of a directory of everybody: %q, %v", list, err)
	}
}
