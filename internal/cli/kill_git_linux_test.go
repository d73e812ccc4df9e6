package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// gitRun is plain git, started by a shell, that has come to a moment: with the user's
// agent, or under exec.
type gitRun struct {
	m     *machine
	agent *daemon // nil under exec
	cmd   *exec.Cmd
	out   *outputs
}

// gitMoments are those of plain git's way, with what it runs there. What is asked while
// the helper waits is asked for its answer.
func gitMoments() []gitMoment {
	const fetch, clone = "git init -q r && git -C r fetch -q ORIGIN/acme/large", "git clone -q ORIGIN/acme/large"
	withToken := func(r *http.Request) bool {
		return isDiscovery("acme/large")(r) && r.Header.Get("Authorization") != ""
	}
	return []gitMoment{
		{"look-up of the installation", fetch, moment{match: isCall("GET", "/installation")}, true},
		{"mint", fetch, moment{match: isCall("POST", "/access_tokens")}, true},
		{"question for the new token", clone, moment{match: isSettle}, true},
		{"git's request with the token", fetch, moment{match: withToken}, false},
		{"middle of the pack", clone, moment{match: isUploadPack("acme/large"), after: largeSize / 2}, false},
	}
}

type gitMoment struct {
	name   string
	script string
	at     moment
	helper bool // it waits
}

// gitVictims are the processes that run then, by what tells them from the others.
func gitVictims() map[string]func(process) bool {
	named := func(name string, words ...string) func(process) bool {
		return func(p process) bool {
			return filepath.Base(p.args[0]) == name &&
				!slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(p.args, w) })
		}
	}
	return map[string]func(process) bool{
		"agent": named("ghapp", "agent"),
		"exec":  named("ghapp", "exec"),
		"shell": func(p process) bool {
			return p.args[0] == "sh" && strings.Contains(p.args[len(p.args)-1], "begun")
		},
		"git fetch":       named("git", "fetch"),
		"git clone":       named("git", "clone"),
		"git-remote-http": named("git-remote-http"),
		"helper":          named("git-credential-ghapp", "get"),
	}
}

// gitAt starts git and waits until it has come to the moment.
func (m *machine) gitAt(under string, at gitMoment) *gitRun {
	m.t.Helper()
	m.environ["GIT_TERMINAL_PROMPT"] = "0"
	script := m.shell(": >begun; until [ -e go ]; do sleep 0.02; done; " + at.script + "; echo $? >code")
	r := &gitRun{m: m}
	if under == "exec" {
		r.cmd, r.out = m.command(append([]string{"exec", "acme/web"}, script...)...)
	} else {
		m.gitSetUp()
		r.agent = m.agent()
		r.cmd, r.out = m.plain("ghapp", script[2:]...)
		r.cmd.Path, r.cmd.Args[0] = "/bin/sh", "sh"
	}
	testkit.OK(m.t, r.cmd.Start())
	m.until("begun")
	stop := m.traffic.hold(at.at.after, at.at.match)
	m.write(filepath.Join(m.work, "go"), "")
	stop.wait(m.t)
	return r
}

// kill kills the one process of a kind.
func (r *gitRun) kill(kind string) {
	r.m.t.Helper()
	var found []process
	eventually(r.m.t, patience, func() string {
		running := r.m.processes()
		found = slices.DeleteFunc(slices.Clone(running), func(p process) bool { return !gitVictims()[kind](p) })
		if len(found) != 1 { // a fork that has not begun its own program looks like its parent
			return fmt.Sprintf("%d are a %s: %v", len(found), kind, running)
		}
		return ""
	})
	if r.m.t.Failed() {
		r.m.t.FailNow()
	}
	testkit.OK(r.m.t, syscall.Kill(found[0].pid, syscall.SIGKILL))
	if kind == "agent" {
		r.agent.wait()
	}
}

// end lets git go on, and waits until nothing runs any more but the agent.
func (r *gitRun) end() result {
	r.m.t.Helper()
	r.m.traffic.release()
	_ = r.cmd.Wait() // its exit code is in the result
	eventually(r.m.t, patience, func() string {
		left := slices.DeleteFunc(r.m.processes(), func(p process) bool {
			return r.agent != nil && p.pid == r.agent.cmd.Process.Pid
		})
		if len(left) > 0 {
			return fmt.Sprintf("still running: %v", left)
		}
		return ""
	})
	return r.out.result(r.cmd)
}

// asks fails unless git gets an answer now.
func (r *gitRun) asks(how string) {
	m := r.m
	m.t.Helper()
	list := m.server.URL + "/acme/large"
	var out *outputs
	var cmd *exec.Cmd
	if r.agent == nil {
		cmd, out = m.command("exec", "acme/web", "--", "git", "ls-remote", list)
	} else {
		cmd, out = m.userGit(".", "ls-remote", list)
	}
	if err := cmd.Run(); err != nil || !strings.Contains(out.stdout.String(), "refs/heads/main") {
		m.t.Errorf("afterwards, %s, git ends with %v\n%s", how, err, out.stderr.String())
	}
}

// Whatever is killed, and whenever: nothing secret stays on the disk, nothing runs on,
// and the next question is answered.
func TestPlainGitSurvivesWhateverIsKilled(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	for under, victims := range map[string][]string{
		"agent": {"agent", "shell", "git", "git-remote-http", "helper"},
		"exec":  {"exec", "shell", "git", "git-remote-http", "helper"},
	} {
		for _, at := range gitMoments() {
			if under == "exec" && at.name == "look-up of the installation" {
				continue // exec has done that before
			}
			for _, victim := range victims {
				if victim == "helper" && !at.helper {
					continue
				}
				if victim == "git" {
					victim = map[bool]string{true: "git clone", false: "git fetch"}[strings.HasPrefix(at.script, "git clone")]
				}
				t.Run(fmt.Sprintf("%s, %s, %s", under, at.name, victim), func(t *testing.T) {
					t.Parallel()
					m := w.machine(t)
					run := m.gitAt(under, at)
					run.kill(victim)
					m.noSecretOnDisk()
					r := run.end()
					m.noSecretOnDisk()
					m.noSecretIn("the output", r.stdout+r.stderr)
					switch code, _ := os.ReadFile(filepath.Join(m.work, "code")); {
					case victim == "agent" && string(code) != "0\n":
						t.Errorf("git has missed the agent: exit code %q\n%s", code, r.stderr)
					case victim == "helper" && (string(code) == "0\n" || len(code) == 0):
						t.Errorf("git has got something from nobody: exit code %q", code)
					}
					run.asks("as it is left")
					if victim == "agent" {
						run.agent = m.agent()
						run.asks("with another agent")
						testkit.Equal(t, m.status().Requests.Answered, 1, "it has answered")
					}
					m.noSecretOnDisk()
				})
			}
		}
	}
}
