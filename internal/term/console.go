package term

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// Console is how a command talks to the person who runs it, while it is at work.
type Console struct {
	In      io.Reader // what they type
	Err     io.Writer // what they read; results go elsewhere
	Quiet   bool      // errors alone are told
	Verbose bool      // requests are told as well
	// Unattended says that a program reads the results, so nobody is asked anything.
	Unattended bool
}

// Log tells of what is not as it should be.
func (c Console) Log() *slog.Logger {
	switch {
	case c.Quiet:
		return NewLogger(c.Err, slog.LevelError)
	case c.Verbose:
		return NewLogger(c.Err, slog.LevelDebug)
	}
	return NewLogger(c.Err, slog.LevelWarn)
}

// Progress tells what is being done. A line of the format stays a line, whatever is put
// into it, unless that is a [Paragraph].
func (c Console) Progress(format string, args ...any) {
	if !c.Quiet {
		c.Tell(format, args...)
	}
}

// Tell is [Console.Progress] for what is needed even where little is told.
func (c Console) Tell(format string, args ...any) {
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			args[i] = text.OneLine(arg)
		case error:
			args[i] = text.OneLine(arg.Error())
		}
	}
	fmt.Fprintf(text.Lines(c.Err), format+"\n", args...)
}

// Person is who may be asked; nobody where a program reads the results.
func (c Console) Person() Person {
	if c.Unattended {
		return Person{}
	}
	return Person{In: c.In, Out: c.Err}
}

// Paragraph is text of our own, which has its line breaks.
type Paragraph string
