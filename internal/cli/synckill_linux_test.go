package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// keepLarge are the arguments that keep acme/large, with all that it is made of.
func keepLarge(more ...string) []string {
	return append([]string{"acme/large", "--to", "deep/large", "--submodules", "--lfs", "--period", "1h"}, more...)
}

// keptMoments are those of a publication at which something waits for an answer.
func keptMoments() map[string]moment {
	list := moments()
	for _, name := range []string{"look-up of the installation", "mint", "git's first request"} {
		delete(list, name) // ghapp itself does that, or git does not come to it
	}
	list["ghapp's own question"] = moment{match: isSettle}
	return list
}

// Whenever a watch is killed: git ends with it, no secret is on the disk, and the next one
// publishes what this one could not.
func TestKilledWatchLeavesNoSecretAndNoGit(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	for name, at := range keptMoments() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.large(t)
			stop := m.traffic.hold(at.after, at.match)
			s := m.syncs(keepLarge()...)
			stop.wait(t)
			var git process
			running := false
			eventually(t, patience, func() string { // a program that has just begun has no environment yet
				if git, running = m.child(s.cmd.Process.Pid); running != at.git {
					return fmt.Sprintf("git runs: %t", running)
				}
				return ""
			})
			testkit.OK(t, s.cmd.Process.Kill())
			_ = s.cmd.Wait()
			eventually(t, 3*time.Second, func() string {
				if running && slices.ContainsFunc(m.processes(), func(p process) bool { return p.pid == git.pid }) {
					return "git goes on"
				}
				return ""
			})
			m.noSecretOnDisk()
			testkit.Fails(t, testkit.ErrorOf(os.Lstat(filepath.Join(m.work, "deep/large"))), "something is published")
			m.traffic.release()
			m.allEnded(patience)
			m.noSecretOnDisk()
			m.must(append([]string{"sync"}, keepLarge()[:5]...)...)
			m.complete("deep/large")
			releases := testkit.Must(os.ReadDir(filepath.Join(m.work, "deep/.large.ghapp/releases")))(t)
			testkit.Equal(t, len(releases), 1)
			m.noSecretOnDisk()
		})
	}
}

// Whoever kills it kills what a check has started as well, and who is deaf a while later; what a
// command has left running before, on purpose, lives on.
func TestKilledWatchLeavesNoCheck(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	for name, check := range map[string]string{
		"two programs": `: >"$PWD_OF_TEST/begun"; sleep 300; sleep 300`,
		"background":   `sleep 300 & : >"$PWD_OF_TEST/begun"; sleep 300`,
		"pipe":         `: >"$PWD_OF_TEST/begun"; sleep 300 | sleep 300`,
		"deaf":         `trap "" TERM; sleep 300 & : >"$PWD_OF_TEST/begun"; sleep 300`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			m.environ["PWD_OF_TEST"] = m.work
			cmd, _ := m.command("sync", "acme/site", "--to", "site", "--check", check)
			testkit.OK(t, cmd.Start())
			m.until("begun")
			if n := len(m.processes()); n < 2 {
				t.Errorf("%d processes are seen, so this test sees nothing", n)
			}
			testkit.OK(t, cmd.Process.Kill())
			_ = cmd.Wait()
			m.allEnded(patience)
		})
	}
}

