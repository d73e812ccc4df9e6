package cache

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// Who waits for long for another process is told, once, and nobody is who does not.
func TestWhoWaitsForAnotherProcessIsTold(t *testing.T) {
	dir, key := filepath.Join(t.TempDir(), "c"), "ab00000000000000000000000000000000000000000000000000000000000000"
	testkit.OK(t, testkit.ErrorOf(Open(dir)))
	for held, want := range map[time.Duration]int{time.Second: 0, 20 * time.Second: 1} {
		synctest.Test(t, func(t *testing.T) {
			first, second := testkit.Must(Open(dir))(t), testkit.Must(Open(dir))(t)
			var told atomic.Int32
			second.Waiting = func() { told.Add(1) }
			holds := make(chan struct{})
			go func() {
				_ = first.Update(t.Context(), key, func(context.Context, []byte) ([]byte, error) {
					close(holds)
					time.Sleep(held)
					return []byte("1"), nil
				})
			}()
			<-holds
			testkit.OK(t, second.Update(t.Context(), key, func(_ context.Context, old []byte) ([]byte, error) {
				testkit.Equal(t, string(old), "1")
				return old, nil
			}))
			testkit.Equal(t, int(told.Load()), want)
		})
	}
}
