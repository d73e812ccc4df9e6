//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// canary is the token of all agents here.
const canary = "ghs_canary_of_no_value"

// built is the directory that holds the helper as it is shipped, made by TestMain.
var built string

// The test binary under the name ghapp stands for ghapp itself: it prints its
// arguments and its standard input, or, if one of them is pid, its process ID, and
// ends with this exit code.
const ghappExit = 7

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "ghapp" {
		if slices.Contains(os.Args, "pid") {
			fmt.Println(os.Getpid())
			os.Exit(ghappExit)
		}
		fmt.Printf("%q\n", os.Args[1:])
		io.Copy(os.Stdout, os.Stdin)
		os.Exit(ghappExit)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "helper-"); err == nil {
		defer os.RemoveAll(built)
		// TestTwoUsers runs the helper for another user.
		err = os.Chmod(built, 0o755)
	}
	if err == nil {
		cmd := exec.Command("go", "build", "-trimpath", "-o", built, ".")
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		err = cmd.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// question is a request as an agent heard it.
type question struct {
	operation credential.Operation
	about     *credential.Credential
}

// fakeAgent remembers what it was asked, and answers with the canary or refuses.
type fakeAgent struct {
	heard   []question
	refusal error
	silent  bool
}

func (a *fakeAgent) Credential(_ context.Context, operation credential.Operation,
	about *credential.Credential) (*credential.Credential, error) {
	a.heard = append(a.heard, question{operation, about})
	if a.refusal != nil || a.silent {
		return nil, a.refusal
	}
	return answerTo(about), nil
}

func answerTo(about *credential.Credential) *credential.Credential {
	return credential.Answer(about, "x-access-token", secret.New(canary), time.Unix(4102444800, 0))
}

func serve(t *testing.T, h agent.Handler) string {
	t.Helper()
	l := testkit.Must(agent.Listen(t.TempDir()))(t)
	served := make(chan error)
	go func() { served <- agent.Serve(context.Background(), l, h) }()
	t.Cleanup(func() {
		testkit.OK(t, errors.Join(l.Close(), <-served))
	})
	return l.Path()
}

// command returns the helper with socket as its agent's and nothing on PATH.
func command(t *testing.T, socket string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(built, "git-credential-ghapp"), args...)
	// Not the agent of whoever runs the tests.
	cmd.Env = []string{"PATH=" + t.TempDir(), "XDG_RUNTIME_DIR=" + t.TempDir(), "GORACE=atexit_sleep_ms=0"}
	if socket != "" {
		cmd.Env = append(cmd.Env, "GHAPP_AGENT_SOCK="+socket)
	}
	return cmd
}

// result is what a run of the helper left.
type result struct {
	Stdout, Stderr string
	Code           int
}

func run(t *testing.T, cmd *exec.Cmd, stdin string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func encode(t *testing.T, c *credential.Credential) string {
	t.Helper()
	var out bytes.Buffer
	testkit.OK(t, c.Encode(&out))
	return out.String()
}

const origin = "protocol=https\nhost=github.com\npath=acme/site.git\n"

// What git 2.39.5, 2.47.3 and 2.55.0 wrote, byte by byte.
func TestAnswersGitsOwnBytes(t *testing.T) {
	names, err := filepath.Glob("../../credential/testdata/git/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no captured requests: %v", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data := testkit.Must(os.ReadFile(name))(t)
			request := testkit.Must(credential.Parse(bytes.NewReader(data)))(t)
			operation := strings.Split(filepath.Base(name), "-")[2]
			var a fakeAgent
			got := run(t, command(t, serve(t, &a), operation), string(data))
			var want result
			asked := 1
			switch credential.Operation(operation) {
			case credential.Get:
				want.Stdout = encode(t, answerTo(request))
			case credential.Store:
				asked = 0
			}
			testkit.Diff(t, got, want)
			if len(a.heard) != asked {
				t.Fatalf("the agent was asked %d times, want %d", len(a.heard), asked)
			}
			for _, q := range a.heard {
				testkit.Equal(t, string(q.operation), operation)
				testkit.Equal(t, encode(t, q.about), string(data))
			}
		})
	}
}

