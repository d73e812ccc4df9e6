//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// ownAgent is a user's own agent: where helpers look for it by themselves.
type ownAgent struct {
	environ  []string // of the user
	listener *agent.Listener
}

func newOwnAgent(t *testing.T) *ownAgent {
	t.Helper()
	// A short name, since those of sockets are bounded.
	dir := testkit.Must(os.MkdirTemp("", "own-"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := testkit.Must(agent.ListenAt(filepath.Join(dir, "ghapp", "agent.sock")))(t)
	t.Cleanup(func() { l.Close() })
	return &ownAgent{[]string{"XDG_RUNTIME_DIR=" + dir}, l}
}

func (o *ownAgent) serve(t *testing.T, h agent.Handler) {
	t.Helper()
	served := make(chan error)
	go func() { served <- agent.Serve(context.Background(), o.listener, h) }()
	t.Cleanup(func() {
		testkit.OK(t, errors.Join(o.listener.Close(), <-served))
	})
}

// command is the helper of this user, with ghapp on PATH.
func (o *ownAgent) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self := testkit.Must(os.Executable())(t)
	path := t.TempDir()
	testkit.OK(t, os.Symlink(self, filepath.Join(path, "ghapp")))
	cmd := command(t, "", args...)
	cmd.Env = append(append(cmd.Env, "PATH="+path), o.environ...)
	return cmd
}

func TestAsksTheUsersOwnAgent(t *testing.T) {
	var a fakeAgent
	own := newOwnAgent(t)
	own.serve(t, &a)
	got := run(t, own.command(t, "get"), origin)
	want := result{Stdout: "username=x-access-token\npassword=" + canary + "\npassword_expiry_utc=4102444800\n"}
	if diff := cmp.Diff(want, got); diff != "" || len(a.heard) != 1 {
		t.Errorf("asked %d times (-want +got):\n%s", len(a.heard), diff)
	}
}

// The agent was started with other flags and variables, and would answer as
// somebody else.
func TestAsksNoAgentThatMayBeSomebodyElse(t *testing.T) {
	for _, tt := range []struct {
		name     string
		variable string
		args     []string
	}{
		{"an App", "GHAPP_APP=1", []string{"get"}},
		{"a key", "GHAPP_KEY=app.pem", []string{"get"}},
		{"the key itself", "GHAPP_PRIVATE_KEY=x", []string{"get"}},
		{"a config file", "GHAPP_CONFIG=config.yaml", []string{"get"}},
		{"a host", "GHAPP_HOST=ghe.example", []string{"get"}},
		{"a flag", "X=", []string{"--app=1", "get"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a fakeAgent
			own := newOwnAgent(t)
			own.serve(t, &a)
			cmd := own.command(t, tt.args...)
			cmd.Env = append(cmd.Env, tt.variable)
			if got := run(t, cmd, origin); got.Code != ghappExit || len(a.heard) > 0 {
				t.Errorf("got %+v, the agent heard %v", got, a.heard)
			}
			// The one that is named is asked all the same, if no flag says otherwise.
			if cmd = own.command(t, "get"); len(tt.args) == 1 {
				cmd.Env = append(cmd.Env, tt.variable, "GHAPP_AGENT_SOCK="+own.listener.Path())
				testkit.Contains(t, run(t, cmd, origin).Stdout, canary)
			}
		})
	}
	t.Run("not for the user's own config file", func(t *testing.T) {
		var a fakeAgent
		own := newOwnAgent(t)
		own.serve(t, &a)
		for path, asked := range map[string]int{"/home/me/.config/ghapp/config.yaml": 1, "/home/me/other.yaml": 0} {
			cmd := own.command(t, "--config", path, "get")
			cmd.Env = append(cmd.Env, "HOME=/home/me")
			if got := run(t, cmd, origin); len(a.heard) != asked {
				t.Errorf("%s: the agent heard %v\n%+v", path, a.heard, got)
			}
			a.heard = nil
		}
	})
	t.Run("not for one that is empty", func(t *testing.T) {
		var a fakeAgent
		own := newOwnAgent(t)
		own.serve(t, &a)
		cmd := own.command(t, "get")
		cmd.Env = append(cmd.Env, "GHAPP_APP=", "GHAPP_AGENT_SOCK=")
		testkit.Contains(t, run(t, cmd, origin).Stdout, canary)
	})
}

func TestTheAgentThatIsNamedGoesBeforeTheUsersOwn(t *testing.T) {
	var a, named fakeAgent
	own := newOwnAgent(t)
	own.serve(t, &a)
	cmd := own.command(t, "get")
	cmd.Env = append(cmd.Env, "GHAPP_AGENT_SOCK="+serve(t, &named))
	if run(t, cmd, origin); len(a.heard) > 0 || len(named.heard) != 1 {
		t.Errorf("the own agent heard %v, the named one %v", a.heard, named.heard)
	}
}

func TestWithoutTheUsersOwnAgentGhappAnswers(t *testing.T) {
	want := result{Stdout: `["credential" "get"]` + "\n" + origin, Code: ghappExit}
	t.Run("none", func(t *testing.T) {
		own := newOwnAgent(t)
		own.listener.Close()
		testkit.Diff(t, run(t, own.command(t, "get"), origin), want)
	})
	t.Run("one that others could have started", func(t *testing.T) {
		var a fakeAgent
		own := newOwnAgent(t)
		own.serve(t, &a)
		testkit.OK(t, os.Chmod(filepath.Dir(own.listener.Path()), 0o777))
		got := run(t, own.command(t, "get"), origin)
		if got.Stdout != want.Stdout || got.Code != ghappExit || !strings.Contains(got.Stderr, "lets other users in") ||
			!isOneLine(got.Stderr) || len(a.heard) > 0 {
			t.Errorf("got %+v, the agent heard %v", got, a.heard)
		}
	})
}

// The agent is killed when it has the question, or has begun its answer: git does not
// notice.
func TestGhappAnswersWhatTheUsersOwnAgentLeftOpen(t *testing.T) {
	for _, operation := range []string{"get", "erase"} {
		for _, answer := range []string{"", "ghapp-agent/1 ok 100\nusername=x-access-token\npassword=" + canary} {
			own := newOwnAgent(t)
			go func() {
				conn, err := own.listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				io.CopyN(io.Discard, conn, int64(len(fmt.Sprintf("ghapp-agent/1 %s %d\n%s", operation, len(origin), origin))))
				io.WriteString(conn, answer)
			}()
			got := run(t, own.command(t, operation), origin)
			want := result{Stdout: fmt.Sprintf(`["credential" %q]`, operation) + "\n" + origin, Code: ghappExit}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s after %q: (-want +got):\n%s", operation, answer, diff)
			}
		}
	}
}

// What the agent refuses, ghapp is not asked.
func TestRefusalOfTheUsersOwnAgentStands(t *testing.T) {
	own := newOwnAgent(t)
	own.serve(t, &fakeAgent{refusal: errors.New("acme/site: not installed")})
	want := result{"quit=1\n", "git-credential-ghapp: acme/site: not installed\n", exitDone}
	testkit.Diff(t, run(t, own.command(t, "get"), origin), want)
}
