//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestWithoutAnAgentGhappAnswers(t *testing.T) {
	self := testkit.Must(os.Executable())(t)
	// place puts program into a new directory under name.
	place := func(t *testing.T, name, program string) string {
		t.Helper()
		dir := t.TempDir()
		testkit.OK(t, os.Symlink(program, filepath.Join(dir, name)))
		return dir
	}
	// install returns a directory with the helper itself and ghapp beside it.
	install := func(t *testing.T) string {
		t.Helper()
		dir := place(t, "ghapp", self)
		data := testkit.Must(os.ReadFile(filepath.Join(built, "git-credential-ghapp")))(t)
		testkit.OK(t, os.WriteFile(filepath.Join(dir, "git-credential-ghapp"), data, 0o755))
		return dir
	}
	dead := filepath.Join(t.TempDir(), "agent")
	socket := testkit.Must(net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: dead}))(t)
	socket.SetUnlinkOnClose(false)
	socket.Close()

	for _, tt := range []struct {
		name   string
		socket string
		args   []string
		want   string
	}{
		{"no agent is named", "", []string{"get"}, `["credential" "get"]`},
		{"the agent's socket is missing", "/nonexistent/agent", []string{"get"}, `["credential" "get"]`},
		{"the agent is dead", dead, []string{"get"}, `["credential" "get"]`},
		{"erase", "", []string{"erase"}, `["credential" "erase"]`},
		{"flags are passed on", "", []string{"--app", "Iv23li", "-q", "get"}, `["credential" "--app" "Iv23li" "-q" "get"]`},
		{"flags name an identity no agent was asked for", "live", []string{"--app=Iv23li", "get"},
			`["credential" "--app=Iv23li" "get"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a fakeAgent
			if tt.socket == "live" {
				tt.socket = serve(t, &a)
			}
			// ghapp has what git said, whole; what it is not is ours to judge.
			want := result{Stdout: tt.want + "\n" + "protocol=http\nhost=\r\n" + origin, Code: ghappExit}
			stdin := "protocol=http\nhost=\r\n" + origin

			onPath := command(t, tt.socket, tt.args...)
			onPath.Env = append(onPath.Env, "PATH="+place(t, "ghapp", self))
			beside := command(t, tt.socket, tt.args...)
			beside.Path = filepath.Join(install(t), "git-credential-ghapp")
			linked := command(t, tt.socket, tt.args...)
			linked.Path = filepath.Join(place(t, "git-credential-ghapp", filepath.Join(install(t), "git-credential-ghapp")),
				"git-credential-ghapp")
			for where, cmd := range map[string]*exec.Cmd{"on PATH": onPath, "beside": beside,
				"beside the link's target": linked} {
				if diff := cmp.Diff(want, run(t, cmd, stdin)); diff != "" {
					t.Errorf("ghapp %s: (-want +got):\n%s", where, diff)
				}
			}
			if len(a.heard) > 0 {
				t.Errorf("the agent was asked")
			}
		})
	}

	t.Run("beside wins over PATH", func(t *testing.T) {
		cmd := command(t, "", "get")
		cmd.Path = filepath.Join(install(t), "git-credential-ghapp")
		cmd.Env = append(cmd.Env, "PATH="+place(t, "ghapp", "/bin/false"))
		testkit.Equal(t, run(t, cmd, origin).Code, ghappExit)
	})
	t.Run("not from the working directory", func(t *testing.T) {
		cmd := command(t, "", "get")
		cmd.Dir = place(t, "ghapp", self)
		cmd.Env = append(cmd.Env, "PATH=.")
		if got := run(t, cmd, origin); got.Code != exitDone || got.Stdout != "quit=1\n" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("the longest request", func(t *testing.T) {
		cmd := command(t, "", "get")
		cmd.Env = append(cmd.Env, "PATH="+place(t, "ghapp", self))
		stdin := strings.Repeat("x", credential.MaxSize)
		if got := run(t, cmd, stdin); got.Stdout != `["credential" "get"]`+"\n"+stdin {
			t.Errorf("ghapp read %d bytes", len(got.Stdout))
		}
	})
}

func TestWithoutAgentAndGhapp(t *testing.T) {
	reason := fmt.Sprintf("git-credential-ghapp: no agent is running and ghapp is neither in %s nor on PATH\n", built)
	for operation, want := range map[string]result{
		"get":   {"quit=1\n", reason, exitDone},
		"erase": {"", reason, exitFailed},
	} {
		if diff := cmp.Diff(want, run(t, command(t, "", operation), origin)); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", operation, diff)
		}
	}
}

func TestAnswersByItself(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want result
	}{
		{[]string{"capability"}, result{Stdout: "version 0\ncapability authtype\n"}},
		{[]string{"store"}, result{}},
		{[]string{"--app", "x", "store"}, result{}},
		{[]string{"list-future"}, result{}},
		{nil, result{Stderr: usage + "\n", Code: exitUsage}},
		{[]string{"--version"}, result{Stderr: usage + "\n", Code: exitUsage}},
		{[]string{"get", "-q"}, result{Stderr: usage + "\n", Code: exitUsage}},
	} {
		if diff := cmp.Diff(tt.want, run(t, command(t, "", tt.args...), origin)); diff != "" {
			t.Errorf("%q: (-want +got):\n%s", tt.args, diff)
		}
	}
}

func TestStoreTakesAllThatIsWritten(t *testing.T) {
	cmd := command(t, "", "store")
	stdin := testkit.Must(cmd.StdinPipe())(t)
	testkit.OK(t, cmd.Start())
	testkit.Must(io.WriteString(stdin, strings.Repeat("x", credential.MaxSize)))(t)
	stdin.Close()
	testkit.OK(t, cmd.Wait())
}

func TestGitAndTheHelper(t *testing.T) {
	gitPath := testkit.Must(exec.LookPath("git"))(t)
	// After ours a helper is asked that would tell of it.
	witness := filepath.Join(t.TempDir(), "asked")
	fill := func(t *testing.T, h agent.Handler) result {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), gitPath, "-c", "credential.helper=", "-c", "credential.helper=ghapp",
			"-c", "credential.helper=!touch '"+witness+"'; false", "-c", "credential.useHttpPath=true", "credential", "fill")
		cmd.Env = []string{
			"PATH=" + built + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
			"GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
			"GHAPP_AGENT_SOCK=" + serve(t, h),
		}
		return run(t, cmd, origin)
	}
	t.Run("a token", func(t *testing.T) {
		got := fill(t, &fakeAgent{})
		if !strings.Contains(got.Stdout, "\npassword="+canary+"\n") || got.Stderr != "" || got.Code != 0 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a refusal", func(t *testing.T) {
		got := fill(t, &fakeAgent{refusal: errors.New("acme/site: not installed")})
		want := result{"", "git-credential-ghapp: acme/site: not installed\n" +
			"fatal: credential helper 'ghapp' told us to quit\n", 128}
		testkit.Diff(t, got, want)
	})
	testkit.ErrorIs(t, testkit.ErrorOf(os.Stat(witness)), os.ErrNotExist, "the next helper was asked")
	t.Run("not ours", func(t *testing.T) {
		testkit.Equal(t, fill(t, &fakeAgent{silent: true}).Code, 128)
		testkit.OK(t, testkit.ErrorOf(os.Stat(witness)), "the next helper was not asked")
	})
}
