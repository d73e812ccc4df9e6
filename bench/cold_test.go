package bench

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// crowd is how many ask at once.
const crowd = 1000

// BenchmarkColdToken lets a crowd ask at once for a token that nobody has yet: from
// the moment they are let loose until the last one holds it. mints/op is how many
// tokens that cost at GitHub.
func BenchmarkColdToken(b *testing.B) {
	g := newGitHub(b)
	mints, turns := map[string]int{}, map[string]int{}
	counted := func(c contestant) contestant {
		turn := c.turn
		c.turn = func() (time.Duration, error) {
			before := g.Mints()
			took, err := turn()
			mints[c.name] += g.Mints() - before
			turns[c.name]++
			return took, err
		}
		return c
	}
	race(b, 5, 1, counted(g.coldGhapp(b)), counted(g.coldGhinstallation(b)), counted(g.coldReuse(b)))
	for name, n := range mints {
		unit := name + "-mints/op"
		if name == "ghapp" {
			unit = "mints/op"
		}
		b.ReportMetric(float64(n)/float64(turns[name]), unit)
	}
}

func (g *gitHub) coldGhapp(tb testing.TB) contestant {
	source := g.ghapp(tb)
	return contestant{"ghapp", func() (time.Duration, error) {
		s := source()
		return rush(func() error { _, err := s.Token(context.Background()); return err })
	}}
}

func (g *gitHub) coldGhinstallation(tb testing.TB) contestant {
	transport := g.ghinstallation(tb)
	return contestant{"ghinstallation", func() (time.Duration, error) {
		t := transport()
		return rush(func() error { _, err := t.Token(context.Background()); return err })
	}}
}

func (g *gitHub) coldReuse(tb testing.TB) contestant {
	source := g.reuse(tb)
	return contestant{"oauth2", func() (time.Duration, error) {
		s := source()
		return rush(func() error { _, err := s.Token(); return err })
	}}
}

// rush lets the crowd loose on ask, all at once.
func rush(ask func() error) (time.Duration, error) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	errs := make([]error, crowd)
	ready.Add(crowd)
	for i := range errs {
		done.Go(func() {
			ready.Done()
			<-gate
			errs[i] = ask()
		})
	}
	ready.Wait()
	start := time.Now()
	close(gate)
	done.Wait()
	return time.Since(start), errors.Join(errs...)
}

// TestColdCrowdMintsOnce repeats itself: who comes just as the first token arrives is
// easily given a second one, but not in every crowd.
func TestColdCrowdMintsOnce(t *testing.T) {
	const crowds = 20
	g := newGitHub(t)
	for _, c := range []contestant{g.coldGhapp(t), g.coldGhinstallation(t), g.coldReuse(t)} {
		t.Run(c.name, func(t *testing.T) {
			before := g.Mints()
			for range crowds {
				if _, err := c.turn(); err != nil {
					t.Fatal(err)
				}
			}
			if mints := g.Mints() - before; mints != crowds {
				t.Errorf("%d crowds of %d goroutines cost %d tokens, want %d", crowds, crowd, mints, crowds)
			}
		})
	}
}

// TestColdProcessesMintOnce is the same for processes, which share a cache on disk.
func TestColdProcessesMintOnce(t *testing.T) {
	const processes = 50
	c := newCloner(t, map[string]string{"index.html": "hello\n"})
	before := c.Mints()
	var group sync.WaitGroup
	errs := make([]error, processes)
	for i := range errs {
		group.Go(func() {
			errs[i] = c.run(c.program, append([]string{"token"}, c.flags("acme/site")...)...)
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err) // the others will say the same
		}
	}
	if mints := c.Mints() - before; mints != 1 {
		t.Errorf("%d processes cost %d tokens, want 1", processes, mints)
	}
}
