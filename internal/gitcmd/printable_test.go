package gitcmd

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestControlCharactersAreEscaped(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"plain\ttext\r50%\rdone\n": "plain\ttext\r50%\rdone\n",
		"\x1b[2Jgone":              `\x1b[2Jgone`,
		"\x1b]0;title\a":           `\x1b]0;title\x07`,
		"a\x00b\x08\x7f\v":         `a\x00b\x08\x7f\x0b`,
		"csi \u009b2J \u0085":      `csi \u009b2J \u0085`,
		"latin \xe9 \x9b2J":        `latin \xe9 \x9b2J`,
		"Größe 大 🦀 \u00a0":         "Größe 大 🦀 \u00a0",
		"cut \xf0\x9f":             `cut \xf0\x9f`,
		"cut \xf0\x9f\n":           `cut \xf0\x9f` + "\n",
		strings.Repeat("\x80", 10): strings.Repeat(`\x80`, 10),
		"overlong \xc0\x9b[2J":     `overlong \xc0\x9b[2J`,
	}
	for text, want := range tests {
		var whole, bytewise bytes.Buffer
		p := &printable{w: &whole}
		if _, err := io.WriteString(p, text); err != nil {
			t.Fatal(err)
		}
		p.flush()
		p = &printable{w: &bytewise}
		if _, err := io.Copy(p, iotest.OneByteReader(strings.NewReader(text))); err != nil {
			t.Fatal(err)
		}
		p.flush()
		if diff := cmp.Diff(want, whole.String()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if diff := cmp.Diff(want, bytewise.String()); diff != "" {
			t.Errorf("%q, byte by byte (-want +got):\n%s", text, diff)
		}
	}
}

// Progress is seen as it comes, not at the end of its line.
func TestNothingIsHeldBack(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &printable{w: &out}
	for _, text := range []string{"Receiving objects:  10%", "\rReceiving objects:  20%", "\x1b", "é"} {
		before := out.Len()
		if _, err := io.WriteString(p, text); err != nil || out.Len() == before {
			t.Errorf("%q was held back (%v)", text, err)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 100, 4096, 3 * tailSize} {
		var all bytes.Buffer
		tail := &tail{}
		for i := 0; all.Len() < 5*tailSize; i++ {
			text := bytes.Repeat([]byte{byte('a' + i%26)}, size)
			all.Write(text)
			if n, err := tail.Write(text); n != size || err != nil {
				t.Fatal(n, err)
			}
		}
		if got := tail.String(); got != all.String()[all.Len()-tailSize:] {
			t.Errorf("pieces of %d: %d bytes kept", size, len(got))
		}
	}
}

func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"plain", "\x1b[2J", "\xc2\x9b", "\xf0\x9f\xa6\x80", "\xf0\x9f"} {
		f.Add([]byte(seed), 1)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		cut = max(0, min(cut, len(text)))
		var out bytes.Buffer
		p := &printable{w: &out}
		for _, piece := range [][]byte{text[:cut], text[cut:]} {
			if n, err := p.Write(piece); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		p.flush()
		if !utf8.Valid(out.Bytes()) || strings.ContainsFunc(out.String(), func(r rune) bool {
			return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r)
		}) {
			t.Errorf("%q became %q", text, out.String())
		}
		if out.String() != escape(text) {
			t.Errorf("cut at %d: %q, whole: %q", cut, out.String(), escape(text))
		}
	})
}
