package signer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// shelf is a secret-tool that keeps one item in a file, and the words it was called with
// in another.
const shelf = `
echo "$*" >>"$SHELF.calls"
case $1 in
lookup) exec cat "$SHELF" 2>/dev/null ;;
store) exec cat >"$SHELF" ;;
clear) exec rm "$SHELF" ;;
esac`

// newShelf returns where the item is, and what the calls were.
func newShelf(t *testing.T, script string) (path string, calls func() string) {
	t.Helper()
	secretTool(t, script)
	path = filepath.Join(t.TempDir(), "item")
	t.Setenv("SHELF", path)
	return path, func() string {
		text := testkit.Must(os.ReadFile(path + ".calls"))(t)
		return string(text)
	}
}

// importText puts the key that a text is where a key URI says.
func importText(t *testing.T, uri string, key secret.Text, o Options) error {
	_, _, err := Import(t.Context(), testkit.Must(FromText("the text", key.Reveal()))(t), uri, ImportOptions{Options: o})
	return err
}

func TestKeyringStoresByAPipe(t *testing.T) {
	item, calls := newShelf(t, shelf)
	text := pemPKCS1(rsaKey())
	testkit.OK(t, importText(t, "keyring:my%20service/deploy", secret.New(text), Options{}))
	testkit.Equal(t, string(testkit.Must(os.ReadFile(item))(t)), text, "what is stored is another text")
	want := "lookup service my service username deploy\n" +
		"search service my service username deploy\n" + // it might be locked
		"store --label=GitHub App deploy service my service username deploy\n" +
		"lookup service my service username deploy\n"
	testkit.Equal(t, calls(), want, "calls")
}

func TestKeyringStoresOverNoOtherKey(t *testing.T) {
	item, calls := newShelf(t, shelf)
	ours := secret.New(pemPKCS1(rsaKey()))
	for there, want := range map[string]error{
		pemPKCS1(rsaKey()):   nil, // the same: there is nothing to do
		pemPKCS1(otherKey()): ErrExists,
		"canary, a password": ErrExists,
	} {
		testkit.OK(t, os.WriteFile(item, []byte(there), 0o600))
		err := importText(t, "keyring:deploy", ours, Options{})
		testkit.ErrorIs(t, err, want)
		if e, ok := errors.AsType[*KeyError](err); ok && (!strings.Contains(e.Hint(),
			"secret-tool clear service ghapp username deploy") || strings.Contains(e.Error(), "canary")) {
			t.Errorf("%v; hint: %s", e, e.Hint())
		}
		testkit.Equal(t, string(testkit.Must(os.ReadFile(item))(t)), there, "it was replaced")
	}
	testkit.Lacks(t, calls(), "store")
}

func TestKeyringThatStoresNothing(t *testing.T) {
	key := secret.New(pemPKCS1(rsaKey()))
	absent := `test "$1" = lookup && exit 1`
	for name, test := range map[string]struct {
		script, uri string
		key         secret.Text
		want        Problem
		says        string
	}{
		"locked": {absent + "; echo 'secret-tool: Cannot create an item in a locked collection' >&2; exit 1",
			"keyring:app", key, ErrUnavailable, "locked collection"},
		"waits for a person":    {absent + "; exec sleep 3600", "keyring:app", key, ErrTimeout, "waited for 300ms"},
		"fails in silence":      {absent + "; exit 1", "keyring:app", key, ErrUnavailable, "exit status 1"},
		"repeats what it reads": {absent + "; sed -n 3p >&2; exit 1", "keyring:app", key, ErrUnavailable, secret.Placeholder},
		"forgets it":            {absent + "; exit 0", "keyring:app", key, ErrNoKey, ""},
		"gives another back": {`test "$1" = store && exec touch "$SHELF"; test -f "$SHELF" && exec cat "$OTHER"; exit 1`,
			"keyring:app", key, errWrongSignature, ""},
		"cannot be read before": {"echo down >&2; exit 1", "keyring:app", key, ErrUnavailable, "down"},
		"is not there":          {"", "keyring:app", key, errNoProgram, ""},
		"is named by an option": {shelf, "keyring:app/-x", key, errURI, "keyring:NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			newShelf(t, test.script)
			t.Setenv("OTHER", write(t, "other.pem", pemPKCS1(otherKey()), 0o600))
			o := Options{Timeout: 20 * time.Second}
			if test.want == ErrTimeout {
				o.Timeout = 300 * time.Millisecond
			}
			err := importText(t, test.uri, test.key, o)
			e := testkit.ErrorAs[*KeyError](t, err)
			testkit.Equal(t, e.Problem, test.want)
			testkit.Contains(t, e.Error(), test.says)
			wantSafe(t, test.key.Reveal(), err)
		})
	}
}

