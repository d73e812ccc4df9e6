package gitcmd

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestGitsLinesDoNotPassForOurs(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ghapp: error: forged\n":         "git: ghapp: error: forged\n",
		"fatal: no\nghapp: hint: x\rgha": "fatal: no\ngit: ghapp: hint: x\rgha",
		"fatal: ghapp: x\nghapple\n\n":   "fatal: ghapp: x\nghapple\n\n",
		"\n\rghapp:":                     "\n\rgit: ghapp:",
	} {
		for name, reader := range map[string]io.Reader{"whole": strings.NewReader(in),
			"bytewise": iotest.OneByteReader(strings.NewReader(in))} {
			var out bytes.Buffer
			m := &marked{w: &out}
			testkit.Must(io.Copy(m, reader))(t)
			m.flush()
			testkit.Equal(t, out.String(), want, "%s %q became %q", name, in, &out)
		}
	}
}
