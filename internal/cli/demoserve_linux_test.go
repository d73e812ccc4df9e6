package cli_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A stranger pastes what is printed into a second terminal, and has a clone. After Ctrl-C
// that is all there is.
func TestDemoThatServesIsPastedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, name := range []string{"GHAPP_APP", "GHAPP_KEY", "GHAPP_HOST", "GHAPP_CA_FILE"} {
		delete(m.environ, name)
	}
	cmd, out := m.command("demo", "--serve")
	shown := &outputBuffer{}
	cmd.Stdout = shown
	testkit.OK(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	for late := time.Now().Add(patience); !strings.Contains(shown.String(),
		"Ctrl-C ends it"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("it does not serve:\n%s\n%s", shown, out.stderr.String())
		}
	}
	lines := regexp.MustCompile(`(?s)\n\n(  export .*?)\n\n`).FindStringSubmatch(shown.String())
	if lines == nil {
		t.Fatalf("there is nothing to paste:\n%s", shown)
	}
	second, _ := m.command() // for its environment
	pasted := exec.CommandContext(t.Context(), "sh", "-ec", lines[1])
	pasted.Env, pasted.Dir = second.Env, m.work
	if output, err := pasted.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, lines[1], output)
	}
	testkit.Must(os.Stat(filepath.Join(m.work, "site", "index.html")))(t)
	if left, _ := os.ReadDir(m.cache); len(left) > 0 {
		t.Errorf("in the user's cache: %v", left)
	}
	testkit.OK(t, cmd.Process.Signal(syscall.SIGINT))
	testkit.OK(t, cmd.Wait(), "%s", out.stderr.String())
	if left, _ := filepath.Glob(filepath.Join(m.temp, "ghapp-demo-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestDemoThatServesTellsPrograms(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	cmd, _ := m.command("demo", "--serve", "--json")
	cmd.Stdout = nil
	stdout := testkit.Must(cmd.StdoutPipe())(t)
	testkit.OK(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	var told struct {
		Environment map[string]string
		Repository  string
	}
	if err := json.NewDecoder(stdout).Decode(&told); err != nil || told.Repository != "acme/site" ||
		told.Environment["GHAPP_KEY"] == "" {
		t.Errorf("%+v, %v", told, err)
	}
	testkit.OK(t, cmd.Process.Signal(syscall.SIGTERM))
	testkit.OK(t, cmd.Wait())
}
