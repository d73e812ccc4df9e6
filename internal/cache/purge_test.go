package cache

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestPurgeRemovesByContent(t *testing.T) {
	f := testkit.Must(Open(t.TempDir() + "/cache"))(t)
	put := func(key, text string) {
		testkit.OK(t, f.Put(t.Context(), key, []byte(text)))
	}
	one, two, other := keyOf("one"), keyOf("two"), keyOf("other")
	put(one, "the token")
	put(two, "the token, for something else")
	put(other, "another")
	calls := 0
	testkit.OK(t, f.Purge(t.Context(), func(entry []byte) bool {
		calls++
		return bytes.Contains(entry, []byte("the token"))
	}))
	for key, want := range map[string]string{one: "", two: "", other: "another"} {
		testkit.Equal(t, string(testkit.Must(f.Get(t.Context(), key))(t)), want, "is left")
	}
	// An entry that somebody has replaced since it was looked at stays.
	put(one, "the token")
	replaced := false
	testkit.OK(t, f.Purge(t.Context(), func(entry []byte) bool {
		if !replaced && bytes.Contains(entry, []byte("the token")) {
			replaced = true
			put(one, "its successor")
			return true
		}
		return bytes.Contains(entry, []byte("the token"))
	}))
	if entry, _ := f.Get(context.Background(), one); string(entry) != "its successor" {
		t.Errorf("what took the place of the token is %q now", entry)
	}
}

// What is no entry, such as a lock or an answer that is kept beside one, is not looked at, and
// a cache that is not there has nothing to purge.
func TestPurgeLooksAtEntriesAlone(t *testing.T) {
	dir := t.TempDir() + "/cache"
	f := testkit.Must(Open(dir))(t)
	testkit.OK(t, f.Put(t.Context(), keyOf("one"), []byte("the token")))
	beside := filepath.Join(dir, "README")
	testkit.OK(t, os.WriteFile(beside, []byte("the token"), 0o600))
	looked := 0
	testkit.OK(t, f.Purge(t.Context(), func([]byte) bool { looked++; return true }))
	testkit.Equal(t, looked, 2, "looks at one entry, before its lock and below it")
	testkit.Equal(t, string(testkit.Must(os.ReadFile(beside))(t)), "the token", "what lies beside")
	testkit.OK(t, os.RemoveAll(dir))
	testkit.OK(t, f.Purge(t.Context(), func([]byte) bool { return true }))
}
