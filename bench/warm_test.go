package bench

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"golang.org/x/oauth2"

	"github.com/ghapp-dev/ghapp"
)

// BenchmarkWarmToken asks for a token that is there and good for the hour: what each
// request to GitHub pays. A turn is long enough that reading the clock around it does
// not show, and short enough that the machine is the same for all in a round.
func BenchmarkWarmToken(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		const calls = 20_000
		warmRace(b, 1, calls)
	})
	b.Run("all-cores", func(b *testing.B) {
		const calls = 20_000
		warmRace(b, runtime.GOMAXPROCS(0), calls)
	})
}

func warmRace(b *testing.B, goroutines, calls int) {
	g := newGitHub(b)
	ours := g.ghapp(b)()
	peer := g.ghinstallation(b)()
	reuse := g.reuse(b)()
	if err := errors.Join(callGhapp(ours, 1), callGhinstallation(peer, 1), callReuse(reuse, 1)); err != nil {
		b.Fatal(err)
	}
	minted := g.Mints()
	race(b, 1, goroutines*calls,
		contestant{"ghapp", together(goroutines, func() error { return callGhapp(ours, calls) })},
		contestant{"ghinstallation", together(goroutines, func() error { return callGhinstallation(peer, calls) })},
		contestant{"oauth2", together(goroutines, func() error { return callReuse(reuse, calls) })},
		contestant{"clock", together(goroutines, func() error { return readClock(calls) })},
	)
	if n := g.Mints() - minted; n != 0 {
		b.Fatalf("%d tokens were minted on the way; this was not the warm path", n)
	}
	b.ReportMetric(testing.AllocsPerRun(1000, func() { _, _ = ours.Token(b.Context()) }), "allocs/op")
}

// together is a turn in which goroutines run call at the same time: the clock starts
// when all of them are running.
func together(goroutines int, call func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		var running atomic.Int64
		meet := func() {
			running.Add(1)
			for running.Load() < int64(goroutines) {
				runtime.Gosched()
			}
		}
		var group sync.WaitGroup
		errs := make([]error, goroutines)
		for i := 1; i < goroutines; i++ {
			group.Go(func() {
				meet()
				errs[i] = call()
			})
		}
		meet()
		start := time.Now()
		errs[0] = call()
		group.Wait()
		return time.Since(start), errors.Join(errs...)
	}
}

// The loops below are alike but for the type, and each calls as a user of that
// library does: there is no adapter whose cost would be added to one of them.

func callGhapp(source ghapp.TokenSource, calls int) error {
	ctx := context.Background()
	for range calls {
		if _, err := source.Token(ctx); err != nil {
			return err
		}
	}
	return nil
}

func callGhinstallation(transport *ghinstallation.Transport, calls int) error {
	ctx := context.Background()
	for range calls {
		if _, err := transport.Token(ctx); err != nil {
			return err
		}
	}
	return nil
}

func callReuse(source oauth2.TokenSource, calls int) error {
	for range calls {
		if _, err := source.Token(); err != nil {
			return err
		}
	}
	return nil
}

// readClock shows what the machine gives. No cache of tokens that expire can do with
// less than one reading of the clock, and it shares nothing: where the clock does not
// gain from more cores, the machine had no cores to give.
func readClock(calls int) error {
	start := time.Now()
	for range calls {
		if time.Since(start) < 0 {
			return errors.New("the monotonic clock went backwards")
		}
	}
	return nil
}

// TestWarmTokenAllocatesNothing also stands for the other half of the promise, that
// the warm path does not ask GitHub.
func TestWarmTokenAllocatesNothing(t *testing.T) {
	g := newGitHub(t)
	source := g.ghapp(t)()
	if _, err := source.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.ResetRequests()
	ctx := t.Context()
	allocations := testing.AllocsPerRun(1000, func() {
		if _, err := source.Token(ctx); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("a warm Token allocates %v times, want 0", allocations)
	}
	if requests := g.Requests(); len(requests) != 0 {
		t.Errorf("GitHub was asked %d times by a warm source, want 0", len(requests))
	}
}
