package cli_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// background starts a program of this machine's user, which ends with the test.
func (m *machine) background(program string, args ...string) {
	m.t.Helper()
	cmd := exec.Command(m.lookPath(program), args...)
	cmd.Env = m.environList()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	testkit.OK(m.t, cmd.Start())
	m.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

// ran runs a program of this machine's user.
func (m *machine) ran(input, program string, args ...string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.lookPath(program), args...)
	cmd.Dir, cmd.Env, cmd.Stdin = m.work, m.environList(), strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	testkit.OK(m.t, err, "%s %q, %s%s", program, args, out, stderr.String())
	return string(out)
}

func (m *machine) lookPath(name string) string {
	m.t.Helper()
	return testkit.Program(m.t, name)
}

func (m *machine) environList() []string {
	var list []string
	for name, value := range m.environ {
		list = append(list, name+"="+value)
	}
	return list
}

// sshAgent starts OpenSSH's agent and gives it the key through a pipe.
func (m *machine) sshAgent() {
	m.t.Helper()
	m.emptyAgent()
	m.ran(string(m.keyPEM), "ssh-add", "-q", "-")
}

// emptyAgent starts OpenSSH's agent.
func (m *machine) emptyAgent() {
	m.t.Helper()
	socket := filepath.Join(m.root, "agent")
	m.background("ssh-agent", "-D", "-a", socket)
	m.environ["SSH_AUTH_SOCK"] = socket
	m.awaitSocket(socket)
}

func (m *machine) awaitSocket(path string) {
	m.t.Helper()
	eventually(m.t, patience, func() string {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return err.Error()
		}
		conn.Close()
		return ""
	})
}

// gpgAgent starts GnuPG's agent with a key of its own, which becomes the App's.
func (m *machine) gpgAgent() {
	m.t.Helper()
	m.emptyGPGAgent()
	m.ran("", "gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-gen-key",
		"App <app@example.com>", "rsa2048", "auth", "never")
	grip := regexp.MustCompile(`(?m)^grp:+([0-9A-F]{40}):`).FindStringSubmatch(
		m.ran("", "gpg", "--batch", "--with-colons", "--with-keygrip", "-K"))
	if grip == nil {
		m.t.Fatal("gpg tells no keygrip")
	}
	m.write(filepath.Join(m.environ["GNUPGHOME"], "sshcontrol"), grip[1]+"\n")
	m.app.AddKey(publicOf(m.t, m.ran("", "ssh-add", "-L")))
}

// emptyGPGAgent starts GnuPG's agent. Whoever it asks for a passphrase has one.
func (m *machine) emptyGPGAgent() {
	m.t.Helper()
	home := filepath.Join(m.t.TempDir(), "gnupg") // its files are GnuPG's affair
	testkit.OK(m.t, os.Mkdir(home, 0o700))
	m.environ["GNUPGHOME"] = home
	pinentry := filepath.Join(home, "pinentry")
	m.write(pinentry, "#!/bin/sh\necho OK\nwhile read -r command _; "+
		"do [ \"$command\" != GETPIN ] || echo D passphrase; echo OK; done\n")
	testkit.OK(m.t, os.Chmod(pinentry, 0o700))
	m.write(filepath.Join(home, "gpg-agent.conf"), "enable-ssh-support\npinentry-program "+pinentry+"\n")
	m.t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "gpg-agent").Run()
	})
	m.ran("", "gpgconf", "--launch", "gpg-agent")
	m.environ["SSH_AUTH_SOCK"] = strings.TrimSpace(m.ran("", "gpgconf", "--list-dirs", "agent-ssh-socket"))
	m.awaitSocket(m.environ["SSH_AUTH_SOCK"])
}