// What a later git may say is ignored, and the rest answered.
func TestAnswersRequestsWithUnknownAttributes(t *testing.T) {
	for name, more := range map[string]string{
		"keys and lists":     "ntlm=suppressed\nfuture[]=1\nfuture[]=\n=\nHost=evil.example\n",
		"a capability":       "capability[]=future\n",
		"the longest line":   "future=" + strings.Repeat("x", credential.MaxLine-len("future=\n")) + "\n",
		"an empty line":      "\nhost=evil.example\n",
		"no newline at last": "future=1",
	} {
		t.Run(name, func(t *testing.T) {
			var a fakeAgent
			got := run(t, command(t, serve(t, &a), "get"), origin+more)
			want := result{Stdout: "username=x-access-token\npassword=" + canary + "\npassword_expiry_utc=4102444800\n"}
			testkit.Diff(t, got, want)
			if len(a.heard) != 1 || a.heard[0].about.Host != "github.com" {
				t.Errorf("the agent heard %+v", a.heard)
			}
		})
	}
}

// CVE-2020-5260, CVE-2020-11008, CVE-2024-52006, and plain http: no token, and
// the agent is not even asked.
func TestGivesNoTokenTo(t *testing.T) {
	for _, tt := range []struct {
		name, in, stderr string
		code             int
	}{
		{"newline in a URL", "url=https://evil.example%0ahost=github.com/\n", "newline", exitFailed},
		{"carriage return in a URL", "url=https://evil.example%0dhost=github.com/\n", "carriage return", exitFailed},
		{"carriage return", "protocol=https\nhost=evil.example\rhost=github.com\n", "carriage return", exitFailed},
		{"carriage return at the end", "protocol=https\r\nhost=github.com\r\n", "carriage return", exitFailed},
		{"NUL", "protocol=https\nhost=github.com\x00.evil.example\n", "NUL", exitFailed},
		{"no equals sign", "protocol=https\nhost=github.com\nhello\n", "no equals sign", exitFailed},
		{"too long a line", origin + "x=" + strings.Repeat("x", credential.MaxLine) + "\n", "longer than", exitFailed},
		{"too much", origin + strings.Repeat("x="+strings.Repeat("x", 1021)+"\n", 1024), "more than", exitFailed},
		{"nothing", "", "no protocol or no host", exitFailed},
		{"no host", "protocol=https\npath=acme/site.git\n", "no protocol or no host", exitFailed},
		{"empty host", "protocol=https\nhost=\n", "no protocol or no host", exitFailed},
		{"no protocol", "host=github.com\n", "no protocol or no host", exitFailed},
		{"http", "protocol=http\nhost=github.com\n", `no token for "github.com" over "http"`, exitDone},
		{"http to what only looks like this machine",
			"protocol=http\nhost=127.0.0.1.evil.example\n", "no token for", exitDone},
		{"another protocol", "protocol=smtp\nhost=github.com\n", "no token for", exitDone},
		{"http to a host that moves the cursor", "protocol=http\nhost=\x1b[2Jgithub.com\u202e\n",
			`"\x1b[2Jgithub.com\u202e"`, exitDone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a fakeAgent
			got := run(t, command(t, serve(t, &a), "get"), tt.in)
			if got.Stdout != "" || got.Code != tt.code || !strings.Contains(got.Stderr, tt.stderr) {
				t.Errorf("got %+v, want code %d and %q", got, tt.code, tt.stderr)
			}
			if !isOneLine(got.Stderr) {
				t.Errorf("not one printable line: %q", got.Stderr)
			}
			if len(a.heard) > 0 {
				t.Errorf("the agent was asked for %+v", a.heard[0].about)
			}
		})
	}
}

func isOneLine(s string) bool {
	line, ok := strings.CutSuffix(s, "\n")
	return ok && !strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x202e })
}

