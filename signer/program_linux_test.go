package signer

import (
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A session of its own has no terminal (setsid(2)), where a program could wait for a PIN
// that nobody types.
func TestProgramHasASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	o := playing(t, "session")
	var line string
	o.Notice = func(text string) { line = text }
	testkit.Must(Open(t.Context(), programURI(), o))(t)
	if pid, session, _ := strings.Cut(line, " "); pid == "" || pid != session {
		t.Errorf("process and session: %s", line)
	}
}
