package cache

import (
	"bytes"
	"context"
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