func TestKeyringIsTriedWithWhatIsNoSecret(t *testing.T) {
	item, calls := newShelf(t, shelf)
	testkit.OK(t, Options{}.checkKeyring(t.Context()))
	testkit.ErrorIs(t, testkit.ErrorOf(os.Stat(item)), os.ErrNotExist, "the trial is left there")
	for i, verb := range []string{"store --label=GitHub App trial-", "lookup service ghapp username trial-",
		"clear service ghapp username trial-"} {
		if lines := strings.Split(calls(), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[i], verb) {
			t.Errorf("calls:\n%s", calls())
		}
	}
	newShelf(t, `test "$1" = lookup && exec echo another; exit 0`)
	testkit.ErrorIs(t, Options{}.checkKeyring(t.Context()), errFailed)
}

// In GNOME's keyring a key is stored and found, and where that is locked, and nobody can
// be asked for its password, both say so.
func TestKeyringOfTheDesktop(t *testing.T) {
	bus := filepath.Join(t.TempDir(), "bus")
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+bus)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	background(t, "", "dbus-daemon", "--session", "--nofork", "--address=unix:path="+bus)
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(bus); err == nil {
			break
		} else if time.Now().After(until) {
			t.Fatal(err)
		}
	}
	background(t, "password", "gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
	run(t, "gdbus", "wait", "--session", "--timeout", "30", "org.freedesktop.secrets")

	key, other := secret.New(pemPKCS1(rsaKey())), secret.New(pemPKCS1(otherKey()))
	if err := errors.Join(Options{}.checkKeyring(t.Context()),
		importText(t, "keyring:deploy", key, Options{})); err != nil {
		t.Fatal(err)
	}
	read := testkit.Must(Open(t.Context(), "keyring:deploy", Options{}))(t)
	proves(t, read, rsaKey())
	testkit.ErrorIs(t, importText(t, "keyring:deploy", other, Options{}), ErrExists)
	list, err := exec.CommandContext(t.Context(), "secret-tool", "search", "--all", "service", "ghapp").CombinedOutput()
	if err != nil || strings.Contains(string(list), "trial-") || !strings.Contains(string(list), "deploy") {
		t.Errorf("%v: a trial is left, or the key is not there", err)
	}

	run(t, "gdbus", "call", "--session", "--dest", "org.freedesktop.secrets", "--object-path", "/org/freedesktop/secrets",
		"--method", "org.freedesktop.Secret.Service.Lock", "['/org/freedesktop/secrets/collection/login']")
	for what, err := range map[string]error{
		"trial": Options{}.checkKeyring(t.Context()),
		"store": importText(t, "keyring:second", other, Options{}),
		"again": importText(t, "keyring:deploy", key, Options{}),
	} {
		if e, ok := errors.AsType[*KeyError](err); !ok || e.Problem != ErrUnavailable ||
			!strings.Contains(e.Error(), "locked") || !strings.Contains(e.Hint(), "unlock the keyring") {
			t.Errorf("%s: error %v", what, err)
		}
	}
}

// background starts a program that ends with the test.
func background(t *testing.T, input, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(testkit.Program(t, name), args...)
	cmd.Stdin, cmd.SysProcAttr = strings.NewReader(input), &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	testkit.OK(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if output, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, output)
	}
}
