package text_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/text"
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
		"Größe 大 🦀 \u00a0":         "Größe 大 🦀  ",
		"cut \xf0\x9f":             `cut \xf0\x9f`,
		"cut \xf0\x9f\n":           `cut \xf0\x9f` + "\n",
		strings.Repeat("\x80", 10): strings.Repeat(`\x80`, 10),
		"overlong \xc0\x9b[2J":     `overlong \xc0\x9b[2J`,
	}
	for in, want := range tests {
		var whole, bytewise bytes.Buffer
		p := text.NewWriter(&whole)
		testkit.Must(io.WriteString(p, in))(t)
		_ = p.Flush()
		p = text.NewWriter(&bytewise)
		testkit.Must(io.Copy(p, iotest.OneByteReader(strings.NewReader(in))))(t)
		_ = p.Flush()
		if diff := cmp.Diff(want, whole.String()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
		if diff := cmp.Diff(want, bytewise.String()); diff != "" {
			t.Errorf("%q, byte by byte (-want +got):\n%s", in, diff)
		}
	}
}

// Progress is seen as it comes, not at the end of its line.
func TestNothingIsHeldBack(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := text.NewWriter(&out)
	for _, in := range []string{"Receiving objects:  10%", "\rReceiving objects:  20%", "\x1b", "é"} {
		before := out.Len()
		if _, err := io.WriteString(p, in); err != nil || out.Len() == before {
			t.Errorf("%q was held back (%v)", in, err)
		}
	}
}
