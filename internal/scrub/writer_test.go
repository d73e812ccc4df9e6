package scrub

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// write returns what a Writer makes of parts.
func write(t testing.TB, scrubber *Scrubber, parts ...string) string {
	t.Helper()
	var out strings.Builder
	writer := scrubber.Writer(&out)
	for _, part := range parts {
		if n, err := writer.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write of %d bytes = %d, %v", len(part), n, err)
		}
	}
	testkit.OK(t, writer.Close())
	return out.String()
}

func TestWriterScrubsWhatComesByteByByte(t *testing.T) {
	text := "a " + dottedToken + " b " + canary +
		" c\r-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n d " + shortToken[:20] + " e\n"
	scrubber := New(secret.New(canary), secret.New(dottedToken))
	want := scrubber.String(text)
	if strings.Count(want, secret.Placeholder) != 3 {
		t.Fatalf("String makes %s of it", want)
	}
	var out strings.Builder
	writer := scrubber.Writer(&out)
	testkit.Must(io.Copy(writer, iotest.OneByteReader(strings.NewReader(text))))(t)
	testkit.OK(t, writer.Close())
	testkit.Equal(t, out.String(), want)
}

func TestWriterPassesProgressOnAtOnce(t *testing.T) {
	var out strings.Builder
	writer := New(secret.New(dottedToken), secret.New(canary)).Writer(&out)
	var all string
	for _, part := range []string{
		"Cloning into 'site'...\n",
		"remote: Enumerating objects: 5, done.\x1b[K\n",
		"Receiving objects:  20% (1/5)\r",
		"Receiving objects: 100% (5/5), 1.00 KiB | 1.00 MiB/s\r",
		"Receiving objects: 100% (5/5), 1.00 KiB | 1.00 MiB/s, done.\n",
		"Username for 'https://github.com': ",
	} {
		testkit.Must(io.WriteString(writer, part))(t)
		if all += part; out.String() != all {
			t.Fatalf("after %q, %q is still held back", part, strings.TrimPrefix(all, out.String()))
		}
	}
}

func TestWriterHidesATokenAsSoonAsItIsOne(t *testing.T) {
	var out strings.Builder
	writer := New().Writer(&out)
	for _, row := range []struct{ part, want string }{
		{shortToken[:39], ""},
		{shortToken[39:], secret.Placeholder},
		{"more of it", secret.Placeholder + " of it"},
	} {
		testkit.Must(io.WriteString(writer, row.part))(t)
		if out.String() != row.want {
			t.Fatalf("after %q: %q, want %q", row.part, out.String(), row.want)
		}
	}
}

func TestWriterHoldsBackNoMoreThanASecret(t *testing.T) {
	value := strings.Repeat("a", 600) // the text below is nothing but its beginnings
	for _, text := range []string{strings.Repeat("a", 599) + "b",
		"eyJ" + strings.Repeat("a", 3000), "-----BEGIN " + strings.Repeat("A", 3000), "ghs_" + strings.Repeat("a.", 17) + " ",
		"-----BEGIN PRIVATE KEY-----" + strings.Repeat("-", 3000)} {
		var out strings.Builder
		writer := New(secret.New(value)).Writer(&out)
		for range 20 {
			testkit.Must(io.WriteString(writer, text))(t)
			if n := len(writer.held); n > 2*len(value) {
				t.Fatalf("%.20s…: %d bytes are held back", text, n)
			}
		}
	}
}

func TestWriterKnowsWhatWasAddedMeanwhile(t *testing.T) {
	var out strings.Builder
	scrubber := New()
	writer := scrubber.Writer(&out)
	testkit.Must(io.WriteString(writer, "a\n"))(t)
	scrubber.Add(secret.New(canary))
	testkit.Must(io.WriteString(writer, canary+"\n"))(t)
	if want := "a\n" + secret.Placeholder + "\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestWriterTellsErrors(t *testing.T) {
	want := errors.New("disk full")
	writer := New(secret.New(canary)).Writer(failing{want})
	if n, err := writer.Write([]byte("text")); n != 0 || !errors.Is(err, want) {
		t.Errorf("Write = %d, %v", n, err)
	}
	testkit.OK(t, testkit.ErrorOf(writer.Write([]byte(canary[:4]))), "Write of what is held back")
	testkit.ErrorIs(t, writer.Close(), want, "Close")
	testkit.ErrorIs(t, testkit.ErrorOf(writer.Write([]byte("text"))), os.ErrClosed, "Write after Close")
	testkit.OK(t, writer.Close(), "Close again")
}

// FuzzScrubber shows that a Writer makes of a text what String makes of it,
// wherever the text is cut, and that no known secret is left in it.
func FuzzScrubber(f *testing.F) {
	for _, text := range []string{"", "a", canary, shortToken, dottedToken, canary[:10] + canary,
		"x" + dottedToken[:100], strings.Repeat("a", 50)} {
		f.Add(text, canary, "a b c", uint16(3), uint16(9))
		f.Add("before "+text+" after", "aaab", text, uint16(7), uint16(8))
		f.Add("-----BEGIN PRIVATE KEY-----"+text+"-----END PRIVATE KEY-----", "-----END", "KEY", uint16(30), uint16(50))
		f.Add("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0."+text, "J9.e", "eyJ", uint16(1), uint16(40))
	}
	f.Fuzz(func(t *testing.T, text, first, second string, cut, again uint16) {
		scrubber := New(secret.New(first), secret.New(second))
		whole := text + first + second + text // so that the secrets are there
		want := scrubber.String(whole)
		i := int(cut) % (len(whole) + 1)
		j := i + int(again)%(len(whole)-i+1)
		if got := write(t, scrubber, whole[:i], whole[i:j], whole[j:]); got != want {
			t.Fatalf("cut at %d and %d: %q, whole: %q", i, j, got, want)
		}
		for _, value := range []string{first, second} {
			// What has brackets may be put together by a placeholder, and what is in
			// one is there all the time.
			if len(value) < shortest || strings.ContainsAny(value, "[]") || strings.Contains(secret.Placeholder, value) {
				continue
			}
			for _, form := range forms(value) {
				if strings.ContainsAny(form, "[]") || strings.Contains(secret.Placeholder, form) {
					continue
				}
				if strings.Contains(want, form) {
					t.Fatalf("%q is left in %q", form, want)
				}
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	line := []byte("Receiving objects: 100% (5/5), 1.00 KiB | 1.00 MiB/s, done.\n")
	writer := New(secret.New(dottedToken), secret.New(canary)).Writer(io.Discard)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := writer.Write(line); err != nil {
			b.Fatal(err)
		}
	}
}
