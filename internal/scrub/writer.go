package scrub

import (
	"io"
	"os"
)

// Writer passes on what is written to it, without secrets: all that is written,
// up to Close, becomes what [Scrubber.String] makes of it, however it was cut.
//
// It holds back only bytes that may be the beginning of a secret: at most as many
// as the longest form of a known secret has, or half a kilobyte. A line of
// progress, which has nothing like that at its end, is passed on as it comes.
//
// A Writer is for one goroutine at a time.
type Writer struct {
	// Behind a pointer, as it may hold a part of a secret, which a printer of the
	// Writer must not find.
	*stream
}

type stream struct {
	to       io.Writer
	scrubber *Scrubber
	state    scan
	held     []byte // what cannot be decided yet
	out      []byte // reused
	closed   bool
}

// Writer returns a [Writer] that writes to w. It must be closed for its last
// bytes to get there.
func (r *Scrubber) Writer(w io.Writer) *Writer {
	return &Writer{&stream{to: w, scrubber: r}}
}

// Write implements [io.Writer]. It returns what the Writer behind it returns as an
// error, and [os.ErrClosed] after Close.
func (w *Writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, os.ErrClosed
	}
	if err := w.pass(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close writes what was held back: nothing more comes that could make it a
// secret. It does not close the writer behind it. There is no way to have the
// bytes earlier, as they may be the first half of a secret.
func (w *Writer) Close() error {
	w.closed = true
	return w.pass(nil, true)
}

func (s *stream) pass(p []byte, final bool) error {
	s.held = append(s.held, p...)
	var rest []byte
	s.out, rest = s.state.next(s.out[:0], s.held, s.scrubber.known.Load(), final)
	s.held = s.held[:copy(s.held, rest)]
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.to.Write(s.out)
	return err
}