// publicOf reads a line of an authorized_keys file (RFC 4253 section 6.6).
func publicOf(t *testing.T, line string) *rsa.PublicKey {
	t.Helper()
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "ssh-rsa" {
		t.Fatalf("no RSA key: %s", line)
	}
	blob := testkit.Must(base64.StdEncoding.DecodeString(fields[1]))(t)
	next := func() []byte {
		n := binary.BigEndian.Uint32(blob)
		value := blob[4 : 4+n]
		blob = blob[4+n:]
		return value
	}
	next()
	exponent := new(big.Int).SetBytes(next())
	return &rsa.PublicKey{E: int(exponent.Int64()), N: new(big.Int).SetBytes(next())}
}

// keyring starts a keyring and stores the key in it.
func (m *machine) keyring() {
	m.t.Helper()
	m.emptyKeyring()
	m.ran(string(m.keyPEM), "secret-tool", "store", "--label=App", "service", "ghapp", "username", "deploy")
}

// lockKeyring takes the password away again, which nobody can be asked for.
func (m *machine) lockKeyring() {
	m.t.Helper()
	m.ran("", "gdbus", "call", "--session", "--dest", "org.freedesktop.secrets",
		"--object-path", "/org/freedesktop/secrets",
		"--method", "org.freedesktop.Secret.Service.Lock", "['/org/freedesktop/secrets/collection/login']")
}

// emptyKeyring starts a session bus with GNOME's keyring, unlocked.
func (m *machine) emptyKeyring() {
	m.t.Helper()
	bus := filepath.Join(m.root, "bus")
	m.background("dbus-daemon", "--session", "--nofork", "--address=unix:path="+bus)
	m.awaitSocket(bus)
	m.environ["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=" + bus
	m.environ["XDG_DATA_HOME"] = m.t.TempDir() // the keyring's files are its affair
	daemon := exec.Command(m.lookPath("gnome-keyring-daemon"), "--foreground", "--unlock", "--components=secrets")
	daemon.Env, daemon.Stdin = m.environList(), strings.NewReader("password")
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	testkit.OK(m.t, daemon.Start())
	m.t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
	})
	m.ran("", "gdbus", "wait", "--session", "--timeout", "30", "org.freedesktop.secrets")
}

// example is the program in docs/signer-protocol.md.
func example(t *testing.T) string {
	t.Helper()
	page := testkit.Must(os.ReadFile("../../docs/signer-protocol.md"))(t)
	_, rest, found := strings.Cut(string(page), "```sh\n")
	text, _, closed := strings.Cut(rest, "```")
	if !found || !closed || strings.Count(text, "\n") != 10 {
		t.Fatalf("the page has no example of ten lines:\n%s", text)
	}
	path := filepath.Join(t.TempDir(), "sign with openssl")
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o700))
	return path
}

// noKeyOnDisk fails if a file of the machine holds a part of the key.
func (m *machine) noKeyOnDisk() {
	m.t.Helper()
	m.noSecretOnDisk()
	if _, err := os.Stat(m.environ["GHAPP_KEY"]); err == nil {
		m.t.Error("the key is a file, so this test proves nothing")
	}
}

// kmsURIs are one key URI of each scheme, as step-kms and sigstore spell them.
var kmsURIs = []string{
	"awskms:///alias/app", "azurekms://vault.vault.azure.net/app", "azurekms:name=app;vault=v",
	"gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
	"cloudkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",
	"hashivault://app", "pkcs11:token=Card;object=app?pin-source=file:/run/pin", "tpmkms:name=app", "yubikey:slot-id=9a",
}

