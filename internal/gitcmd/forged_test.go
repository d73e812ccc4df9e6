package gitcmd

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestGitsLinesDoNotPassForOurs(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ghapp: error: forged\n":         "git: ghapp: error: forged\n",
		"fatal: no\nghapp: hint: x\rgha": "fatal: no\ngit: ghapp: hint: x\rgha",
		"fatal: ghapp: x\nghapple\n\n":   "fatal: ghapp: x\nghapple\n\n",
		"\n\rghapp:":                     "\n\rgit: ghapp:",
	} {
		for name, reader := range map[string]io.Reader{"whole": strings.NewReader(in), "bytewise": iotest.OneByteReader(strings.NewReader(in))} {
			var out bytes.Buffer
			m := &marked{w: &out}
			if _, err := io.Copy(m, reader); err != nil {
				t.Fatal(err)
			}
			m.flush()
			if out.String() != want {
				t.Errorf("%s %q became %q, want %q", name, in, &out, want)
			}
		}
	}
}
