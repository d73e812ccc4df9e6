package text

import (
	"io"
	"unicode/utf8"
)

// Writer makes a stream printable on its way to another writer. Line feeds, tabs and
// carriage returns, by which programs show their progress, pass; everything else that
// is not printable is spelled out as [Printable] does. It holds nothing back but the
// first bytes of an unfinished character, which [Writer.Flush] writes. It is for one
// goroutine at a time, as the writer below it is.
type Writer struct {
	w    io.Writer
	held []byte
}

// NewWriter returns a Writer before w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes b, made printable.
func (p *Writer) Write(b []byte) (int, error) {
	whole := append(p.held, b...)
	end := len(whole)
	for cut := 1; cut < utf8.UTFMax && cut <= len(whole); cut++ {
		if utf8.RuneStart(whole[len(whole)-cut]) {
			if !utf8.FullRune(whole[len(whole)-cut:]) {
				end -= cut
			}
			break
		}
	}
	shown := inStream(string(whole[:end]))
	p.held = append(p.held[:0:0], whole[end:]...)
	if _, err := io.WriteString(p.w, shown); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Flush writes what is left of a character that was never finished.
func (p *Writer) Flush() error {
	if len(p.held) == 0 {
		return nil
	}
	shown := inStream(string(p.held))
	p.held = nil
	_, err := io.WriteString(p.w, shown)
	return err
}

func inStream(s string) string {
	return escape(s, func(r rune) bool { return r == '\n' || r == '\t' || r == '\r' })
}

// Lines returns a writer before w for programs that write whole lines at a time: each
// call of Write is made printable by itself, as [Printable] does. It is safe for
// concurrent use where w is.
func Lines(w io.Writer) io.Writer { return lines{w} }

type lines struct{ w io.Writer }

func (l lines) Write(b []byte) (int, error) {
	if _, err := io.WriteString(l.w, Printable(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}
