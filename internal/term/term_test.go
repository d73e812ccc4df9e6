package term

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestLineTakesNothingThatComesAfterIt(t *testing.T) {
	in := strings.NewReader(" first \r\nsecond\n\nlast")
	for _, want := range []string{"first", "second", "", "last"} {
		testkit.Equal(t, testkit.Must(Line(t.Context(), in))(t), want)
	}
	if got, err := Line(t.Context(), in); got != "" || err != io.EOF {
		t.Errorf("at the end: %q (%v)", got, err)
	}
	if _, err := Line(t.Context(), strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a line without end is read")
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, typed := io.Pipe()
		ctx, interrupt := context.WithCancel(t.Context())
		read := make(chan error)
		go func() {
			_, err := Line(ctx, in)
			read <- err
		}()
		synctest.Wait() // it reads
		interrupt()
		testkit.ErrorIs(t, <-read, context.Canceled)
		go typed.Write([]byte("yes\n")) // after Ctrl-C
		if text, err := Line(ctx, in); text != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("got %q, %v", text, err)
		}
		_ = in.Close()
	})
}

func TestNobodyAgreesWhereNobodyIs(t *testing.T) {
	var out bytes.Buffer
	for _, p := range []Person{{}, {In: strings.NewReader("y\n"), Out: &out}} {
		if agreed, err := p.Agrees(t.Context(), "Remove it?", true); agreed || err != nil {
			t.Errorf("agreed: %t (%v)", agreed, err)
		}
	}
	if out.Len() > 0 {
		t.Errorf("nobody was asked %q", out.String())
	}
}

func TestColoursOfNoTerminal(t *testing.T) {
	for name, test := range map[string]struct {
		environ map[string]string
		want    bool
	}{
		"nothing said":               {nil, false},
		"terminals have them":        {map[string]string{"TERM": "xterm", "CLICOLOR": "1"}, false},
		"forced":                     {map[string]string{"CLICOLOR_FORCE": "1"}, true},
		"forced on a dumb terminal":  {map[string]string{"CLICOLOR_FORCE": "yes", "TERM": "dumb"}, true},
		"not forced":                 {map[string]string{"CLICOLOR_FORCE": "0"}, false},
		"forbidden as well":          {map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, false},
		"forbidden by an empty word": {map[string]string{"CLICOLOR_FORCE": "1", "NO_COLOR": ""}, true},
	} {
		lookup := func(name string) (string, bool) { text, ok := test.environ[name]; return text, ok }
		testkit.Equal(t, Colour(&bytes.Buffer{}, lookup), test.want, "%s", name)
	}
}
