package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/ghapp-dev/ghapp/internal/fault"
)

// Options says where records go: to one place.
type Options struct {
	// File is the path of a file, which is made with mode 0600.
	File string
	// Writer is such as the standard output. That a write has returned is all that is known.
	Writer io.Writer
	// Syslog is "local", for the socket /dev/log of this machine; unix:/path, for another; or
	// tcp://host:port.
	Syslog string
	// Receiver takes records by HTTP, and acknowledges them.
	Receiver *Receiver
	// Log is told when records cannot be kept, and when they can again. Nil: nothing is logged.
	Log *slog.Logger
}

// Open opens the audit. A file goes on with the chain that it has; elsewhere each process
// begins a chain of its own.
func Open(ctx context.Context, o Options) (*Log, error) {
	end := newChain()
	var s sink
	var torn *Torn
	var err error
	switch named := o.named(); {
	case named == 0:
		return nil, &fault.SettingError{
			Err:  errors.New("there is no audit, and without one no token is handed out"),
			Hint: "name a file for it in the configuration: audit: {file: /var/log/ghapp-server/audit.jsonl}",
		}
	case named > 1:
		return nil, &fault.SettingError{Err: errors.New("the audit has several places"), Hint: "leave one of them"}
	case o.File != "":
		var f *file
		f, end, torn, err = openFile(ctx, o.File)
		s = f
	case o.Writer != nil:
		s = &stream{o.Writer}
	case o.Syslog != "":
		s, err = newSyslog(o.Syslog)
	default:
		s, err = newReceiver(*o.Receiver)
	}
	if err != nil {
		return nil, fmt.Errorf("open the audit: %w", err)
	}
	l := start(s, end, o.Log)
	if torn == nil {
		return l, nil
	}
	l.log.Warn("the audit ends in a part of a record, as after a loss of power; it goes on behind it", "bytes", torn.Bytes)
	if err := l.Append(ctx, Record{Event: continued, Torn: torn}); err != nil {
		return nil, errors.Join(fmt.Errorf("go on with the audit: %w", err), l.Close())
	}
	return l, nil
}

func (o Options) named() (n int) {
	for _, is := range []bool{o.File != "", o.Writer != nil, o.Syslog != "", o.Receiver != nil} {
		if is {
			n++
		}
	}
	return n
}

// stream is a sink that only ever takes what it is given.
type stream struct{ to io.Writer }

func (s *stream) write(_ context.Context, lines [][]byte, _ place) error {
	for _, line := range lines {
		if _, err := s.to.Write(line); err != nil {
			return fmt.Errorf("write the audit: %w", err)
		}
	}
	return nil
}

func (s *stream) reopen() error { return nil }
func (s *stream) close() error  { return nil }
