package gitcmd

import (
	"io"
	"strings"
)

// ours is how the lines of ghapp's own messages begin.
const ours = "ghapp:"

// marked puts "git: " before each line of git's that looks like one of ours: git shows a
// server's refusal as it came, line breaks and all. It holds back no more than a
// beginning of such a line.
type marked struct {
	w      io.Writer
	within bool   // not at the beginning of a line
	held   []byte // a beginning of ours
}

// Write implements [io.Writer].
func (m *marked) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+len(ours))
	for _, c := range b {
		if !m.within {
			m.held = append(m.held, c)
			if len(m.held) < len(ours) && strings.HasPrefix(ours, string(m.held)) {
				continue
			}
			if string(m.held) == ours {
				out = append(out, "git: "...)
			}
			out, m.held = append(out, m.held...), nil
		} else {
			out = append(out, c)
		}
		m.within = c != '\n' && c != '\r'
	}
	if _, err := m.w.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// flush writes what is held back.
func (m *marked) flush() {
	if len(m.held) > 0 {
		_, _ = m.w.Write(m.held)
		m.held = nil
	}
}
