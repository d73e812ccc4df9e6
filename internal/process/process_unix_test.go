//go:build unix

package process

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// What a program has started ends with it, though it is deaf to SIGTERM.
func TestRunEndsAllThatWasStarted(t *testing.T) {
	for name, apart := range map[string]bool{"in a group": false, "in a session": true} {
		t.Run(name, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			cmd := exec.CommandContext(ctx, "/bin/sh", "-c",
				`sh -c 'trap "" TERM; echo $$; while :; do sleep 1; done' & wait`)
			cmd.WaitDelay = 200 * time.Millisecond
			read, write := testkit.Must2(os.Pipe())(t)
			defer read.Close()
			cmd.Stdout = write
			ended := make(chan error, 1)
			go func() { ended <- Run(ctx, cmd, apart) }()
			line := testkit.Must(bufio.NewReader(read).ReadString('\n'))(t)
			grandchild := testkit.Must(strconv.Atoi(strings.TrimSpace(line)))(t)
			end()
			testkit.Fails(t, <-ended)
			for until := time.Now().Add(10 * time.Second); alive(grandchild); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("what it has started lives on")
				}
			}
		})
	}
}

// alive reports whether there is a process that is no zombie.
func alive(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func TestRunOfWhatCannotBeStarted(t *testing.T) {
	ctx := t.Context()
	err := Run(ctx, exec.CommandContext(ctx, filepath.Join(t.TempDir(), "none")), false)
	testkit.ErrorIs(t, err, os.ErrNotExist)
}

func TestSuperviseEndsAsTheProgramDoes(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -KILL $$": 128 + int(syscall.SIGKILL)} {
		code, _ := Supervise(t.Context(), exec.Command("/bin/sh", "-c", script))
		testkit.Equal(t, code, want, "%s", script)
	}
	_, err := Supervise(t.Context(), exec.Command(filepath.Join(t.TempDir(), "none")))
	testkit.ErrorIs(t, testkit.ErrorAs[*StartError](t, err), os.ErrNotExist)
}

func TestSuperviseStartsNothingAfterTheEnd(t *testing.T) {
	why := errors.New("enough")
	ctx, end := context.WithCancelCause(t.Context())
	end(why)
	made := filepath.Join(t.TempDir(), "made")
	_, err := Supervise(ctx, exec.Command("/bin/sh", "-c", `: >"$0"`, made))
	testkit.ErrorIs(t, err, why)
	testkit.ErrorIs(t, testkit.ErrorOf(os.Stat(made)), os.ErrNotExist)
}

// A signal to this process is the program's, and ends what waits for one beside it.
func TestSupervisePassesSignalsOn(t *testing.T) {
	until, stop := UntilSignal(t.Context())
	defer stop()
	read, write := testkit.Must2(os.Pipe())(t)
	defer read.Close()
	child := exec.Command("/bin/sh", "-c", `trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done`)
	child.Stdout = write
	go func() {
		_, _ = bufio.NewReader(read).ReadString('\n')
		_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	}()
	code, _ := Supervise(t.Context(), child)
	testkit.Equal(t, code, 9)
	<-until.Done()
}
