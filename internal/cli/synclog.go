//go:build unix

package cli

import (
	"io"
	"log/slog"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// syncLog is the log of a process that keeps directories: what was published and what
// failed, and nothing of passes that found nothing.
func (c *command) syncLog(o config.SyncProcess) *slog.Logger {
	level := slog.LevelInfo
	switch {
	case c.quiet:
		level = slog.LevelError
	case c.verbose:
		level = slog.LevelDebug
	case !o.Watch:
		level = slog.LevelWarn
	}
	format := o.LogFormat
	switch {
	case format != "":
	case c.json && !o.Watch:
		return c.log()
	case c.json && o.Watch:
		format = "json"
	case o.Watch && !term.Is(c.Stderr):
		format = "text"
	}
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(scrubbed{c.Stderr}, options))
	case "json":
		return slog.New(slog.NewJSONHandler(scrubbed{c.Stderr}, options))
	}
	return term.NewLogger(c.Stderr, level)
}

// scrubbed takes tokens out of each record that a log writes: a server can repeat one in
// what it answers.
type scrubbed struct{ w io.Writer }

// Write implements [io.Writer].
func (s scrubbed) Write(record []byte) (int, error) {
	var secrets scrub.Scrubber
	// Both formats leave some characters as they are that a terminal obeys.
	if _, err := io.WriteString(s.w, text.JSON(secrets.String(string(record)))); err != nil {
		return 0, err
	}
	return len(record), nil
}
