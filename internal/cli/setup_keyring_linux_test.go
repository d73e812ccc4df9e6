package cli_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// storedKey is the key that the keyring has under a name.
func (m *machine) storedKey(name string) string {
	m.t.Helper()
	return m.ran("", "secret-tool", "lookup", "service", "ghapp", "username", name)
}

// configHas fails unless the config file has a line.
func (m *machine) configHas(line string) {
	m.t.Helper()
	text, err := os.ReadFile(m.configPath())
	if err != nil || !strings.Contains(string(text), "\n"+line+"\n") {
		m.t.Errorf("%v: %q is not in\n%s", err, line, text)
	}
}

func TestSetupPutsTheKeyIntoTheKeyring(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	m.emptyKeyring()
	m.ran("another's", "secret-tool", "store", "--label=Another", "service", "ghapp", "username", "acme-deployer")
	r := m.setup("--org", "acme", "--name", "Acme Deployer", "--keyring", "-v")
	p.open(r.page + "/")
	testkit.Contains(t, p.text, "in its keyring")
	p.press()
	p.press()
	p.press("install_target=selected", "repository=acme/site")
	p.refresh()
	done := r.result()
	if done.code != 0 || !strings.Contains(done.stderr, "has its key in keyring:acme-deployer-2") {
		t.Fatalf("exit code %d\n%s", done.code, done.stderr)
	}
	m.configHas("    key: keyring:acme-deployer-2")
	key := m.storedKey("acme-deployer-2")
	if !strings.HasPrefix(key, "-----BEGIN RSA PRIVATE KEY-----\n") || m.storedKey("acme-deployer") != "another's" {
		t.Error("the keyring has something else")
	}
	line := strings.Split(key, "\n")[3]
	if found := search([]byte(done.stdout+done.stderr), []string{line}); found != "" {
		t.Errorf("the key was told:\n%s", done.stderr)
	}
	_ = filepath.WalkDir(m.root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if text, _ := os.ReadFile(path); strings.Contains(string(text), line) {
				t.Errorf("the key is in %s", path)
			}
		}
		return nil
	})
	delete(m.environ, "GHAPP_HOST")
	m.must("clone", "acme/site")
}

// A key is made once: where it could not be kept, none is made.
func TestSetupTriesTheKeyringBeforeItBegins(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(*machine)
		code    int
		says    []string
	}{
		"that is locked": {func(m *machine) { m.emptyKeyring(); m.lockKeyring() }, 5,
			[]string{"locked collection", "unlock the keyring"}},
		"that has no session": {func(m *machine) {
			m.environ["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=" + m.root + "/nowhere"
		},
			5, []string{"it cannot be reached", "DBUS_SESSION_BUS_ADDRESS"}},
		"that has no program": {func(m *machine) { m.environ["PATH"] = filepath.Join(m.root, "bin") }, 3,
			[]string{"secret-tool is not on PATH", "apt-get install libsecret-tools"}},
		"that waits for a person": {func(m *machine) {
			m.shellProgram("secret-tool", "exec sleep 3600")
			m.environ["GHAPP_KEY_TIMEOUT"] = "1s"
		}, 5, []string{"waited for 1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newNewcomer(t)
			test.prepare(m)
			r := m.startSetup("--org", "acme", "--keyring")
			done := r.result()
			for _, text := range append(test.says, "the keyring does not keep what it is given, so nothing was begun",
				"leave --keyring out") {
				testkit.Equal(t, done.code, test.code)
				testkit.Contains(t, done.stderr, text)
			}
			testkit.Equal(t, len(m.requests()), 0, "GitHub was asked")
			m.nothingKept()
		})
	}
}

// A key that the keyring takes no more is not lost: it is in a file, and the App works.
func TestSetupKeepsTheKeyThatTheKeyringDoesNotTake(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	m.emptyKeyring()
	r := m.setup("--org", "acme", "--name", "Late", "--keyring")
	m.lockKeyring()
	p.create(r)
	p.press("install_target=all")
	p.refresh()
	done := r.result()
	file := filepath.Join(filepath.Dir(m.configPath()), "late.pem")
	done.ends(t, 0, "the keyring did not take the key, which is in a file that only you can read", file)
	testkit.Equal(t, testkit.Must(os.Stat(file))(t).Mode().Perm(), 0o600)
	m.configHas("    key: late.pem")
	m.must("clone", "acme/site")
}

// Whoever ends the program while the keyring waits still has the key.
func TestSetupThatIsInterruptedAtTheKeyringKeepsTheKey(t *testing.T) {
	t.Parallel()
	m, p := newNewcomer(t), newPerson(t)
	// It takes the trial, and then waits to be unlocked.
	m.shellProgram("secret-tool", `
case $* in
store*trial-*) exec cat >"$HOME/trial" ;;
lookup*trial-*) exec cat "$HOME/trial" ;;
clear*trial-*) exec rm "$HOME/trial" ;;
lookup*) exit 1 ;;
esac
echo waiting >"$HOME/waits"
exec sleep 3600`)
	testkit.OK(t, syscall.Mkfifo(filepath.Join(m.home, "waits"), 0o600))
	r := m.setup("--org", "acme", "--name", "Ended", "--keyring")
	go func() {
		_, _ = os.ReadFile(filepath.Join(m.home, "waits")) // ends when it waits
		_ = r.cmd.Process.Signal(syscall.SIGINT)
	}()
	p.open(r.page + "/")
	p.press()
	p.press()
	done := r.result()
	file := filepath.Join(filepath.Dir(m.configPath()), "ended.pem")
	if done.code != 130 || !strings.Contains(done.stderr, "the keyring did not take the key") ||
		!strings.Contains(done.stderr, file) ||
		!strings.Contains(done.stderr, "The App and its key are kept. To go on with its installation: ghapp setup") {
		t.Fatalf("exit code %d\n%s", done.code, done.stderr)
	}
	m.configHas("    key: ended.pem")
	testkit.Contains(t, m.must("keys", "check").stdout, "belongs to Ended")
}

