package kms

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/kms/internal/clonetest"
)

// machine is a machine for an App with the key of these tests.
func machine(t *testing.T, environ []string) *clonetest.Machine {
	t.Helper()
	m := clonetest.New(t, testKey(t, 2048))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		m.Environ[name] = value
	}
	return m
}

// badClone is a key URI with which ghapp cannot clone.
type badClone struct {
	uri  string
	code int
	says string
}

const configuration, unreachable = 3, 5 // exit codes of ghapp

// noAnswer is what is said of a holder that was waited for in vain.
const noAnswer = "no answer in time"

// wantExit fails unless ghapp says in one error what is wrong, and ends with the exit code
// that says whose turn it is.
func (c badClone) wantExit(t *testing.T, m *clonetest.Machine) {
	t.Helper()
	m.Environ["GHAPP_KEY"] = c.uri
	if c.says == noAnswer { // all else takes as long as a busy machine needs
		m.Environ["GHAPP_KEY_TIMEOUT"] = "2s"
	}
	r := m.Ghapp("clone", "acme/site")
	if r.Code != c.code || !strings.Contains(r.Stderr, c.says) || strings.Count(r.Stderr, "ghapp: error:") != 1 {
		t.Errorf("%s: exit code %d; want %d and %q\n%s", c.uri, r.Code, c.code, c.says, r.Stderr)
	}
	if strings.Contains(r.Stdout+r.Stderr, testPIN) {
		t.Errorf("the PIN is told:\n%s", r.Stderr)
	}
	testkit.Fails(t, testkit.ErrorOf(os.Stat(filepath.Join(m.Work, "site"))), "something is left of the clone")
}

func TestCloneWithAKeyInATPM(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	m := machine(t, nil)
	uri := s.uri("name=app") + "?pin-source=file:" + writeFile(t, testPIN+"\n", s.dir, "pin")
	path := writeFile(t, string(m.PEM()), t.TempDir(), "app.pem")
	if r := m.Ghapp("keys", "import", path, "--to", uri); r.Code != 0 {
		t.Fatalf("exit code %d\n%s", r.Code, r.Stderr)
	}
	m.Clone(uri, false)

	bad := machine(t, nil)
	nobody := filepath.Join(s.dir, "nobody")
	listener := testkit.Must(net.Listen("unix", nobody))(t)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	key := "tpmkms:path=" + filepath.Join(s.dir, "app.pem") + ";device="
	for _, c := range []badClone{
		{s.uri("name=app") + "?pin-value=" + testPIN + "0", configuration, "the PIN is wrong; it was tried once"},
		{s.uri("name=app"), configuration, "the key has a PIN"},
		{s.uri("name=none"), configuration, "there is no such key"},
		{key + "/absent", configuration, "there is no TPM at"},
		{key + nobody + "?pin-value=" + testPIN, unreachable, "connection refused"},
	} {
		c.wantExit(t, bad)
	}
	s.stop()
	badClone{uri, unreachable, noAnswer}.wantExit(t, bad)
}
