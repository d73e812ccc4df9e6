package cache

import (
	"bytes"
	"context"
	"testing"
)

func TestPurgeRemovesByContent(t *testing.T) {
	f, err := Open(t.TempDir() + "/cache")
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, text string) {
		if err := f.Put(t.Context(), key, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	one, two, other := keyOf("one"), keyOf("two"), keyOf("other")
	put(one, "the token")
	put(two, "the token, for something else")
	put(other, "another")
	calls := 0
	if err := f.Purge(t.Context(), func(entry []byte) bool {
		calls++
		return bytes.Contains(entry, []byte("the token"))
	}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{one: "", two: "", other: "another"} {
		if entry, err := f.Get(t.Context(), key); err != nil || string(entry) != want {
			t.Errorf("%q is left, want %q (%v)", entry, want, err)
		}
	}
	// An entry that somebody has replaced since it was looked at stays.
	put(one, "the token")
	replaced := false
	if err := f.Purge(t.Context(), func(entry []byte) bool {
		if !replaced && bytes.Contains(entry, []byte("the token")) {
			replaced = true
			put(one, "its successor")
			return true
		}
		return bytes.Contains(entry, []byte("the token"))
	}); err != nil {
		t.Fatal(err)
	}
	if entry, _ := f.Get(context.Background(), one); string(entry) != "its successor" {
		t.Errorf("what took the place of the token is %q now", entry)
	}
}