// CVE-2024-53858: the agent decides by the host, so it must hear the host as it was said.
func TestTheAgentHearsTheHostAsItWasSaid(t *testing.T) {
	for _, host := range []string{
		"github.com", "GITHUB.COM", "github.com.", "github.com:443", "github.com:444", "github.com.evil.example",
		"evilgithub.com", "user@github.com@evil.example", "xn--gthub-n4a.com", " github.com", "g\u0131thub.com",
	} {
		a := fakeAgent{silent: true}
		got := run(t, command(t, serve(t, &a), "get"), "protocol=https\nhost="+host+"\n")
		if diff := cmp.Diff(result{}, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", host, diff)
		}
		if len(a.heard) != 1 || a.heard[0].about.Host != host {
			t.Errorf("%s: the agent heard %+v", host, a.heard)
		}
	}
}

func TestRefusalIsToldAndEndsTheSearch(t *testing.T) {
	for _, tt := range []struct {
		operation string
		want      result
	}{
		{"get", result{"quit=1\n", "git-credential-ghapp: acme/site: not installed \\x1b[2J\n", exitDone}},
		{"erase", result{"", "git-credential-ghapp: acme/site: not installed \\x1b[2J\n", exitFailed}},
	} {
		a := fakeAgent{refusal: errors.New("acme/site: not installed\n\x1b[2J")}
		got := run(t, command(t, serve(t, &a), tt.operation), origin)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", tt.operation, diff)
		}
	}
}

// TestBrokenAgentGivesNothing answers in ways no agent of ours does.
func TestBrokenAgentGivesNothing(t *testing.T) {
	for _, tt := range []struct{ name, answer, stderr string }{
		{"hangs up", "", "hung up before it answered"},
		{"hangs up within the token", "ghapp-agent/1 ok 100\nusername=x-access-token\npassword=" + canary,
			"hung up before it answered"},
		{"another protocol", "HTTP/1.1 200 OK\r\n\r\n" + canary, "not the protocol"},
		{"another version", "ghapp-agent/2 ok 0\n", "not the protocol"},
		{"no description", "ghapp-agent/1 ok 23\n" + canary + "\n", "no equals sign"},
		{"carriage return", "ghapp-agent/1 ok 24\npassword=" + canary[:13] + "\r\n", "carriage return"},
		{"too long", "ghapp-agent/1 ok 9999999\n", "more than"},
		{"endless line", strings.Repeat(canary, 1000), "malformed frame"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := testkit.Must(agent.Listen(t.TempDir()))(t)
			defer l.Close()
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				// Read first, or else the client cannot write what is not heard.
				io.CopyN(io.Discard, conn, int64(len(fmt.Sprintf("ghapp-agent/1 get %d\n%s", len(origin), origin))))
				io.WriteString(conn, tt.answer)
			}()
			got := run(t, command(t, l.Path(), "get"), origin)
			if got.Stdout != "quit=1\n" || got.Code != exitDone ||
				!strings.Contains(got.Stderr, tt.stderr) || !isOneLine(got.Stderr) {
				t.Errorf("got %+v, want quit=1 and %q", got, tt.stderr)
			}
			testkit.Lacks(t, got.Stderr, canary)
		})
	}
}

func TestAsksNoAgentOthersCouldHaveStarted(t *testing.T) {
	var a fakeAgent
	socket := serve(t, &a)
	testkit.OK(t, os.Chmod(filepath.Dir(socket), 0o777))
	got := run(t, command(t, socket, "get"), origin)
	if got.Stdout != "quit=1\n" || !strings.Contains(got.Stderr, "lets other users in") || len(a.heard) > 0 {
		t.Errorf("got %+v, the agent heard %v", got, a.heard)
	}
}

// TestTwoUsers lets a real second user ask, which only root can.
func TestTwoUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	var a fakeAgent
	socket := serve(t, &a)
	dir := filepath.Dir(socket)
	for _, open := range []bool{false, true} {
		if open {
			for name, mode := range map[string]os.FileMode{filepath.Dir(filepath.Dir(dir)): 0o755, dir: 0o755, socket: 0o666} {
				testkit.OK(t, os.Chmod(name, mode))
			}
		}
		cmd := command(t, socket, "get")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		got := run(t, cmd, origin)
		want := map[bool]string{false: "permission denied", true: "belongs to user 0, not 65534"}[open]
		if got.Stdout != "quit=1\n" || !strings.Contains(got.Stderr, want) || len(a.heard) > 0 {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
}

// blocked is an agent that waits for its client to go away.
// slow is an agent that answers when it is told to.
