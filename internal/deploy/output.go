//go:build unix

package deploy

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// output is what a command prints. It goes through a pipe of ours that outlives the
// command: a server that it has left in the background would be killed by SIGPIPE when it
// next prints a line and nobody is there to read it.
type output struct {
	write *os.File // for the command
	read  *os.File
	lines *lines
	ended chan struct{} // closed when nobody reads any more
}

// newOutput begins to read what is written.
func newOutput(tell func(line string)) (*output, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{write: write, read: read, lines: &lines{tell: tell}, ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		_, _ = io.Copy(o.lines, read)
	}()
	return o, nil
}

// afterwards is how long what a command has left running may still print until the
// command is taken for done.
const afterwards = time.Second

// end is called when the command has ended, and returns the end of what was printed.
// leftover is called where something that it started still has its output.
func (o *output) end(leftover func()) string {
	_ = o.write.Close()
	late := time.NewTimer(afterwards)
	defer late.Stop()
	select {
	case <-o.ended:
		o.lines.flush()
		_ = o.read.Close()
		return o.lines.tail()
	case <-late.C:
	}
	_ = o.read.SetReadDeadline(time.Now()) // ends the reading here
	<-o.ended
	said := o.lines.tail()
	leftover()
	o.relay()
	return said
}

// relaying is the program that reads in our place from then on: it hands over what it
// reads as long as we are there, and nothing after that, and ends with the last program
// that could write. It is not one of those that end with us.
const relaying = `trap "" PIPE; cat 2>/dev/null; exec cat >/dev/null`

// relay has what is printed from now on read by a program of its own, so that it is read
// after our end too.
func (o *output) relay() {
	defer o.read.Close()
	cmd := exec.Command("/bin/sh", "-c", relaying)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH") + ":/usr/bin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdin = o.read
	out, err := cmd.StdoutPipe()
	if err != nil {
		return
	}
	if err := cmd.Start(); err != nil {
		_ = out.Close()
		return
	}
	go func() {
		_, _ = io.Copy(o.lines, out)
		o.lines.flush()
		_ = cmd.Wait()
	}()
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

func (l *lines) line(b []byte) {
	if line := printable(string(b)); line != "" {
		l.tell(line)
	}
}

// tail is the last of what was printed, from the beginning of a line on.
func (l *lines) tail() string {
	last := l.last
	if over := len(last) - mostOutput; over > 0 {
		last = last[over:]
		if begin := bytes.IndexByte(last, '\n'); begin >= 0 {
			last = last[begin+1:]
		}
	}
	var kept []string
	for line := range strings.Lines(string(last)) {
		if line = printable(line); line != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// printable is a line that does nothing to a terminal.
func printable(line string) string { return text.Printable(strings.TrimRight(line, "\r\n")) }
