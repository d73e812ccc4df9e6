package gitsession

import (
	"bytes"
	"io"
)

// withheld keeps back what git says until it has got through to the repository: of an
// attempt that is made once more nobody needs to read. It is for one goroutine.
type withheld struct {
	to     io.Writer
	text   bytes.Buffer
	passed bool
}

// withheldMost is more than git says before that, in bytes.
const withheldMost = 8 << 10

// Write implements [io.Writer].
func (w *withheld) Write(text []byte) (int, error) {
	if w.passed {
		return w.to.Write(text)
	}
	w.text.Write(text)
	for _, sign := range []string{"remote: Enumerating", "remote: Counting", "Receiving objects"} {
		w.passed = w.passed || bytes.Contains(w.text.Bytes(), []byte(sign))
	}
	if w.passed = w.passed || w.text.Len() > withheldMost; w.passed {
		w.flush()
	}
	return len(text), nil
}

// flush shows what was kept back, and all that comes.
func (w *withheld) flush() {
	w.passed = true
	if w.text.Len() > 0 {
		_, _ = w.to.Write(w.text.Bytes())
		w.text.Reset()
	}
}
