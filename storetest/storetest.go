// Package storetest tests whether a [ghapp.Store] keeps what the interface promises: for
// those who keep tokens in a place of their own, such as a database.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) ghapp.Store { return mystore.New(t.TempDir()) })
//	}
package storetest

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// patience is how long a store may take for what is to be quick.
const patience = 10 * time.Second

// first and second are keys such as ghapp uses.
var first, second = strings.Repeat("0a", 32), strings.Repeat("f9", 32)

// Run holds a store against each promise, in a test of its own. open returns a store with
// nothing in it. Run does not try what happens when a process is killed: a store says
// itself what it makes of that.
func Run(t *testing.T, open func(t testing.TB) ghapp.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, ghapp.Store)
	}{
		{"EntryComesBackAsItWasStored", roundTrip},
		{"ErrorOfFnChangesNothing", errorOfFn},
		{"BytesBelongToTheirReader", ownBytes},
		{"UpdatesOfOneEntryExcludeEachOther", exclusion},
		{"GetDoesNotWaitForAnUpdate", getWhileUpdating},
		{"WaiterObeysItsContext", waiter},
		{"PurgeRemovesByContent", purge},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// put stores an entry.
func put(t *testing.T, s ghapp.Store, key string, entry []byte) {
	t.Helper()
	if err := s.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) { return entry, nil }); err != nil {
		t.Fatalf("Update: %v", err)
	}
}

// holds fails where an entry is not what it should be; nil: there is none.
func holds(t *testing.T, s ghapp.Store, key string, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		t.Errorf("Get gives %q, want %q", got, want)
	}
	err = s.Update(t.Context(), key, func(_ context.Context, old []byte) ([]byte, error) {
		if !bytes.Equal(old, want) || (old == nil) != (want == nil) {
			t.Errorf("Update gives %q, want %q", old, want)
		}
		return old, nil
	})
	if err != nil {
		t.Errorf("Update with the entry as it was: %v", err)
	}
}

func roundTrip(t *testing.T, s ghapp.Store) {
	holds(t, s, first, nil)
	for _, entry := range [][]byte{[]byte("one"), []byte("another one\x00\xff\n"), bytes.Repeat([]byte("x"), 64<<10)} {
		put(t, s, first, entry)
		holds(t, s, first, entry)
		holds(t, s, second, nil)
	}
	put(t, s, second, []byte("two"))
	put(t, s, first, nil) // removes it
	holds(t, s, first, nil)
	holds(t, s, second, []byte("two"))
	put(t, s, first, nil) // where there is none
}

func errorOfFn(t *testing.T, s ghapp.Store) {
	put(t, s, first, []byte("before"))
	cause := errors.New("the function's own")
	err := s.Update(t.Context(), first, func(context.Context, []byte) ([]byte, error) { return []byte("after"), cause })
	if err != cause { //nolint:errorlint // as it is, and not wrapped
		t.Errorf("error %v, want that of the function, as it is", err)
	}
	holds(t, s, first, []byte("before"))
	err = s.Update(t.Context(), second, func(context.Context, []byte) ([]byte, error) { return []byte("after"), cause })
	if err != cause { //nolint:errorlint // as it is, and not wrapped
		t.Errorf("error %v, want that of the function, as it is", err)
	}
	holds(t, s, second, nil)
}

func ownBytes(t *testing.T, s ghapp.Store) {
	entry := []byte("entry")
	put(t, s, first, bytes.Clone(entry))
	got, err := s.Get(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	holds(t, s, first, entry)
	err = s.Update(t.Context(), first, func(_ context.Context, old []byte) ([]byte, error) {
		clear(old)
		return nil, errors.New("nothing is to be changed")
	})
	if err == nil {
		t.Error("the error of the function is lost")
	}
	holds(t, s, first, entry)
}

func exclusion(t *testing.T, s ghapp.Store) {
	const goroutines, rounds = 8, 5
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			for range rounds {
				err := s.Update(t.Context(), first, func(_ context.Context, old []byte) ([]byte, error) {
					n, _ := strconv.Atoi(string(old)) // 0 where there is none
					time.Sleep(time.Millisecond)
					return []byte(strconv.Itoa(n + 1)), nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
		})
	}
	group.Wait()
	holds(t, s, first, []byte(strconv.Itoa(goroutines*rounds)))
}

// held runs fn while an update of the first entry goes on.
func held(t *testing.T, s ghapp.Store, fn func()) {
	t.Helper()
	begun, end, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Update(t.Context(), first, func(_ context.Context, old []byte) ([]byte, error) {
			close(begun)
			<-end
			return old, nil
		})
	}()
	<-begun
	fn()
	close(end)
	if err := <-done; err != nil {
		t.Errorf("the update that was waited for: %v", err)
	}
}

func getWhileUpdating(t *testing.T, s ghapp.Store) {
	put(t, s, first, []byte("before"))
	held(t, s, func() {
		got := make(chan []byte, 1)
		go func() {
			entry, err := s.Get(t.Context(), first)
			if err != nil {
				t.Errorf("Get: %v", err)
			}
			got <- entry
		}()
		select {
		case entry := <-got:
			if string(entry) != "before" {
				t.Errorf("Get gives %q, want what was there before", entry)
			}
		case <-time.After(patience):
			t.Error("Get waits for an update")
		}
	})
}

func waiter(t *testing.T, s ghapp.Store) {
	held(t, s, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		failed := make(chan error, 1)
		go func() {
			failed <- s.Update(ctx, first, func(_ context.Context, old []byte) ([]byte, error) {
				t.Error("the function runs while another update goes on")
				return old, nil
			})
		}()
		select {
		case err := <-failed:
			if err == nil {
				t.Error("Update gives no error, although its context has ended")
			}
		case <-time.After(patience):
			t.Error("Update waits on after its context has ended")
		}
	})
}

func purge(t *testing.T, s ghapp.Store) {
	purger, ok := s.(ghapp.Purger)
	if !ok {
		t.Skip("the store is no ghapp.Purger: a token that is revoked stays in it until it is asked for")
	}
	put(t, s, first, []byte("dead"))
	put(t, s, second, []byte("alive"))
	if err := purger.Purge(t.Context(), func(entry []byte) bool { return string(entry) == "dead" }); err != nil {
		t.Fatalf("Purge: %v", err)
	}
	holds(t, s, first, nil)
	holds(t, s, second, []byte("alive"))
}
