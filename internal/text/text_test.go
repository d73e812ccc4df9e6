package text_test

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/text"
)

func TestWhatATerminalObeysIsSpelledOut(t *testing.T) {
	for _, c := range []struct{ in, lines, line string }{
		{"", "", ""},
		{"plain text", "plain text", "plain text"},
		{"naïve 日本 👍", "naïve 日本 👍", "naïve 日本 👍"},
		{"a\x1b[31mb", `a\x1b[31mb`, `a\x1b[31mb`},
		{"a\x07\x7f", `a\x07\x7f`, `a\x07\x7f`},
		{"C1 \u009b31m", `C1 \u009b31m`, `C1 \u009b31m`},
		{"\x9b31m", `\x9b31m`, `\x9b31m`}, // C1 as a byte, as some terminals read it
		{"gpj.\u202etxt", `gpj.\u202etxt`, `gpj.\u202etxt`},
		{"zero\u200bwidth\ufeff", `zero\u200bwidth\ufeff`, `zero\u200bwidth\ufeff`},
		{"tag \U000e0041", `tag \U000e0041`, `tag \U000e0041`},
		{"not \xff\xc3 UTF-8", `not \xff\xc3 UTF-8`, `not \xff\xc3 UTF-8`},
		{"surrogate \xed\xa0\x80", `surrogate \xed\xa0\x80`, `surrogate \xed\xa0\x80`},
		{"one\ntwo\tthree\n", "one\ntwo\tthree\n", "one two three"},
		{"over\rwritten", `over\x0dwritten`, "over written"},
		{"no\u00a0break \u2028line", `no break \u2028line`, "no break  line"},
		{"replaced \ufffd", "replaced \ufffd", "replaced \ufffd"},
	} {
		testkit.Equal(t, text.Printable(c.in), c.lines, "Printable(%q)", c.in)
		testkit.Equal(t, text.OneLine(c.in), c.line, "OneLine(%q)", c.in)
	}
	testkit.Equal(t, text.FirstLine("\n\n first\x1b of\nsecond"), `first\x1b of`, "FirstLine")
}

func TestShortenCutsNoCharacterInTwo(t *testing.T) {
	for limit := range 12 {
		got := text.Shorten("äöü日本", limit)
		if !utf8.ValidString(got) || len(got) > max(limit, len("…")) {
			t.Errorf("Shorten to %d = %q", limit, got)
		}
	}
	testkit.Equal(t, text.Shorten("short", 5), "short")
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[2J\u202e\xff\n", 3)
	f.Fuzz(func(t *testing.T, in string, cut int) {
		strange := func(also string) func(rune) bool {
			return func(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune(also, r) }
		}
		if got := text.Printable(in); !utf8.ValidString(got) || strings.ContainsFunc(got, strange("\n\t")) {
			t.Errorf("Printable(%q) = %q", in, got)
		}
		if got := text.OneLine(in); !utf8.ValidString(got) || strings.ContainsFunc(got, strange("")) {
			t.Errorf("OneLine(%q) = %q", in, got)
		}
		cut = min(max(cut, 0), len(in))
		var whole, parts strings.Builder
		one, two := text.NewWriter(&whole), text.NewWriter(&parts)
		_, _ = one.Write([]byte(in))
		_ = one.Flush()
		_, _ = two.Write([]byte(in[:cut]))
		_, _ = two.Write([]byte(in[cut:]))
		_ = two.Flush()
		if whole.String() != parts.String() || strings.ContainsFunc(whole.String(), strange("\n\t\r")) {
			t.Errorf("a stream of %q is %q, cut at %d %q", in, &whole, cut, &parts)
		}
	})
}

func TestAShellReadsAWordAsItWas(t *testing.T) {
	for word, want := range map[string]string{
		"":             "''",
		"/opt/ghapp":   "/opt/ghapp",
		"--key=a,b":    "--key=a,b",
		"=ls":          "'=ls'",
		"~":            "'~'",
		"two words":    "'two words'",
		"it's":         `'it'\''s'`,
		"$(id)`id`;\n": "'$(id)`id`;\n'",
		"naïve\x1b":    "'naïve\x1b'",
	} {
		testkit.Equal(t, text.ShellWord(word), want, "ShellWord(%q)", word)
		if runtime.GOOS == "windows" {
			continue
		}
		output := testkit.Must(exec.Command("sh", "-c", "printf %s. "+text.ShellWord(word)).Output())(t)
		testkit.Equal(t, string(output), word+".")
	}
	testkit.Equal(t, text.ShellWords("rm", "-rf", "a b"), "rm -rf 'a b'")
}

func TestSizesAreAsPeopleReadThem(t *testing.T) {
	for bytes, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 4 << 20: "4.0 MiB", 3<<60 + 1: "3.0 EiB",
	} {
		if got := text.Size(bytes); got != want {
			t.Errorf("%d bytes are %q, want %q", bytes, got, want)
		}
	}
}
