//go:build unix

package process

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// killedWith is the variable in which this test, started again, finds the command line that it
// runs until it is killed.
const killedWith = "GHAPP_TEST_KILLED_WITH"

func TestMain(m *testing.M) {
	if line := os.Getenv(killedWith); line != "" {
		cmd := exec.CommandContext(context.Background(), "/bin/sh", "-c", line)
		cmd.Stdout = os.Stdout
		_ = RunShell(context.Background(), cmd)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// What a shell has started ends with who has started the shell, though that is killed and it is
// deaf, and there is no sleep to wait with. The guard ends too.
func TestRunShellLeavesNothingWhereItIsKilled(t *testing.T) {
	for name, path := range map[string]string{"as usual": os.Getenv("PATH"), "no PATH": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			self := testkit.Must(os.Executable())(t)
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = []string{"PATH=" + path,
				killedWith + `=trap "" TERM; while :; do read -r x </dev/null; done & echo $!; wait; wait`}
			read, write := testkit.Must2(os.Pipe())(t)
			defer read.Close()
			cmd.Stdout = write
			testkit.OK(t, cmd.Start())
			write.Close()
			lines := bufio.NewReader(read)
			deaf := testkit.Must(strconv.Atoi(strings.TrimSpace(testkit.Must(lines.ReadString('\n'))(t))))(t)
			testkit.OK(t, cmd.Process.Kill())
			_ = cmd.Wait()
			for until := time.Now().Add(20 * time.Second); alive(deaf); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("what it has started lives on")
				}
			}
			// Whoever has the pipe, the shell among them, has ended.
			_ = read.SetReadDeadline(time.Now().Add(20 * time.Second))
			testkit.ErrorContains(t, testkit.ErrorOf(lines.ReadString('\n')), "EOF")
		})
	}
}

// A guard that is not needed any more is no zombie, and has ended nothing that was left on purpose.
func TestRunShellLeavesWhatIsLeftOnPurpose(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 300 </dev/null >/dev/null 2>&1 & echo $!")
	var out strings.Builder
	cmd.Stdout = &out
	testkit.OK(t, RunShell(t.Context(), cmd))
	left := testkit.Must(strconv.Atoi(strings.TrimSpace(out.String())))(t)
	process := testkit.Must(os.FindProcess(left))(t)
	defer func() { _ = process.Kill() }() // it may have ended
	time.Sleep(50 * time.Millisecond)
	testkit.Equal(t, alive(left), true, "what was left on purpose lives")
	all, _ := exec.Command("ps", "-A", "-o", "ppid=,stat=").Output()
	for line := range strings.Lines(string(all)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == strconv.Itoa(os.Getpid()) {
			testkit.Lacks(t, fields[1], "Z")
		}
	}
}

func BenchmarkRunShell(b *testing.B) {
	for name, run := range map[string]func(context.Context, *exec.Cmd) error{
		"guarded": RunShell,
		"alone":   func(ctx context.Context, cmd *exec.Cmd) error { return Run(ctx, cmd, true) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := run(b.Context(), exec.CommandContext(b.Context(), "/bin/sh", "-c", ":")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
