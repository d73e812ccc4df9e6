package term

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// logHandler writes log records as the lines a person reads on a terminal:
//
//	ghapp: warning: this machine's clock is off (seconds=-312)
type logHandler struct {
	level  slog.Level
	attrs  []slog.Attr
	mu     *sync.Mutex
	output io.Writer
}

// NewLogger writes the records of a level and above as lines for a person, without what
// looks like a credential. Several goroutines may use it.
func NewLogger(output io.Writer, level slog.Level) *slog.Logger {
	return slog.New(logHandler{level: level, mu: &sync.Mutex{}, output: output})
}

// Enabled implements [slog.Handler].
func (h logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// WithAttrs implements [slog.Handler].
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)
	return h
}

// WithGroup implements [slog.Handler]. Nobody here groups.
func (h logHandler) WithGroup(string) slog.Handler { return h }

// Handle implements [slog.Handler].
func (h logHandler) Handle(_ context.Context, record slog.Record) error {
	var line strings.Builder
	line.WriteString("ghapp: ")
	switch {
	case record.Level >= slog.LevelError:
		line.WriteString("error: ")
	case record.Level >= slog.LevelWarn:
		line.WriteString("warning: ")
	}
	line.WriteString(record.Message)
	var details []string
	add := func(a slog.Attr) bool {
		details = append(details, fmt.Sprintf("%s=%v", a.Key, a.Value.Resolve()))
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	record.Attrs(add)
	if len(details) > 0 {
		line.WriteString(" (" + strings.Join(details, ", ") + ")")
	}
	var secrets scrub.Scrubber // a server can repeat one in what it answers
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.output, text.OneLine(secrets.String(line.String()))+"\n")
	return err
}
