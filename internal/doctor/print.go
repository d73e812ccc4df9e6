package doctor

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ghapp-dev/ghapp/internal/term"
)

const (
	// stateWidth and linkWidth are the columns before the text: of the longest state
	// and of the longest link.
	stateWidth = len("skipped")
	linkWidth  = len("configuration")
	// leastWidth is a terminal so narrow that lines are left to it.
	leastWidth = 60
)

// Printer prints findings for people, a line each, with cause and hint below where there
// are any. On a terminal lines are broken at its width, and the states have colours where
// [term.Colour] allows them; the words are the same without.
type Printer struct {
	w      io.Writer
	width  int // of the terminal; 0: lines are not broken
	colour bool
	quiet  bool // only what is not as it should be
	// written says that there are lines above the sum, from which a blank one parts it.
	written bool
}

// NewPrinter prints to w: with quiet only what is not as it should be; lookup is
// os.LookupEnv, for the variables that say whether there are colours.
func NewPrinter(w io.Writer, quiet bool, lookup func(string) (string, bool)) *Printer {
	p := &Printer{w: w, quiet: quiet, colour: term.Colour(w, lookup)}
	if width := term.Width(w); width >= leastWidth {
		p.width = width
	}
	return p
}

// Write prints a finding.
func (p *Printer) Write(f Finding) error {
	if p.quiet && (f.State == OK || f.State == Note || f.State == Skipped) {
		return nil
	}
	p.written = true
	text := f.Text
	if f.About != "" {
		text = f.About + ": " + text
	}
	state := fmt.Sprintf("%-*s", stateWidth, f.State)
	if p.colour {
		state = painted(f.State, state)
	}
	indent := strings.Repeat(" ", stateWidth+2)
	var b strings.Builder
	b.WriteString(state + "  " + fmt.Sprintf("%-*s", linkWidth, f.Link) + "  ")
	p.fold(&b, len(indent)+linkWidth+2, indent+strings.Repeat(" ", linkWidth+2), text)
	for _, part := range []struct{ name, text string }{{"cause: ", f.Cause}, {"hint:  ", f.Hint}} {
		for line := range strings.SplitSeq(part.text, "\n") {
			if line != "" {
				b.WriteString(indent + part.name)
				p.fold(&b, len(indent)+len(part.name), indent+strings.Repeat(" ", len(part.name)), line)
			}
		}
	}
	_, err := io.WriteString(p.w, b.String())
	return err
}

// fold writes a text that begins in a column, broken between words at the terminal's
// width, with each further line indented.
func (p *Printer) fold(b *strings.Builder, column int, indent, text string) {
	for i, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case p.width > 0 && column+1+length > p.width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	b.WriteByte('\n')
}

// painted gives a state its colour: the 16 of every terminal (ECMA-48, SGR).
func painted(s State, text string) string {
	code := map[State]string{OK: "32", Note: "32", Warn: "33", Broken: "1;31", Skipped: "2"}[s]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// End prints the sum of what was found.
func (p *Printer) End(findings []Finding) error {
	count := map[State]int{}
	for _, f := range findings {
		count[f.State]++
	}
	sum := "Everything is as it should be."
	switch broken, warnings := count[Broken], count[Warn]; {
	case broken > 0:
		sum = fmt.Sprintf("%s broken, %s.", plural(broken, "link"), plural(warnings, "warning"))
	case warnings > 0:
		sum = fmt.Sprintf("Nothing is broken; %s.", plural(warnings, "warning"))
	}
	if p.written {
		sum = "\n" + sum
	}
	_, err := fmt.Fprintln(p.w, sum)
	return err
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
