package term

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// Warnings gathers what a log is told, for a program that reads one JSON text at the end. The
// zero value has none. It is for a command that ends soon, since nothing bounds it.
type Warnings struct {
	mu   sync.Mutex
	list []map[string]string
}

// Logger gathers the records of a level and above, without what looks like a credential.
// Several goroutines may use it.
func (w *Warnings) Logger(level slog.Level) *slog.Logger {
	return slog.New(gatherer{warnings: w, level: level})
}

// List are the records so far: the message, and each attribute under its name.
func (w *Warnings) List() []map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list[:len(w.list):len(w.list)]
}

type gatherer struct {
	warnings *Warnings
	level    slog.Level
	attrs    []slog.Attr
}

// Enabled implements [slog.Handler].
func (g gatherer) Enabled(_ context.Context, level slog.Level) bool { return level >= g.level }

// WithAttrs implements [slog.Handler].
func (g gatherer) WithAttrs(attrs []slog.Attr) slog.Handler {
	g.attrs = append(g.attrs[:len(g.attrs):len(g.attrs)], attrs...)
	return g
}

// WithGroup implements [slog.Handler]. Nobody here groups.
func (g gatherer) WithGroup(string) slog.Handler { return g }

// Handle implements [slog.Handler].
func (g gatherer) Handle(_ context.Context, record slog.Record) error {
	var secrets scrub.Scrubber // a server can repeat one in what it answers
	warning := map[string]string{}
	add := func(a slog.Attr) bool {
		warning[a.Key] = secrets.String(a.Value.Resolve().String())
		return true
	}
	for _, a := range g.attrs {
		add(a)
	}
	record.Attrs(add)
	warning["message"] = secrets.String(record.Message)
	g.warnings.mu.Lock()
	defer g.warnings.mu.Unlock()
	g.warnings.list = append(g.warnings.list, warning)
	return nil
}
