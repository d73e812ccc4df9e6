package term

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// screen does with what is written what a terminal does, as far as a [Board] needs it.
func screen(text string) []string {
	lines, row := []string{""}, 0
	for len(text) > 0 {
		switch {
		case strings.HasPrefix(text, "\x1b[A"):
			row, text = max(row-1, 0), text[3:]
		case strings.HasPrefix(text, "\x1b[J"):
			lines, text = append(lines[:row:row], ""), text[3:]
		case text[0] == '\r':
			text = text[1:]
		case text[0] == '\n':
			if row++; row == len(lines) {
				lines = append(lines, "")
			}
			text = text[1:]
		default:
			end := strings.IndexAny(text, "\x1b\r\n")
			if end < 0 {
				end = len(text)
			}
			lines[row] += text[:end]
			text = text[end:]
		}
	}
	return lines
}

func TestABoardStaysBelowWhatIsWritten(t *testing.T) {
	var out strings.Builder
	b := &Board{W: &out, Width: func() int { return 20 }}
	b.Draw("one", "two")
	testkit.Diff(t, screen(out.String()), []string{"one", "two"})
	fmt.Fprintln(b, "told")
	testkit.Diff(t, screen(out.String()), []string{"told", "one", "two"})
	b.Draw("a line that is far too long for it", "\x1b[31mevil\n")
	testkit.Diff(t, screen(out.String()), []string{"told", "a line that is far…", `\x1b[31mevil`})
	b.Draw("three")
	testkit.Diff(t, screen(out.String()), []string{"told", "three"})
	b.Clear()
	fmt.Fprintln(b, "the end")
	testkit.Diff(t, screen(out.String()), []string{"told", "the end", ""})
}

func TestABoardOfNoKnownWidthShowsNothing(t *testing.T) {
	var out strings.Builder
	b := &Board{W: &out, Width: func() int { return 0 }}
	b.Draw("one")
	fmt.Fprint(b, "told\n")
	b.Clear()
	testkit.Equal(t, out.String(), "told\n")
}
