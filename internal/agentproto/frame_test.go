package agentproto

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestFramesAsDocumented(t *testing.T) {
	request := &credential.Credential{Protocol: "https", Host: "github.com"}
	for _, tt := range []struct {
		want string
		word string
		c    *credential.Credential
	}{
		{"ghapp-agent/1 get 31\nprotocol=https\nhost=github.com\n", "get", request},
		{"ghapp-agent/1 ok 0\n", "ok", &credential.Credential{}},
		{"ghapp-agent/1 ok 0\n", "ok", nil},
	} {
		f := testkit.Must(Of(tt.word, tt.c))(t)
		var out bytes.Buffer
		testkit.OK(t, f.Write(&out))
		testkit.Equal(t, out.String(), tt.want, "wrote %q", &out)
	}
}

func TestReadFrameRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     error
	}{
		{"nothing", "", io.ErrUnexpectedEOF},
		{"half a line", "ghapp-agent/1 get", io.ErrUnexpectedEOF},
		{"no body", "ghapp-agent/1 get 5\n", io.ErrUnexpectedEOF},
		{"half a body", "ghapp-agent/1 get 5\nhos", io.ErrUnexpectedEOF},
		{"another version", "ghapp-agent/2 get 0\n", ErrVersion},
		{"another protocol", "GET / HTTP/1.1\n", ErrVersion},
		{"an empty line", "\n", ErrVersion},
		{"no length", "ghapp-agent/1 get\n", ErrFrame},
		{"no word", "ghapp-agent/1  0\n", ErrFrame},
		{"a word more", "ghapp-agent/1 get 0 0\n", ErrFrame},
		{"carriage return", "ghapp-agent/1 get 0\r\n", ErrFrame},
		{"negative length", "ghapp-agent/1 get -1\n", ErrFrame},
		{"length out of range", "ghapp-agent/1 get 4294967296\n", ErrFrame},
		{"line too long", "ghapp-agent/1 " + strings.Repeat("x", maxHead) + " 0\n", ErrFrame},
		{"endless line", strings.Repeat("x", 1<<20), ErrFrame},
		{"body too long", "ghapp-agent/1 get 1048577\n", ErrSize},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for mode, in := range map[string]io.Reader{
				"whole":        strings.NewReader(tt.in),
				"byte by byte": iotest.OneByteReader(strings.NewReader(tt.in)),
			} {
				if f, err := Read(bufio.NewReader(in)); !errors.Is(err, tt.want) {
					t.Errorf("%s: Read() = %+v, %v, want %v", mode, f, err, tt.want)
				}
			}
		})
	}
}

func TestReadFrameTakesTheLongest(t *testing.T) {
	want := Frame{"get", bytes.Repeat([]byte("x"), credential.MaxSize)}
	var out bytes.Buffer
	testkit.OK(t, want.Write(&out))
	got := testkit.Must(Read(bufio.NewReader(&out)))(t)
	if got.Word != want.Word || !bytes.Equal(got.Body, want.Body) {
		t.Error("the longest frame came out changed")
	}
}

func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		"ghapp-agent/1 get 31\nprotocol=https\nhost=github.com\n", "ghapp-agent/1 ok 0\n", "ghapp-agent/1 refused 3\nno\n",
		"ghapp-agent/1 get 007\nhost=a\nrest", "ghapp-agent/2 get 0\n", "\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := Read(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		var out bytes.Buffer
		testkit.OK(t, first.Write(&out))
		second, err := Read(bufio.NewReader(&out))
		testkit.OK(t, err, "%q does not come back", data)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("%q (-first +second):\n%s", data, diff)
		}
	})
}
