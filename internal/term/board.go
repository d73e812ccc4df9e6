package term

import (
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// Board shows lines at the end of a terminal that are drawn over again, below whatever else is
// written. It is safe for concurrent use.
type Board struct {
	// W is the terminal.
	W io.Writer
	// Width is how many columns it has; lines are cut there. 0: not known, and nothing is drawn.
	Width func() int

	mu    sync.Mutex
	lines []string // that are on the terminal
}

// Draw shows lines in the place of those before.
func (b *Board) Draw(lines ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw(nil, lines)
}

// Write writes above the lines, and implements [io.Writer].
func (b *Board) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw(p, b.lines)
	return len(p), nil
}

// Clear takes the lines away.
func (b *Board) Clear() { b.Draw() }

// draw writes everything at once, so that nothing flickers.
func (b *Board) draw(above []byte, lines []string) {
	var out strings.Builder
	if len(b.lines) > 0 {
		out.WriteString("\r" + strings.Repeat("\x1b[A", len(b.lines)-1) + "\x1b[J")
	}
	out.Write(above)
	if width := b.Width(); width > 0 {
		b.lines = b.lines[:0:0]
		for i, line := range lines {
			if i > 0 {
				out.WriteString("\n")
			}
			line = cut(text.OneLine(line), width-1)
			out.WriteString(line)
			b.lines = append(b.lines, line)
		}
	}
	_, _ = io.WriteString(b.W, out.String())
}

// cut is the beginning of a line. What is shown here has one column for each character.
func cut(line string, columns int) string {
	if utf8.RuneCountInString(line) <= columns {
		return line
	}
	runes := []rune(line)
	return string(runes[:max(columns-1, 0)]) + "…"
}
