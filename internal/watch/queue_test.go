package watch_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// A hundred pushes to one repository are one piece of work that runs, and one that waits.
func TestBurstIsOneThatRunsAndOneThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun, ended atomic.Int64
		q := &watch.Queue[string]{Most: 1000, Work: func(context.Context, string) error {
			begun.Add(1)
			time.Sleep(time.Second)
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		go q.Run(ctx)
		synctest.Wait()
		for range 100 {
			testkit.Equal(t, q.Add("site", func(err error) { testkit.OK(t, err); ended.Add(1) }), true)
		}
		synctest.Wait()
		testkit.Equal(t, begun.Load(), 1)
		time.Sleep(time.Second + 1)
		synctest.Wait()
		testkit.Equal(t, begun.Load(), 2)
		testkit.Equal(t, ended.Load(), 1, "one was there when it began")
		time.Sleep(time.Second)
		synctest.Wait()
		testkit.Equal(t, begun.Load(), 2)
		testkit.Equal(t, ended.Load(), 100)
		cancel()
	})
}

func TestQueueHoldsNoOneUpForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most, now, all atomic.Int64
		q := &watch.Queue[int]{Jobs: 3, Most: 100, Work: func(context.Context, int) error {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			all.Add(1)
			return nil
		}}
		for range 3 { // before it runs, and one key twice
			q.Add(0, func(error) {})
		}
		ctx, cancel := context.WithCancel(t.Context())
		go q.Run(ctx)
		synctest.Wait()
		for key := range 6 {
			q.Add(key, func(error) {})
		}
		time.Sleep(3*time.Second - 1)
		synctest.Wait()
		testkit.Equal(t, most.Load(), 3, "at the same time")
		time.Sleep(time.Second)
		synctest.Wait()
		testkit.Equal(t, all.Load(), 7)
		cancel()
	})
}

func TestQueueIsBoundedAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errEnd := errors.New("the end")
		var told []error
		q := &watch.Queue[int]{Jobs: 1, Most: 2, Work: func(ctx context.Context, _ int) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		ctx, cancel := context.WithCancelCause(t.Context())
		ran := make(chan struct{})
		go func() { q.Run(ctx); close(ran) }()
		synctest.Wait()
		note := func(err error) { told = append(told, err) }
		testkit.Equal(t, q.Add(1, note), true)
		testkit.Equal(t, q.Add(2, note), true)
		testkit.Equal(t, q.Add(3, note), false, "there is room for more than two")
		testkit.Equal(t, len(told), 0)
		cancel(errEnd)
		<-ran
		testkit.Equal(t, len(told), 2)
		testkit.ErrorIs(t, errors.Join(told...), errEnd)
		testkit.Equal(t, q.Add(4, note), false, "after the end")
	})
}
