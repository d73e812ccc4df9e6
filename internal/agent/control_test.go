//go:build unix

package agent

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestControlAnswersRawBytes(t *testing.T) {
	willing := controlled{status: `{"pid":1}`}
	for _, tt := range []struct {
		name string
		h    Handler
		in   string
		want string
	}{
		{"status", willing, "ghapp-agent/1 status 0\n", "ghapp-agent/1 ok 9\n" + `{"pid":1}`},
		{"stop", willing, "ghapp-agent/1 stop 0\n", "ghapp-agent/1 ok 0\n"},
		{"forget", willing, "ghapp-agent/1 forget 10\npassword=x", "ghapp-agent/1 ok 0\n"},
		{"forget refused", controlled{err: errors.New("not now")}, "ghapp-agent/1 forget 10\npassword=x",
			"ghapp-agent/1 refused 7\nnot now"},
		{"forget what cannot be read", willing, "ghapp-agent/1 forget 8\npassword",
			"ghapp-agent/1 refused 34\ncredential: line 1: no equals sign"},
		{"forget of one that holds nothing", handlerFunc(nil), "ghapp-agent/1 forget 10\npassword=x",
			"ghapp-agent/1 refused 17\nunknown operation"},
		{"another word", willing, "ghapp-agent/1 start 0\n", "ghapp-agent/1 refused 17\nunknown operation"},
		{"status refused", controlled{err: errors.New("not\nnow")}, "ghapp-agent/1 status 0\n",
			"ghapp-agent/1 refused 7\nnot now"},
		{"stop refused", controlled{err: errors.New("not now")}, "ghapp-agent/1 stop 0\n",
			"ghapp-agent/1 refused 7\nnot now"},
		{"status of one that has none", handlerFunc(nil), "ghapp-agent/1 status 0\n",
			"ghapp-agent/1 refused 17\nunknown operation"},
		{"stop of one that cannot be", handlerFunc(nil), "ghapp-agent/1 stop 0\n",
			"ghapp-agent/1 refused 17\nunknown operation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := testkit.Must(net.Dial("unix", start(t, tt.h).Path()))(t)
			defer conn.Close()
			testkit.Must(io.WriteString(conn, tt.in))(t)
			testkit.Equal(t, string(testkit.Must(io.ReadAll(conn))(t)), tt.want, "answered")
		})
	}
}

func TestStatusAndStop(t *testing.T) {
	ask := func(l *Listener, what func(*Client) error) error {
		c, err := Dial(l.Path())
		if err != nil {
			return err
		}
		return what(c)
	}
	var status []byte
	readStatus := func(c *Client) (err error) {
		status, err = c.Status(t.Context())
		return err
	}
	stop := func(c *Client) error { return c.Stop(t.Context()) }

	l := start(t, controlled{status: `{"pid":1}`})
	if err := ask(l, readStatus); err != nil || string(status) != `{"pid":1}` {
		t.Errorf("Status() = %q, %v", status, err)
	}
	l = start(t, controlled{err: errors.New("no")})
	for _, what := range []func(*Client) error{readStatus, stop} {
		testkit.Equal(t, testkit.ErrorAs[*agentproto.RefusedError](t, ask(l, what)).Reason, "no")
	}
}

// Who has stopped an agent can start another one in its place at once.
func TestStoppedAgentHasLeftItsPlace(t *testing.T) {
	path := known(t)
	for range 20 {
		l := testkit.Must(ListenAt(path))(t)
		served := make(chan error)
		go func() { served <- Serve(t.Context(), l, controlled{stop: func() { l.Close() }}) }()
		c, err := Dial(path)
		if err == nil {
			err = c.Stop(t.Context())
		}
		testkit.OK(t, err)
		next := testkit.Must(ListenAt(path))(t)
		next.Close()
		testkit.OK(t, <-served)
	}
}

func TestAgentThatGoesAwayIsTold(t *testing.T) {
	for _, answer := range []string{"", "ghapp-agent/1 ok 20\nhalf"} {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			io.CopyN(io.Discard, theirs, int64(len("ghapp-agent/1 stop 0\n")))
			io.WriteString(theirs, answer)
		}()
		if err := (&Client{ours}).Stop(t.Context()); !errors.Is(err, agentproto.ErrHungUp) ||
			!strings.HasPrefix(err.Error(), "agent: hung up before it answered") {
			t.Errorf("Stop() = %v, want ErrHungUp", err)
		}
	}
}

func TestForgetNamesTheToken(t *testing.T) {
	var named string
	c := testkit.Must(Dial(start(t, controlled{forget: func(token string) { named = token }}).Path()))(t)
	if err := c.Forget(t.Context(), secret.New("ghs_canary")); err != nil || named != "ghs_canary" {
		t.Errorf("the agent was told to forget %q: %v", named, err)
	}
}
