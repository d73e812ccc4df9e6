package audit

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is of a record that came after the end.
var ErrClosed = errors.New("the audit is closed")

const (
	queued   = 1024             // records that wait; whoever comes then waits to wait
	patience = 10 * time.Second // for a receiver's answer
)

// sink is where lines go.
type sink interface {
	// write returns when the lines are kept: on the disk, or acknowledged. After an error they
	// come once more, and it is known by them that they are the same.
	write(ctx context.Context, lines [][]byte, end place) error
	// reopen opens what is written to anew, after it was renamed.
	reopen() error
	close() error
}

// Log takes records, in the order in which they come, and has many of them kept by one write.
// It is safe for concurrent use.
type Log struct {
	sink    sink
	log     *slog.Logger
	queue   chan entry
	reopens chan chan error
	closing chan struct{}
	closed  chan struct{} // when the last has been written
	once    sync.Once

	status atomic.Pointer[Status]

	// Of the goroutine that writes alone.
	end    place
	unkept [][]byte // lines with a place in the chain that could not be kept yet
}

// Status is how a [Log] gets on.
type Status struct {
	// Chain, Sequence and Hash are of the newest record that is kept. Who notes the hash
	// elsewhere can tell later whether the records up to there are still what they were.
	Chain    string
	Sequence uint64
	Hash     string
	// Waiting is how many records are not kept yet.
	Waiting int
	// Err is why records cannot be kept at present; nil while they can.
	Err error
}

type entry struct {
	body []byte
	kept chan error
}

// start returns a Log that goes on where a chain ends.
func start(s sink, end place, log *slog.Logger) *Log {
	l := &Log{
		sink: s, log: log, end: end,
		queue: make(chan entry, queued), reopens: make(chan chan error), closing: make(chan struct{}),
		closed: make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.note(nil)
	go l.run()
	return l
}

// Append returns when a record is kept. Where it returns an error, the record may be kept all
// the same, and what it tells of is not to happen.
func (l *Log) Append(ctx context.Context, r Record) error {
	body, err := r.encode()
	if err != nil {
		return err
	}
	e := entry{body, make(chan error, 1)}
	select {
	case <-l.closing:
		return ErrClosed
	default:
	}
	select {
	case l.queue <- e:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.closed:
		return ErrClosed
	}
	select {
	case err := <-e.kept:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.closed:
		select {
		case err := <-e.kept:
			return err
		default:
			return ErrClosed
		}
	}
}

// Reopen has a file opened anew by its name, after logrotate(8) has given it another. Other
// places need none.
func (l *Log) Reopen() error {
	done := make(chan error, 1)
	select {
	case l.reopens <- done:
		return <-done
	case <-l.closed:
		return ErrClosed
	}
}

// Status tells how it gets on.
func (l *Log) Status() Status {
	s := *l.status.Load()
	s.Waiting = len(l.queue)
	return s
}

// Close ends the log when the records that have come are kept. Its error is that of the last
// of them.
func (l *Log) Close() error {
	l.once.Do(func() { close(l.closing) })
	<-l.closed
	return l.Status().Err
}

func (l *Log) run() {
	defer close(l.closed)
	for {
		select {
		case e := <-l.queue:
			l.keep(l.batch(e))
		case done := <-l.reopens:
			done <- l.sink.reopen()
		case <-l.closing:
			l.finish()
			return
		}
	}
}

// finish keeps what has come before the end.
func (l *Log) finish() {
	for {
		select {
		case e := <-l.queue:
			l.keep(l.batch(e))
		default:
			err := l.again()
			if closeErr := l.sink.close(); err == nil {
				err = closeErr
			}
			l.note(err)
			return
		}
	}
}

// batch is an entry and those that wait behind it.
func (l *Log) batch(first entry) []entry {
	batch := []entry{first}
	for len(batch) < queued {
		select {
		case e := <-l.queue:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// keep writes a batch, and tells who waits for it.
func (l *Log) keep(batch []entry) {
	err := l.again()
	if err == nil {
		lines := make([][]byte, len(batch))
		for i, e := range batch {
			lines[i] = l.end.link(e.body)
		}
		if err = l.write(lines); err != nil {
			l.unkept = lines
		}
	}
	l.note(err)
	for _, e := range batch {
		e.kept <- err
	}
}

// again writes what could not be kept before. Nobody waits for it any more, but it has its
// place in the chain, and a receiver may have it although its acknowledgement was lost.
func (l *Log) again() error {
	if len(l.unkept) == 0 {
		return nil
	}
	err := l.write(l.unkept)
	if err == nil {
		l.unkept = nil
	}
	return err
}

func (l *Log) write(lines [][]byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return l.sink.write(ctx, lines, l.end)
}

// note keeps the state for those who ask, and logs where it changes.
func (l *Log) note(err error) {
	before := l.status.Load()
	next := &Status{Err: err}
	if err == nil {
		next.Chain, next.Sequence, next.Hash = l.end.Chain, l.end.Seq, l.end.Hash
	} else if before != nil {
		next.Chain, next.Sequence, next.Hash = before.Chain, before.Sequence, before.Hash
	}
	l.status.Store(next)
	switch {
	case before == nil:
	case err != nil && before.Err == nil:
		l.log.Error("the audit cannot be kept: no token is handed out until it can", "error", err)
	case err == nil && before.Err != nil:
		l.log.Info("the audit is kept again")
	}
}
