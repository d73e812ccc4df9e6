package cli_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const beforeEdit = "apps:\n  a:\n    app: 1\n"

// editing is a machine with a config file and an editor, a script of the shell's; $1 is
// the file that it edits.
func editing(t *testing.T, editor string) (m *machine, file string) {
	t.Helper()
	m = newMachine(t)
	for _, name := range []string{"GHAPP_APP", "GHAPP_KEY", "GHAPP_HOST"} {
		delete(m.environ, name)
	}
	file = filepath.Join(m.home, ".config/ghapp/config.yaml")
	m.write(file, beforeEdit)
	m.environ["VISUAL"] = filepath.Join(m.home, "editor")
	m.write(m.environ["VISUAL"], "#!/bin/sh\n"+editor)
	m.mode(m.environ["VISUAL"], 0o755)
	return m, file
}

// beside are the copies that were kept.
func beside(t *testing.T, file string) []string {
	t.Helper()
	kept := testkit.Must(filepath.Glob(filepath.Join(filepath.Dir(file), "config.edit-*.yaml")))(t)
	return kept
}

func wantText(t *testing.T, file, want string) {
	t.Helper()
	testkit.Equal(t, string(testkit.Must(os.ReadFile(file))(t)), want, "%s", file)
}

// As visudo does: what is wrong is told, and edited again in the text as it was left.
func TestConfigEditIsEditedAgainOnATerminal(t *testing.T) {
	t.Parallel()
	const editor = "if grep -q colour \"$1\"; then sed -i 's/colour/host/' \"$1\"; " +
		"else echo '    colour: x.example' >>\"$1\"; fi\n"
	for answer, want := range map[string]struct {
		code int
		text string
	}{
		"\n":   {0, beforeEdit + "    host: x.example\n"},
		"y\n":  {0, beforeEdit + "    host: x.example\n"},
		"n\n":  {3, beforeEdit},
		"\x04": {3, beforeEdit},
	} {
		t.Run(fmt.Sprintf("%q", answer), func(t *testing.T) {
			t.Parallel()
			m, file := editing(t, editor)
			term := m.terminal("config", "edit")
			if _, err := io.WriteString(term.master, answer); err != nil { // it waits in the terminal
				t.Fatal(err)
			}
			shown, code := term.wait()
			if code != want.code || strings.Count(shown, ".yaml:4: unknown key \"colour\"") != 1 ||
				!strings.Contains(shown, "Edit it again? [Y/n]") {
				t.Errorf("exit code %d, want %d\n%s", code, want.code, shown)
			}
			wantText(t, file, want.text)
			kept := beside(t, file)
			if want.code == 0 {
				if len(kept) > 0 {
					t.Errorf("kept: %v", kept)
				}
				return
			}
			if len(kept) != 1 || !strings.Contains(shown, "kept in "+kept[0]) {
				t.Fatalf("kept: %v\n%s", kept, shown)
			}
			wantText(t, kept[0], beforeEdit+"    colour: x.example\n")
		})
	}
}

func TestConfigInADirectoryThatIsReadOnly(t *testing.T) {
	t.Parallel()
	needsTwoUsers(t) // root writes everywhere
	m, file := editing(t, "echo '# mine' >>\"$1\"\necho ran >\"$HOME/ran\"\n")
	m.shared()
	m.mode(m.environ["VISUAL"], 0o755)
	m.mode(filepath.Dir(file), 0o500)
	for _, args := range [][]string{{"set", "a.host", "x.example"}, {"unset", "a"}, {"edit"}} {
		r := m.ghapp(append([]string{"config"}, args...)...)
		if r.code != 3 || !strings.Contains(r.stderr, "permission denied") ||
			!strings.Contains(r.stderr, "hint: run it as the user who owns the file") {
			t.Errorf("%q: exit code %d\n%s", args, r.code, r.stderr)
		}
	}
	wantText(t, file, beforeEdit)
	testkit.Fails(t, testkit.ErrorOf(os.Stat(filepath.Join(m.home, "ran"))), "the editor was started for nothing")
	entries := testkit.Must(os.ReadDir(filepath.Dir(file)))(t)
	testkit.Equal(t, len(entries), 1)
}

// The copy has in it what the file has, a PIN among it, and so has what is kept, though
// the editor made a new file with its own mode.
func TestConfigEditKeepsThePINToItsOwner(t *testing.T) {
	t.Parallel()
	m, file := editing(t, "stat -c %a \"$1\" >\"$HOME/mode\"\ntr '\\060-\\071' x <\"$1\" >\"$1.new\"\necho '    colour: "+
		"red' >>\"$1.new\"\nchmod 0666 \"$1.new\"\nmv \"$1.new\" \"$1\"\n")
	m.write(file, beforeEdit+"    key: pkcs11:object=app?pin-value=canary\n")
	m.mode(file, 0o644)
	m.must("config", "show")
	r := m.ghapp("config", "edit")
	kept := beside(t, file)
	if r.code != 3 || len(kept) != 1 || strings.Contains(r.stdout+r.stderr, "canary") {
		t.Fatalf("exit code %d, kept %v\n%s", r.code, kept, r.stderr)
	}
	wantText(t, filepath.Join(m.home, "mode"), "600\n")
	info := testkit.Must(os.Stat(kept[0]))(t)
	testkit.Equal(t, info.Mode(), fs.FileMode(0o600))
}