func TestImportPutsTheKeyIntoTheKeyring(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(*machine)
		args    []string
		says    string
		stays   bool // the file
	}{
		"of a file": {nil, []string{"--key", "app.pem"},
			"A copy of the key is in keyring:deployer; FILE is not needed any more.", true},
		"of a file, moved": {nil, []string{"--key", "app.pem", "--move"},
			"The key was moved from FILE to keyring:deployer.\n", false},
		"of a file of others": {func(m *machine) { chmod(m, filepath.Join(m.work, "app.pem"), 0o644) },
			[]string{"--key", "app.pem", "--move"}, "Others could read it until now", false},
		"of a variable": {func(m *machine) { m.environ["THE_KEY"] = string(m.keyPEM) },
			[]string{"--key", "env:THE_KEY"}, "The key belongs to Deployer", true},
		"of the variable": {func(m *machine) { m.environ["GHAPP_PRIVATE_KEY"] = string(m.keyPEM) }, nil,
			"The key belongs to Deployer", true},
		"that is there already": {func(m *machine) {
			m.ran(string(m.keyPEM), "secret-tool", "store", "--label=x", "service", "ghapp", "username", "deployer")
		}, []string{"--key", "app.pem"}, "A copy of the key is in keyring:deployer", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newNewcomer(t)
			m.emptyKeyring()
			file := filepath.Join(m.work, "app.pem")
			m.write(file, string(m.keyPEM))
			if test.prepare != nil {
				test.prepare(m)
			}
			done := m.must(append([]string{"setup", "import", "--app", "1234", "--keyring"}, test.args...)...)
			if says := strings.ReplaceAll(test.says, "FILE", file); !strings.Contains(done.stderr, says) {
				t.Errorf("%q was not told:\n%s", says, done.stderr)
			}
			m.configHas("    key: keyring:deployer")
			testkit.Equal(t, m.storedKey("deployer"), string(m.keyPEM), "the keyring has another key")
			if _, err := os.Stat(file); (err == nil) != test.stays {
				t.Errorf("the file: %v", err)
			}
			for _, name := range []string{"GHAPP_PRIVATE_KEY", "THE_KEY"} {
				delete(m.environ, name)
			}
			_ = os.Remove(file)
			m.must("keys", "check")
		})
	}
}

func TestImportThatTheKeyringRefusesChangesNothing(t *testing.T) {
	t.Parallel()
	m := newNewcomer(t)
	m.emptyKeyring()
	file := filepath.Join(m.work, "app.pem")
	m.write(file, string(m.keyPEM))
	m.environ["SSH_AUTH_SOCK"] = filepath.Join(m.root, "none")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"key that is elsewhere": {[]string{"--key", "ssh-agent:deploy", "--keyring"}, 2,
			"stays where it is; leave --keyring out"},
		"file that others read": {[]string{"--key", "app.pem", "--keyring"}, 3, "pass --move to move it to the keyring"},
		"link":                  {[]string{"--key", "link.pem", "--keyring", "--move"}, 3, "link.pem is a link"},
		"locked":                {[]string{"--key", "app.pem", "--keyring", "--move"}, 5, "locked collection"},
	} {
		chmod(m, file, 0o600)
		switch name {
		case "file that others read":
			chmod(m, file, 0o644)
		case "link":
			testkit.OK(t, os.Symlink("app.pem", filepath.Join(m.work, "link.pem")))
		case "locked":
			m.lockKeyring()
		}
		done := m.ghapp(append([]string{"setup", "import", "--app", "1234"}, test.args...)...)
		if done.code != test.code || !strings.Contains(done.stderr, test.says) {
			t.Errorf("%s: exit code %d\n%s", name, done.code, done.stderr)
		}
		m.nothingKept()
		testkit.Equal(t, string(testkit.Must(os.ReadFile(file))(t)), string(m.keyPEM), "%s: the key", name)
	}
}

// The key stays in the keyring when the App cannot be written down, and the next attempt
// finds it there.
func TestImportIntoTheKeyringThatCannotWriteTheConfigFile(t *testing.T) {
	t.Parallel()
	m := newNewcomer(t)
	m.emptyKeyring()
	file := filepath.Join(m.work, "app.pem")
	m.write(file, string(m.keyPEM))
	m.write(m.configPath(), "# ours\n")
	chmod(m, m.configPath(), 0o400)
	if os.Geteuid() == 0 { // whom no mode stops
		testkit.OK(t, errors.Join(os.Remove(m.configPath()), os.Mkdir(m.configPath(), 0o700)))
	}
	done := m.ghapp("setup", "import", "--app", "1234", "--key", "app.pem", "--keyring", "--move")
	if done.code == 0 {
		t.Errorf("exit code 0\n%s", done.stderr)
	}
	testkit.Equal(t, string(testkit.Must(os.ReadFile(file))(t)), string(m.keyPEM), "the key")
}

// shellProgram puts a shell script on PATH, before the programs of the machine.
func (m *machine) shellProgram(name, script string) {
	m.t.Helper()
	dir := filepath.Join(m.root, "programs")
	m.write(filepath.Join(dir, name), "#!/bin/sh\n"+script+"\n")
	chmod(m, filepath.Join(dir, name), 0o700)
	m.environ["PATH"] = dir + string(os.PathListSeparator) + m.environ["PATH"]
}
