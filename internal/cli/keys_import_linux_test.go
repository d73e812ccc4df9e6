package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// emptyHolders are ready to take a key in, and name its place.
var emptyHolders = map[string]func(*machine) (uri string){
	"keyring": func(m *machine) string {
		m.emptyKeyring()
		return "keyring:ghapp/my%20app"
	},
	"ssh-agent": func(m *machine) string {
		m.emptyAgent()
		return "ssh-agent:deploy"
	},
	"gpg-agent": func(m *machine) string {
		m.emptyGPGAgent()
		return "ssh-agent:deploy"
	},
	"exec": func(m *machine) string {
		m.emptySigner()
		return signerURI(m.t)
	},
	kmsURIs[6]: func(m *machine) string {
		m.kmsProgram("good")
		m.emptySigner()
		return kmsURIs[6]
	},
}

// emptySigner has the machine's program of the exec protocol hold no key as yet.
func (m *machine) emptySigner() {
	m.t.Helper()
	m.signerProgram("good")
	testkit.OK(m.t, os.Remove(m.environ[signerKey]))
}

// A downloaded key goes to each of them, and is needed no more as a file.
func TestImportedKeyClonesWithNoKeyOnDisk(t *testing.T) {
	t.Parallel()
	for name, hold := range emptyHolders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			uri := hold(m)
			file := m.environ["GHAPP_KEY"]
			r := m.must("keys", "import", "--to", uri)
			testkit.Equal(t, r.stdout, "key: "+uri+"\n")
			testkit.Contains(t, r.stderr, "has signed there")
			volatile := strings.HasPrefix(uri, "ssh-agent:")
			if strings.Contains(r.stderr, "forgets its keys") != volatile {
				t.Errorf("of an agent's memory it says\n%s", r.stderr)
			}
			args := []string{"keys", "import", file, "--to", uri}
			if !volatile {
				args = append(args, "--shred")
			}
			testkit.Contains(t, m.must(args...).stderr, "already")
			if _, err := os.Stat(file); (err == nil) != volatile {
				t.Fatalf("the file: %v", err)
			}
			_ = os.Remove(file)
			m.environ["GHAPP_KEY"] = uri
			m.must("clone", "acme/site")
			m.must("keys", "check")
			m.noKeyOnDisk()
			// Another key does not take its place.
			other := filepath.Join(m.t.TempDir(), "other.pem")
			m.ran("", "openssl", "genrsa", "-traditional", "-out", other, "2048")
			if r := m.ghapp("keys", "import", other, "--to", uri, "--key", uri); r.code != fault.Configuration ||
				!strings.Contains(r.stderr, "another key is there already") {
				t.Errorf("exit code %d\n%s", r.code, r.stderr)
			}
			m.must("token", "acme/web")
		})
	}
}

func TestAgentGetsConstraintsWithTheKey(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.emptyAgent()
	m.must("keys", "import", "--to", "ssh-agent:short", "--lifetime", "1s")
	eventually(t, patience, func() string {
		r := m.ghapp("keys", "fingerprint", "ssh-agent:short")
		if r.code == fault.Configuration && strings.Contains(r.stderr, "the agent has no keys") {
			return ""
		}
		return "the agent has it still: " + r.stderr
	})
	// Nobody is there to confirm, so that it does not prove itself.
	r := m.ghapp("keys", "import", "--to", "ssh-agent:asks", "--confirm")
	if r.code != fault.Configuration || !strings.Contains(r.stderr,
		"the agent has the key and does not sign with it; it may be at ssh-agent:asks all the same") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

func TestKeyringThatIsGoneTakesNoKey(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.environ["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=" + filepath.Join(m.root, "nobody")
	r := m.ghapp("keys", "import", "--to", "keyring:deploy", "--shred")
	if r.code != fault.Unreachable || !strings.Contains(r.stderr, "cannot use the private key in keyring:deploy: "+
		"it cannot be reached: ") || strings.Contains(r.stderr, "all the same") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if text, err := os.ReadFile(m.environ["GHAPP_KEY"]); err != nil || !bytes.Equal(text, m.keyPEM) {
		t.Errorf("the file of the key has changed: %v", err)
	}
}

// A person is asked whether the file goes, and a pipe is not.
func TestPersonDecidesWhetherTheFileGoes(t *testing.T) {
	t.Parallel()
	for answer, gone := range map[string]bool{"y": true, "YES": true, "": false, "n": false, "no, it is needed": false} {
		t.Run(answer, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.emptySigner()
			file := m.environ["GHAPP_KEY"]
			second := file + ".second"
			testkit.OK(t, os.Link(file, second))
			term := m.terminal("keys", "import", "--to", signerURI(t))
			testkit.Must(term.master.WriteString(answer + "\n"))(t)
			shown, code := term.wait()
			if code != 0 || !strings.Contains(shown, "Overwrite and remove "+file+"? [y/N]") ||
				!strings.Contains(shown, "On an SSD") {
				t.Fatalf("exit code %d\n%s", code, shown)
			}
			_, err := os.Stat(file)
			text := testkit.Must(os.ReadFile(second))(t)
			if os.IsNotExist(err) != gone || (len(bytes.Trim(text, "\x00")) == 0) != gone {
				t.Errorf("the file is gone: %v\n%s", err, shown)
			}
			if !gone && !strings.Contains(shown, "Its file is still there") {
				t.Errorf("it does not say that the file stays:\n%s", shown)
			}
			m.noSecretIn("the terminal", shown)
		})
	}
}

// What a real keyring does not give is told with its reason, and nobody waits for it.
func TestKeyringThatGivesNoKey(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.keyring()
	m.ran("canary-item", "secret-tool", "store", "--label=x", "service", "ghapp", "username", "password")
	m.must("token", "acme/site", "--key", "keyring:deploy")
	for uri, test := range map[string]struct {
		code int
		says string
	}{
		"keyring:nobody":       {fault.Configuration, "there is no such key"},
		"keyring:other/deploy": {fault.Configuration, "there is no such key"},
		"keyring:password":     {fault.Configuration, "no PEM private key in it"},
		"keyring:":             {fault.Configuration, "it names nothing"},
	} {
		if r := m.ghapp("token", "acme/web", "--key", uri); r.code != test.code || !strings.Contains(r.stderr, test.says) ||
			strings.Contains(r.stderr, "canary") {
			t.Errorf("%s: exit code %d\n%s", uri, r.code, r.stderr)
		}
	}
	// What is there by that name, and is no key, is somebody's.
	m.ghapp("keys", "import", "--to", "keyring:password").ends(t, fault.Configuration, "no PEM private key in it")
	if got := m.ran("", "secret-tool", "lookup", "service", "ghapp", "username", "password"); got != "canary-item" {
		t.Error("the item is another by now")
	}
	m.ran("", "gdbus", "call", "--session", "--dest", "org.freedesktop.secrets",
		"--object-path", "/org/freedesktop/secrets",
		"--method", "org.freedesktop.Secret.Service.Lock", "['/org/freedesktop/secrets/collection/login']")
	r := m.ghapp("token", "acme/web", "--key", "keyring:deploy", "--key-timeout", "2s")
	r.ends(t, fault.Unreachable, "keyring:deploy: ", "unlock the keyring")
}
