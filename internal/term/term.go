// Package term is the terminal that a person may sit at: whether there is one, what it
// can show, the one way to write to it (tables, JSON, the log, what is being done), and
// the one way to ask a question.
package term

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// Is reports whether a stream is a terminal, so that a person may be at its other end.
func Is(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Width is the number of columns of a terminal, and 0 where that is not known or the
// stream is none.
func Width(stream any) int {
	file, ok := stream.(*os.File)
	if !ok || !Is(stream) {
		return 0
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// Colour reports whether what is written to a stream is to have colours: on a terminal,
// unless NO_COLOR (https://no-color.org), CLICOLOR=0 or TERM=dumb says otherwise; and
// wherever CLICOLOR_FORCE (https://bixense.com/clicolors) asks for them, which NO_COLOR
// still forbids. Variables are looked up as os.LookupEnv does.
func Colour(stream any, lookup func(string) (string, bool)) bool {
	value := func(name string) string { text, _ := lookup(name); return text }
	on := func(name string) bool {
		number, err := strconv.Atoi(value(name))
		return value(name) != "" && (err != nil || number != 0)
	}
	switch {
	case value("NO_COLOR") != "":
		return false
	case on("CLICOLOR_FORCE"):
		return true
	}
	return Is(stream) && value("CLICOLOR") != "0" && value("TERM") != "dumb" && paints(stream)
}

// Reader reads from in until ctx ends, when a read returns the error of ctx. A person who
// presses Ctrl-C at a question is done with it: the program has the signal, but a read
// of a terminal goes on regardless. That read is left behind, so a Reader whose ctx has
// ended is for programs that end as well.
func Reader(ctx context.Context, in io.Reader) io.Reader { return &reader{ctx, in} }

type reader struct {
	ctx context.Context
	in  io.Reader
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text := make([]byte, len(p)) // p is the caller's again once ctx has ended
		n, err := r.in.Read(text)
		done <- result{text[:n], err}
	}()
	select {
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	case got := <-done:
		if err := r.ctx.Err(); err != nil { // Ctrl-C and then Enter means Ctrl-C
			return 0, err
		}
		return copy(p, got.text), got.err
	}
}

// maxLine bounds a line that a person types, in bytes.
const maxLine = 1 << 12

// Line reads one line, and nothing after it, which may be for the next who asks. It is
// without the blanks around it. Where there is none the error is [io.EOF]; at the end of
// ctx it is the error of that.
func Line(ctx context.Context, in io.Reader) (string, error) {
	from := Reader(ctx, in)
	var line []byte
	for b := make([]byte, 1); len(line) < maxLine; {
		n, err := from.Read(b)
		if n == 1 && b[0] == '\n' {
			return strings.TrimSpace(string(line)), nil
		}
		line = append(line, b[:n]...)
		switch text := strings.TrimSpace(string(line)); {
		case err == io.EOF && text != "":
			return text, nil
		case err != nil:
			return "", err
		}
	}
	return "", errors.New("the line is too long")
}

// Person is who may answer questions.
type Person struct {
	In  io.Reader // what they type
	Out io.Writer // where they read a question
}

// There reports whether somebody is there: both ends are terminals.
func (p Person) There() bool { return Is(p.In) && Is(p.Out) }

// Agrees asks a question that is answered with yes or no; Enter alone is what enter says.
// Where nobody is there, at the end of input, and for every other answer it is no. The
// error is that of ctx, or of reading.
func (p Person) Agrees(ctx context.Context, question string, enter bool) (bool, error) {
	if !p.There() {
		return false, ctx.Err()
	}
	choice := " [y/N] "
	if enter {
		choice = " [Y/n] "
	}
	if _, err := io.WriteString(p.Out, question+choice); err != nil {
		return false, err
	}
	answer, err := Line(ctx, p.In)
	if err != nil {
		_, _ = io.WriteString(p.Out, "\n") // so that what follows begins a line
	}
	switch {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil:
		return false, err
	case answer == "":
		return enter, nil
	}
	return strings.EqualFold(answer, "y") || strings.EqualFold(answer, "yes"), nil
}
