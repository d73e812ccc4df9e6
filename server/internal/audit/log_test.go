package audit

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// gate is a sink that keeps when it is let.
type gate struct {
	let    chan error
	writes int
	lines  int
}

func (g *gate) write(ctx context.Context, lines [][]byte, _ place) error {
	g.writes++
	select {
	case err := <-g.let:
		if err == nil {
			g.lines += len(lines)
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) reopen() error { return nil }
func (g *gate) close() error  { return nil }

func TestManyRecordsAreKeptByOneWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{let: make(chan error)}
		l := start(g, newChain(), nil)
		kept := make(chan error, 100)
		for range cap(kept) {
			go func() { kept <- l.Append(t.Context(), Record{}) }()
		}
		synctest.Wait()
		for range 2 {
			select {
			case g.let <- nil:
				synctest.Wait()
			default:
			}
		}
		close(g.let)
		for range cap(kept) {
			if err := <-kept; err != nil {
				t.Error(err)
			}
		}
		if g.writes > 3 || g.lines != cap(kept) {
			t.Errorf("%d records by %d writes", g.lines, g.writes)
		}
		_ = l.Close()
	})
}

// TestFullQueueHoldsBackAndDropsNothing has more come than can wait.
func TestFullQueueHoldsBackAndDropsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &gate{let: make(chan error)}
		l := start(g, newChain(), nil)
		const many = 2*queued + 100
		kept := make(chan error, many)
		for range many {
			go func() { kept <- l.Append(t.Context(), Record{}) }()
		}
		synctest.Wait()
		if len(kept) > 0 {
			t.Errorf("%d returned although nothing is kept", len(kept))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Append(ctx, Record{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who waits for a second gets %v", err)
		}
		close(g.let)
		for range many {
			if err := <-kept; err != nil {
				t.Error(err)
			}
		}
		if g.lines != many {
			t.Errorf("%d records are kept of %d", g.lines, many)
		}
		_ = l.Close()
	})
}

// TestReceiverThatIsSilentIsNotWaitedForWithoutEnd has nothing ever answer.
func TestReceiverThatIsSilentIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := start(&gate{let: make(chan error)}, newChain(), nil)
		begun := time.Now()
		if err := l.Append(t.Context(), Record{}); err == nil || time.Since(begun) > patience {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		if err := l.Close(); err == nil {
			t.Error("the end tells nothing of a record that was not kept")
		}
	})
}

// growing is a file whose end comes into the middle of a record, and later behind it.
type growing struct{ parts [][]byte }

// Read gives a part, and nil an end.
func (g *growing) Read(to []byte) (int, error) {
	if len(g.parts) == 0 || g.parts[0] == nil {
		g.parts = g.parts[min(1, len(g.parts)):]
		return 0, io.EOF
	}
	n := copy(to, g.parts[0])
	g.parts = g.parts[1:]
	return n, nil
}

func TestRecordThatIsBeingWrittenIsNoFault(t *testing.T) {
	t.Parallel()
	end := newChain()
	record := []byte(`{"event":"allowed"}`)
	first, second, third := end.link(record), end.link(record), end.link(record)
	v := &verifier{report: &Report{Last: map[string]Last{}}, chains: map[string]linked{}}
	err := v.read(&growing{[][]byte{first, second[:40], nil, second[40:], third}})
	if err != nil || len(v.report.Faults) > 0 || len(v.report.Notes) != 1 || v.report.Records != 1 {
		t.Errorf("%v, %+v", err, v.report)
	}
}
