package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ghapp-dev/ghapp/internal/doctor"
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

// page prints findings for people, a line each, with cause and cure below where there
// are any. On a terminal lines are broken at its width, and the states have colours where
// [term.Colour] allows them; the words are the same without.
type page struct {
	w      io.Writer
	width  int // of the terminal; 0: lines are not broken
	colour bool
	quiet  bool // only what is not as it should be
	// written says that there are lines above the sum, from which a blank one parts it.
	written bool
}

func newPage(c *command) *page {
	p := &page{w: c.Stdout, quiet: c.quiet, colour: term.Colour(c.Stdout, c.lookup)}
	if width := term.Width(c.Stdout); width >= leastWidth {
		p.width = width
	}
	return p
}

func (p *page) write(f doctor.Finding) error {
	if p.quiet && (f.State == doctor.OK || f.State == doctor.Note || f.State == doctor.Skipped) {
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
	for _, part := range []struct{ name, text string }{{"cause: ", f.Cause}, {"cure:  ", f.Cure}} {
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
func (p *page) fold(b *strings.Builder, column int, indent, text string) {
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
func painted(s doctor.State, text string) string {
	code := map[doctor.State]string{doctor.OK: "32", doctor.Note: "32", doctor.Warn: "33", doctor.Broken: "1;31", doctor.Skipped: "2"}[s]
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// end writes the sum.
func (p *page) end(findings []doctor.Finding) error {
	count := map[doctor.State]int{}
	for _, f := range findings {
		count[f.State]++
	}
	sum := "Everything is as it should be."
	switch broken, warnings := count[doctor.Broken], count[doctor.Warn]; {
	case broken > 0:
		sum = fmt.Sprintf("%s broken, %s.", counted(broken, "link"), counted(warnings, "warning"))
	case warnings > 0:
		sum = fmt.Sprintf("Nothing is broken; %s.", counted(warnings, "warning"))
	}
	if p.written {
		sum = "\n" + sum
	}
	_, err := fmt.Fprintln(p.w, sum)
	return err
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
