//go:build unix

package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/process"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// mostOutput is how much of what a command printed an error has, from its end, in bytes.
const mostOutput = 4 << 10

// run runs a command line for a release until it succeeds, as often as it says. previous
// is the commit that was published before.
func (t *Target) run(ctx context.Context, name string, c Command, dir string, r *Release, previous string) error {
	if c.Line == "" {
		return nil
	}
	pause := c.Pause
	if pause == 0 {
		pause = time.Second
	}
	for try := 1; ; try++ {
		output, err := t.once(ctx, name, c, dir, r, previous)
		if err == nil || ctx.Err() != nil {
			return err
		}
		problem := ErrCheck
		if name == "exec" {
			problem = ErrExec
		}
		err = &Error{Problem: problem, Op: fmt.Sprintf("%s %q for %s", name, c.Line, r.ID), Output: output, Err: err}
		if try >= c.Tries {
			return err
		}
		t.log().Warn("trying again", "command", name, "release", r.ID, "after", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pause *= 2
	}
}

// once runs it once, and returns the end of what it printed.
func (t *Target) once(ctx context.Context, name string, c Command, dir string, r *Release, previous string) (string, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, c.timeout(), fmt.Errorf("it took longer than %s", c.timeout()))
	defer cancel()
	cmd := exec.CommandContext(bounded, "/bin/sh", "-c", c.Line)
	cmd.Dir, cmd.Env = dir, t.environ(dir, r, previous)
	output := &lines{tell: func(line string) {
		t.log().Info(line, "command", name, "release", r.ID)
	}}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.WaitDelay = 5 * time.Second
	err := process.Run(bounded, cmd, true)
	output.flush()
	switch {
	case ctx.Err() != nil:
		return output.end(), context.Cause(ctx)
	case bounded.Err() != nil:
		return output.end(), context.Cause(bounded)
	case errors.Is(err, exec.ErrWaitDelay):
		return output.end(), nil // it succeeded; what it left running is its own affair
	}
	return output.end(), err
}

// environ is the user's environment without what is ghapp's own, which has secrets in
// it, and with what is published.
func (t *Target) environ(dir string, r *Release, previous string) []string {
	var list []string
	for _, entry := range t.Environ {
		if !strings.HasPrefix(entry, "GHAPP_") {
			list = append(list, entry)
		}
	}
	return append(list,
		"GHAPP_REPO="+r.Repository, "GHAPP_REF="+r.Ref, "GHAPP_COMMIT="+r.Commit,
		"GHAPP_PREVIOUS="+previous, "GHAPP_DIR="+dir, "GHAPP_RELEASE="+r.ID,
	)
}

// lines tells of each line that a program prints, and keeps the last ones.
type lines struct {
	tell func(string)
	rest []byte
	last []byte
}

const longestLine = 4 << 10

// Write implements [io.Writer].
func (l *lines) Write(p []byte) (int, error) {
	l.last = append(l.last, p...)
	if over := len(l.last) - 2*mostOutput; over > 0 {
		l.last = append(l.last[:0], l.last[over:]...)
	}
	l.rest = append(l.rest, p...)
	for {
		end := bytes.IndexByte(l.rest, '\n')
		if end < 0 && len(l.rest) < longestLine {
			return len(p), nil
		}
		if end < 0 {
			end = len(l.rest) - 1
		}
		l.line(l.rest[:end+1])
		l.rest = append(l.rest[:0], l.rest[end+1:]...)
	}
}

func (l *lines) flush() {
	l.line(l.rest)
	l.rest = nil
}

func (l *lines) line(text []byte) {
	if line := printable(string(text)); line != "" {
		l.tell(line)
	}
}

// end is the last of what was printed, from the beginning of a line on.
func (l *lines) end() string {
	text := l.last
	if over := len(text) - mostOutput; over > 0 {
		text = text[over:]
		if begin := bytes.IndexByte(text, '\n'); begin >= 0 {
			text = text[begin+1:]
		}
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if line = printable(line); line != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// printable is a line that does nothing to a terminal.
func printable(line string) string { return text.Printable(strings.TrimRight(line, "\r\n")) }