// keyHolders put the key out of the way of files, and name it.
func keyHolders() map[string]func(*machine) (uri string) {
	holders := map[string]func(*machine) string{
		"env": func(m *machine) string {
			m.environ["APP_PEM"] = string(m.keyPEM)
			return "env:APP_PEM"
		},
		"keyring": func(m *machine) string {
			m.keyring()
			return "keyring:deploy"
		},
		"ssh-agent": func(m *machine) string {
			m.sshAgent()
			return "ssh-agent:" + strings.Fields(m.ran("", "ssh-add", "-l"))[1]
		},
		"ssh-agent, as GitHub shows it": func(m *machine) string {
			m.sshAgent()
			return "ssh-agent:" + strings.TrimSpace(m.must("keys", "fingerprint").stdout)
		},
		"gpg-agent": func(m *machine) string {
			m.gpgAgent()
			return "ssh-agent:" + strings.Fields(m.ran("", "ssh-add", "-l"))[1]
		},
		"exec": func(m *machine) string {
			m.signerProgram("good")
			return signerURI(m.t)
		},
		"exec of the manual's example": func(m *machine) string {
			m.signerProgram("good")
			return "exec:" + example(m.t) + "?" + m.environ[signerKey]
		},
	}
	for _, uri := range kmsURIs {
		holders[uri] = func(m *machine) string {
			m.kmsProgram("good")
			return uri
		}
	}
	return holders
}

// kmsProgram puts a ghapp-signer-kms on PATH.
func (m *machine) kmsProgram(part string) {
	m.t.Helper()
	m.signerProgram(part)
	dir := m.t.TempDir()
	self, err := filepath.Abs(os.Args[0])
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "ghapp-signer-kms"))
	}
	testkit.OK(m.t, err)
	m.environ["PATH"] += string(os.PathListSeparator) + dir
}

func TestCloneWithNoKeyOnDisk(t *testing.T) {
	t.Parallel()
	for name, hold := range keyHolders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.withoutKeyFile(hold(m))
			m.must("clone", "acme/site", "site")
			m.onlyOurs(2)
			testkit.Equal(t, m.read("site/main.txt"), "main\n", "the clone")
			m.noKeyOnDisk()
			if slices.Contains(kmsURIs[1:], name) {
				return
			}
			// Tomorrow, git alone finds the key again.
			delete(m.environ, "GHAPP_KEY")
			delete(m.environ, "GHAPP_APP")
			delete(m.environ, "GHAPP_HOST")
			testkit.OK(t, os.RemoveAll(m.cache))
			testkit.OK(t, os.Mkdir(m.cache, 0o700))
			before := m.github.Mints()
			m.ran("", "git", "-C", filepath.Join(m.work, "site"), "pull", "-q")
			testkit.Equal(t, m.github.Mints(), before+1, "%d tokens were minted for the pull", m.github.Mints()-before)
			m.environ["GHAPP_KEY"] = "none"
			m.noKeyOnDisk()
		})
	}
}

func TestKeyURIsInOtherCommands(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	fingerprint := m.must("keys", "fingerprint").stdout
	m.sshAgent()
	m.signerProgram("good")
	uris := []string{signerURI(t), "ssh-agent:" + strings.TrimSpace(fingerprint), "file:" + m.environ["GHAPP_KEY"]}
	for _, uri := range uris {
		testkit.Equal(t, m.must("keys", "fingerprint", uri).stdout, fingerprint, "%s has the fingerprint", uri)
		m.must("keys", "check", strings.TrimSpace(fingerprint), "--key", uri)
		m.must("keys", "check", "--key", uri)
		m.must("keys", "check", uri, "--key", "none")
		m.must("token", "acme/site", "--key", uri, "--no-cache")
		m.must("jwt", "--key", uri)
		m.must("installations", "--key", uri)
		m.must("exec", "acme/site", "--key", uri, "--", "true")
	}
}

// prints are ways in which a number of the key could lie in memory.
func prints(n *big.Int) [][]byte {
	big := n.Bytes()
	little := slices.Clone(big)
	slices.Reverse(little)
	return [][]byte{big[8 : len(big)-8], little[8 : len(little)-8], []byte(n.Text(10)), []byte(n.Text(16))}
}