// The end of a watch is no failure, whatever it is at, and takes what it has started with
// it.
func TestWatchThatIsEndedEndsWhatItHasStarted(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	hold := func(name string) func(*machine) []string {
		return func(m *machine) []string {
			at := keptMoments()[name]
			stop := m.traffic.hold(at.after, at.match)
			m.t.Cleanup(m.traffic.release)
			go func() {
				<-stop.reached
				_ = os.WriteFile(filepath.Join(m.work, "begun"), nil, 0o600)
			}()
			return keepLarge()
		}
	}
	// One that does not care for SIGTERM, and what it leaves in the background.
	deaf := `trap "" TERM; sleep 300 & : >"$PWD_OF_TEST/begun"; sleep 300`
	for name, begin := range map[string]func(*machine) []string{
		"question": hold("ghapp's own question"),
		"pack":     hold("middle of the pack"),
		"film":     hold("middle of a large file"),
		"check":    func(*machine) []string { return keepLarge("--check", `sleep 300 & : >"$PWD_OF_TEST/begun"; sleep 300`) },
		"deaf":     func(*machine) []string { return keepLarge("--check", deaf) },
		"exec":     func(*machine) []string { return keepLarge("--exec", `: >"$PWD_OF_TEST/begun"; sleep 300`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.large(t)
			m.environ["PWD_OF_TEST"] = m.work
			s := m.syncs(begin(m)...)
			m.until("begun")
			if name == "exec" { // a second one is no other
				_ = s.cmd.Process.Signal(syscall.SIGTERM)
			}
			s.ends()
			m.allEnded(time.Second)
			m.noSecretOnDisk()
			if _, err := os.Stat(filepath.Join(m.work, "deep/large")); (err == nil) != (name == "exec") {
				t.Errorf("what is published: %v", err)
			}
			for _, wrong := range []string{"failed; the directory", "published, but"} {
				testkit.Lacks(t, s.log(), wrong)
			}
			if name != "exec" {
				return
			}
			// The command is still owed.
			m.must(append([]string{"sync"}, append(keepLarge()[:5], "--exec", "echo done >done")...)...)
			testkit.Equal(t, m.read("deep/large/done"), "done\n", "the command was not run")
		})
	}
}

// Secrets of ours in variables are for ghapp alone: git's filters, and the programs that
// it starts, are none of ours.
func TestGitOfAWatchHasNoSecretOfOurs(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	m := w.large(t)
	m.environ["GHAPP_WEBHOOK_SECRET"], m.environ["GHAPP_SYNC_SECRET"] = webhookSecret, wishSecret
	m.environ["GHAPP_SYNC_NOTIFY_URL"] = "http://127.0.0.1:9/canary-in-the-address"
	m.keyInVariable(string(w.keyPEM))
	at := keptMoments()["middle of a large file"]
	stop := m.traffic.hold(at.after, at.match)
	s := m.syncs(keepLarge("--webhook", "127.0.0.1:0")...)
	stop.wait(t)
	eventually(t, patience, func() string {
		// A program that has just begun has no environment yet, and one that is to begin has
		// the memory of the watch until execve(2): such are looked at again.
		started := slices.DeleteFunc(m.processes(), func(p process) bool { return p.pid == s.cmd.Process.Pid })
		if len(started) < 2 {
			return fmt.Sprintf("%d programs were seen, so this test sees nothing", len(started))
		}
		for _, p := range started {
			if slices.Equal(p.args, s.cmd.Args) {
				return p.String() + " is the watch once more"
			}
		}
		for _, p := range started {
			m.noSecretIn("the arguments of "+p.String(), strings.Join(p.args, "\n"))
			m.noSecretIn("the environment of "+p.String(), p.environ)
			if strings.Contains(p.environ, "canary") {
				t.Errorf("%s has a secret of ghapp's", p)
			}
		}
		return ""
	})
	m.noSecretOnDisk()
	m.traffic.release()
	s.says("up to date")
	s.ends()
}

// A receiver that does not answer is not waited for when a watch is to end.
func TestSilentReceiverDoesNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	release := make(chan struct{})
	defer close(release)
	m.environ["GHAPP_SYNC_NOTIFY_URL"] = newSilent(t, release) + "/x"
	s := m.syncs("acme/site", "--branch", "deployment", "--to", "site", "--period", "100ms")
	for _, text := range []string{"1", "2", "3", "4", "5", "6"} {
		m.pushes(text)
		m.shows("site/deployment.txt", text)
	}
	ended := make(chan error, 1)
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	go func() { ended <- s.cmd.Wait() }()
	select {
	case err := <-ended:
		testkit.OK(t, err)
	case <-time.After(25 * time.Second): // one alone has less than a minute
		t.Error("it does not end")
	}
}
