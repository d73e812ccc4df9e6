package gitcmd

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable writes text with every control character but line feed, carriage
// return and tab escaped, as \x1b. A server writes what it likes into "remote:"
// lines, and git before 2.55 hands it to the terminal as it is (CVE-2024-52005).
// Nothing is held back but the first bytes of an unfinished character.
type printable struct {
	w    interface{ Write([]byte) (int, error) }
	held []byte
}

func (p *printable) Write(b []byte) (int, error) {
	if len(p.held) == 0 && plain(b) {
		return p.w.Write(b)
	}
	text := append(p.held, b...)
	end := len(text)
	for cut := 1; cut < utf8.UTFMax && cut <= end; cut++ {
		if utf8.RuneStart(text[end-cut]) {
			if !utf8.FullRune(text[end-cut:]) {
				end -= cut
			}
			break
		}
	}
	escaped := escape(text[:end])
	p.held = append([]byte(nil), text[end:]...)
	if _, err := p.w.Write([]byte(escaped)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// flush writes what is left of a character that was never finished.
func (p *printable) flush() {
	if len(p.held) > 0 {
		_, _ = p.w.Write([]byte(escape(p.held)))
		p.held = nil
	}
}

func allowed(r rune) bool {
	return r == '\n' || r == '\r' || r == '\t' || !unicode.IsControl(r)
}

func plain(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf || !allowed(rune(c)) {
			return false
		}
	}
	return true
}

func escape(b []byte) string {
	var text strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && size == 1, !allowed(r) && r < utf8.RuneSelf:
			fmt.Fprintf(&text, `\x%02x`, b[0])
		case !allowed(r):
			fmt.Fprintf(&text, `\u%04x`, r)
		default:
			text.WriteRune(r)
		}
		b = b[size:]
	}
	return text.String()
}

// tailSize is how much of git's standard error is kept for classification.
const tailSize = 64 << 10

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b[max(0, len(b)-tailSize):]...)
	if over := len(t.text) - tailSize; over > tailSize {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	return string(t.text[max(0, len(t.text)-tailSize):])
}
