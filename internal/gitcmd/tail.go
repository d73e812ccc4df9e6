package gitcmd

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