// inMemory is what of the key is in the memory of a process: a number, a line of PEM.
func (m *machine) inMemory(pid int) map[string]bool {
	m.t.Helper()
	key := testkit.Key(m.t)
	needles := map[string][][]byte{}
	for _, number := range []*big.Int{key.Primes[0], key.Primes[1], key.D} {
		needles["number"] = append(needles["number"], prints(number)...)
	}
	// The first lines hold what is public of it.
	for _, line := range strings.Split(string(m.keyPEM), "\n")[9:20] {
		needles["PEM"] = append(needles["PEM"], []byte(line))
	}
	maps := testkit.Must(os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid)))(m.t)
	memory := testkit.Must(os.Open(fmt.Sprintf("/proc/%d/mem", pid)))(m.t)
	defer memory.Close()
	found, searched := map[string]bool{}, 0
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		testkit.Must(fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode))(m.t)
		if !strings.HasPrefix(mode, "rw") || to-from > 1<<30 {
			continue // what cannot be written holds no key
		}
		text, _ := io.ReadAll(io.NewSectionReader(memory, int64(from), int64(to-from)))
		searched += len(text)
		for what, forms := range needles {
			found[what] = found[what] || slices.ContainsFunc(forms, func(form []byte) bool { return bytes.Contains(text, form) })
		}
	}
	if searched < 1<<20 {
		m.t.Fatalf("only %d bytes of process %d could be read", searched, pid)
	}
	return found
}

// holdersOfMemory are where the key may be while ghapp works, and whether it comes to
// ghapp. That of gpg-agent's socket was put there by ghapp itself.
var holdersOfMemory = map[string]struct {
	hold  func(*machine) (uri string) // nil: the key stays in its file
	comes bool
}{
	"file":    {nil, true},
	"env":     {keyHolders()["env"], true},
	"keyring": {keyHolders()["keyring"], true},

	"ssh-agent": {keyHolders()["ssh-agent"], false},
	"gpg-agent": {func(m *machine) string {
		m.emptyGPGAgent()
		m.must("keys", "import", "--to", "ssh-agent:deploy")
		return "ssh-agent:deploy"
	}, false},
	"exec": {keyHolders()["exec"], false},
	"kms":  {keyHolders()[kmsURIs[0]], false},
}

// inMemoryOf fails unless the key is in the memory of a process just where it comes to
// ghapp. Of a key that does, some forms may be gone by then.
func (m *machine) inMemoryOf(what string, pid int, comes bool) {
	m.t.Helper()
	found := m.inMemory(pid)
	testkit.Equal(m.t, found["number"], comes, "a number of the key is in the memory of %s", what)
	if found["PEM"] && !comes {
		m.t.Errorf("a line of the key is in the memory of %s", what)
	}
}

// What has signed holds the key where it comes to ghapp at all, and nowhere else: a
// ghapp whose command runs, the helper that git has started, the agent.
func TestNoKeyInTheMemoryOfGhapp(t *testing.T) {
	t.Parallel()
	for name, holder := range holdersOfMemory {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			if holder.hold != nil {
				m.withoutKeyFile(holder.hold(m))
			}
			m.configFile(fmt.Sprintf("  deploy: {app: %s, key: %q, host: %q, owners: [acme]}\n", m.environ["GHAPP_APP"],
				m.environ["GHAPP_KEY"], m.environ["GHAPP_HOST"]))
			// While a command runs.
			running, _ := m.command("exec", "acme/site", "--", "sh", "-c", "touch begun && read -r end")
			input, err := running.StdinPipe()
			if err == nil {
				err = running.Start()
			}
			testkit.OK(t, err)
			eventually(t, patience, func() string {
				if _, err := os.Stat(filepath.Join(m.work, "begun")); err != nil {
					return err.Error()
				}
				return ""
			})
			m.inMemoryOf("ghapp exec", running.Process.Pid, holder.comes)
			_ = input.Close()
			_ = running.Wait()
			// A helper that finds no agent becomes ghapp, and asks GitHub with what was signed.
			held := m.traffic.hold(0, func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/access_tokens") })
			cmd, out := m.helper("get", "acme/web")
			testkit.OK(t, cmd.Start())
			held.wait(t)
			m.inMemoryOf("the helper", cmd.Process.Pid, holder.comes)
			m.traffic.release()
			_ = cmd.Wait() // its exit code is in the result
			m.answered(cmd, out)

			d := m.agentRuns()
			for range 3 {
				cmd, out := m.helper("get", "acme/site")
				_ = cmd.Run()
				m.answered(cmd, out)
			}
			if m.github.Mints() < 3 {
				t.Fatal("the agent has signed nothing")
			}
			m.inMemoryOf("the agent", d.cmd.Process.Pid, holder.comes)
		})
	}
}

