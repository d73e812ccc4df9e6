package signer

import (
	"strings"
	"testing"
)

// A session of its own has no terminal (setsid(2)), where a program could wait for a PIN
// that nobody types.
func TestProgramHasASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	o := playing(t, "session")
	var line string
	o.Notice = func(text string) { line = text }
	if _, err := Open(t.Context(), programURI(), o); err != nil {
		t.Fatal(err)
	}
	if pid, session, _ := strings.Cut(line, " "); pid == "" || pid != session {
		t.Errorf("process and session: %s", line)
	}
}