// A token in the cache is handed out with nobody asked for the key, and while nobody
// could be asked.
func TestWarmTokenAsksNobodyForTheKey(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.signerProgram("good")
	m.withoutKeyFile(signerURI(t))
	first := m.must("token", "acme/site").stdout
	testkit.Equal(t, m.signerAsked(), "public-key sign", "for a new token the program was asked for")
	m.environ[signerPart] = "fail unavailable"
	for range 2 {
		testkit.Equal(t, m.must("token", "acme/site").stdout, first, "there is another token")
	}
	m.must("clone", "acme/site")
	testkit.Equal(t, m.signerAsked(), "", "for a token in the cache the program was asked for")
	r := m.ghapp("token", "acme/web")
	r.ends(t, fault.Unreachable, "it cannot be reached: the device has no luck", "tokens that are in the cache serve on")
	testkit.Equal(t, m.signerAsked(), "sign", "for a new token the program was asked for")
}

func TestSSHAgentThatIsGoneLeavesTokensServing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.sshAgent()
	m.withoutKeyFile("ssh-agent:" + strings.Fields(m.ran("", "ssh-add", "-l"))[1])
	first := m.must("token", "acme/site").stdout
	m.ran("", "ssh-add", "-q", "-D")
	testkit.Equal(t, m.must("token", "acme/site").stdout, first, "there is another token")
	r := m.ghapp("token", "acme/web")
	r.ends(t, fault.Configuration, "there is no such key: the agent has the key no more")
	delete(m.environ, "SSH_AUTH_SOCK")
	testkit.Equal(t, m.must("token", "acme/site").stdout, first, "there is another token")
	m.ghapp("token", "acme/web").ends(t, fault.Configuration, "no ssh-agent is named")
	m.environ["SSH_AUTH_SOCK"] = filepath.Join(m.root, "nobody")
	m.ghapp("token", "acme/web").ends(t, fault.Unreachable, "it cannot be reached: the ssh-agent at ")
}

// What an ssh-agent does not do is told with its reason.
func TestSSHAgentThatDoesNotSign(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.sshAgent()
	askpass := filepath.Join(m.root, "askpass")
	testkit.OK(t, os.WriteFile(askpass, []byte("#!/bin/sh\necho password\n"), 0o700))
	m.environ["SSH_ASKPASS"], m.environ["SSH_ASKPASS_REQUIRE"] = askpass, "force"
	uri := "ssh-agent:" + strings.Fields(m.ran("", "ssh-add", "-l"))[1]
	m.ran("", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "mine", "-f", filepath.Join(m.root, "ed25519"))
	m.ran("", "ssh-add", "-q", filepath.Join(m.root, "ed25519"))
	for name, test := range map[string]struct{ uri, says string }{
		"another kind of key": {"ssh-agent:mine", "an Ed25519 key, not an RSA key"},
		"another name":        {"ssh-agent:yours", "there is no such key: none of the agent's 2 keys"},
	} {
		if r := m.ghapp("token", "acme/site", "--key", test.uri); r.code != fault.Configuration ||
			!strings.Contains(r.stderr, test.says) {
			t.Errorf("%s: exit code %d\n%s", name, r.code, r.stderr)
		}
	}
	m.ran("", "ssh-add", "-q", "-x")
	m.ghapp("token", "acme/site", "--key", uri).ends(t, fault.Configuration, "the agent has no keys, or is locked")
	m.ran("", "ssh-add", "-q", "-X")
	m.must("token", "acme/site", "--key", uri)
	// The agent asks its own environment for a confirmation, and finds nobody.
	m.ran("", "ssh-add", "-q", "-D")
	m.ran(string(m.keyPEM), "ssh-add", "-q", "-c", "-")
	if r := m.ghapp("token", "acme/web", "--key", uri); r.code != fault.Configuration ||
		!strings.Contains(r.stderr, "signing is refused: the agent has the key and does not sign with it") {
		t.Errorf("not confirmed: exit code %d\n%s", r.code, r.stderr)
	}
}

// Another key behind the same name is found out when it signs, and has cache entries of
// its own.
func TestAnotherKeyBehindTheSameNameHasTokensOfItsOwn(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.signerProgram("good")
	m.withoutKeyFile(signerURI(t))
	first := m.must("token", "acme/site").stdout
	other := testkit.Must(m.app.RotateKey())(t)
	before := m.must("keys", "fingerprint").stdout
	m.write(m.environ[signerKey],
		string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(other)})))
	// Who asks for the fingerprint wants to know it, and not what it was.
	if now := m.must("keys", "fingerprint").stdout; now == before {
		t.Errorf("the fingerprint is still %s", now)
	}
	web := m.must("token", "acme/web").stdout // signs, and finds out
	testkit.Equal(t, m.github.Mints(), 2, "tokens were minted")
	again := m.must("token", "acme/site").stdout
	if again == first || m.github.Mints() != 3 {
		t.Errorf("the token of the key before is handed out; %d were minted", m.github.Mints())
	}
	if m.must("token", "acme/web").stdout != web && m.github.Mints() > 4 {
		t.Errorf("%d tokens were minted", m.github.Mints())
	}
}

func TestHoldersThatFail(t *testing.T) {
	t.Parallel()
	for part, test := range map[string]struct {
		code int
		says string
	}{
		"fail pin":         {fault.Configuration, "the PIN is missing, wrong or blocked"},
		"fail key-type":    {fault.Configuration, "not an RSA key"},
		"EC":               {fault.Configuration, "an EC key, not an RSA key"},
		"fail not-found":   {fault.Configuration, "there is no such key"},
		"fail denied":      {fault.Configuration, "access is denied"},
		"fail declined":    {fault.Configuration, "signing is refused"},
		"fail invalid-uri": {fault.Configuration, "not a key URI that can be read"},
		"fail failed":      {fault.Configuration, "signing failed"},
		"fail unavailable": {fault.Unreachable, "it cannot be reached"},
		"fail timeout":     {fault.Unreachable, "no answer in time"},
		"slow":             {fault.Unreachable, "no answer in time: waited for 1s"},
	} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.kmsProgram(part)
			m.withoutKeyFile("pkcs11:token=Card;object=app?pin-value=" + testPIN)
			for _, args := range [][]string{{"clone", "acme/site"}, {"token", "acme/site", "--json"}} {
				patient := "90s"
				if part == "slow" {
					patient = "1s"
				}
				r := m.ghapp(append(args, "--key-timeout", patient)...)
				if r.code != test.code || !strings.Contains(r.stderr, test.says) || strings.Count(r.stderr, "ghapp: error:") > 1 {
					t.Errorf("%q: exit code %d, want %d\n%s", args, r.code, test.code, r.stderr)
				}
				if strings.Contains(r.stdout+r.stderr, testPIN) || !strings.Contains(r.stderr, "[redacted]") {
					t.Errorf("%q: the PIN is shown, or the URI is not:\n%s", args, r.stderr)
				}
			}
			m.nothingLeft()
		})
	}
}

// A PIN stays where a person has put it.
func TestPINIsNotLeftInAClone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.kmsProgram("with PIN")
	uri := "pkcs11:object=app?pin-value=" + testPIN
	m.withoutKeyFile(uri)
	r := m.must("clone", "acme/site")
	if text := m.read("site/.git/config"); strings.Contains(text, "pkcs11") ||
		!strings.Contains(text, "git-credential-ghapp --config ") {
		t.Errorf("the clone's configuration:\n%s", text)
	}
	testkit.Contains(t, r.stderr, "needs environment GHAPP_KEY too")
	for _, args := range [][]string{{"config", "show"}, {"config", "show", "--json"}, {"doctor"},
		{"-v", "token", "acme/web"}} {
		r := m.ghapp(args...)
		if strings.Contains(r.stdout+r.stderr, testPIN) {
			t.Errorf("%q shows the PIN:\n%s%s", args, r.stdout, r.stderr)
		}
	}
	if out, err := exec.Command("grep", "-r", "-l", testPIN, m.root).CombinedOutput(); err == nil {
		t.Errorf("the PIN is in %s", out)
	}
	r = m.ghapp("token", "acme/site", "--key", uri)
	if r.code != fault.Configuration || strings.Contains(r.stderr, testPIN) ||
		!strings.Contains(r.stderr, "pin-source=file:") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	r = m.ghapp("keys", "fingerprint", uri)
	if r.code != fault.Configuration || strings.Contains(r.stderr, testPIN) ||
		!strings.Contains(r.stderr, "others can read a command line") {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
}

func TestKMSProgramThatIsMissing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, uri := range kmsURIs {
		r := m.ghapp("token", "acme/site", "--key", uri)
		if r.code != fault.Configuration || strings.Count(r.stderr, "\n") != 2 ||
			!strings.Contains(r.stderr, "ghapp-signer-kms is neither beside this program nor on PATH") ||
			!strings.Contains(r.stderr, "hint: make install-kms") {
			t.Errorf("%s: exit code %d\n%s", uri, r.code, r.stderr)
		}
	}
}

// GitHub's fingerprint and ssh-add's are of different bytes.
func TestFingerprintsAreOfDifferentBytes(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.sshAgent()
	github := strings.TrimSpace(m.must("keys", "fingerprint").stdout)
	blob := testkit.Must(base64.StdEncoding.DecodeString(strings.Fields(m.ran("", "ssh-add", "-L"))[1]))(t)
	sum := sha256.Sum256(blob)
	if ssh := strings.Fields(m.ran("", "ssh-add", "-l"))[1]; ssh == github ||
		ssh != "SHA256:"+base64.RawStdEncoding.EncodeToString(sum[:]) {
		t.Errorf("%s, %s", ssh, github)
	}
}

// What runs beside ghapp sees neither a key in a variable nor a PIN.
func TestKeyInAVariableIsHiddenFromOtherPrograms(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]func(*machine) (uri, secret string){
		"key": func(m *machine) (string, string) {
			m.environ["THE_KEY"] = string(m.keyPEM)
			return "env:THE_KEY", strings.Split(string(m.keyPEM), "\n")[12]
		},
		"PIN": func(m *machine) (string, string) {
			m.kmsProgram("with PIN")
			return "pkcs11:object=app?pin-value=" + testPIN, testPIN
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			uri, secret := hold(m)
			m.withoutKeyFile(uri)
			m.environ["TELLING"] = "this is the environment"
			git := m.lookPath("git")
			m.write(filepath.Join(m.home, "bin/git"), "#!/bin/sh\nenv >>'"+m.work+"/environment'\nexec "+git+" \"$@\"\n")
			testkit.OK(t, os.Chmod(filepath.Join(m.home, "bin/git"), 0o700))
			m.environ["PATH"] = filepath.Join(m.home, "bin") + string(os.PathListSeparator) + m.environ["PATH"]
			m.must("clone", "acme/site", "site")
			for where, text := range map[string]string{"git": m.read("environment"),
				"a command": m.must("exec", "acme/site", "--", "env").stdout} {
				if !strings.Contains(text, "TELLING=") || strings.Contains(text, secret) {
					t.Errorf("the environment of %s:\n%s", where, text)
				}
			}
		})
	}
}
