//go:build unix

package signer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// programURI is this binary, with a secret in the URI.
func programURI() string { return "exec:" + os.Args[0] + "?slot=7&pin-value=" + testPIN }

// playing is the options with which this binary plays a part.
func playing(t testing.TB, part string) Options {
	t.Helper()
	return Options{Environ: []string{
		role + "=" + part, "PATH=" + os.Getenv("PATH"), "GHAPP_PRIVATE_KEY=canary",
		"GORACE=atexit_sleep_ms=0", // else a part that is built with -race waits a second before it ends
		"SIGNER_TEST_KEY=" + write(t, "app.pem", pemPKCS1(rsaKey()), 0o600),
		"SIGNER_TEST_OTHER=" + write(t, "other.pem", pemPKCS1(otherKey()), 0o600),
		"SIGNER_TEST_LOG=" + filepath.Join(t.TempDir(), "log"),
		"SIGNER_TEST_SAFE=" + filepath.Join(t.TempDir(), "safe"),
	}}
}

// asked is which operations the program was asked for.
func asked(t testing.TB, o Options) string {
	t.Helper()
	path := o.variable("SIGNER_TEST_LOG")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	_ = os.Remove(path)
	return strings.Join(strings.Fields(string(text)), " ")
}

func TestProgramSigns(t *testing.T) {
	t.Parallel()
	o := playing(t, "good")
	var notices []string
	o.Notice = func(line string) { notices = append(notices, line) }
	key := testkit.Must(Open(t.Context(), programURI(), o))(t)
	proves(t, key, rsaKey())
	testkit.Equal(t, asked(t, o), "public-key sign", "the program was asked for")
	opened := "opened exec:" + os.Args[0] + "?slot=7&pin-value=[redacted]"
	testkit.Diff(t, notices, []string{"touch the key", opened, "touch the key", opened})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		testkit.Equal(t, fmt.Sprintf(verb, key), key.Fingerprint(), "%s prints", verb)
	}
}

func TestRequestOfAProgram(t *testing.T) {
	t.Parallel()
	o := playing(t, "request")
	var lines []string
	o.Notice = func(line string) { lines = append(lines, line) }
	key := testkit.Must(Open(t.Context(), "exec:"+os.Args[0]+"?slot=7", o))(t)
	testkit.Must(key.Sign(t.Context(), []byte("header.payload")))(t)
	want := []string{
		`{"version":1,"operation":"public-key","key":"exec:` + os.Args[0] + `?slot=7","seconds":30}`,
		`{"version":1,"operation":"sign","key":"exec:` + os.Args[0] + `?slot=7","seconds":30,"algorithm":"RS256",` +
			`"message":"aGVhZGVyLnBheWxvYWQ=","digest":"PqGKxv4tyTaNFjMMRgX4sJZ4iBZRJAtGXTRFLlNBqHA="}`,
	}
	digest := sha256.Sum256([]byte("header.payload"))
	encoded, _ := json.Marshal(digest[:])
	want[1] = strings.Replace(want[1], `"PqGKxv4tyTaNFjMMRgX4sJZ4iBZRJAtGXTRFLlNBqHA="`, string(encoded), 1)
	testkit.Diff(t, lines, want)
}

// A program gets the environment, and with it what reaches its service, but not a key
// that lies in a variable.
func TestProgramGetsNoPrivateKey(t *testing.T) {
	t.Parallel()
	o := playing(t, "environment")
	var lines []string
	o.Notice = func(line string) { lines = append(lines, line) }
	testkit.Must(Open(t.Context(), programURI(), o))(t)
	all := strings.Join(lines, "\n")
	testkit.Contains(t, all, role+"=environment")
	testkit.Lacks(t, all, "GHAPP_PRIVATE_KEY")
}

// misbehaving are parts of a program, and what is said of them.
var misbehaving = []struct {
	part string
	want Problem
	says string
}{
	{"slow", ErrTimeout, "waited for 300ms"},
	{"child", ErrTimeout, "waited for 300ms"},
	{"slow to sign", ErrTimeout, "waited for 300ms"},
	{"silent", errProtocol, "the program said nothing"},
	{"garbage", errProtocol, "the program did not answer with one JSON object of the protocol"},
	{"not one object", errProtocol, "the program did not answer with one JSON object of the protocol"},
	{"two answers", errProtocol, "the program did not answer with one JSON object of the protocol"},
	{"huge", errProtocol, "the program said more than 64 KiB"},
	{"huge answer", errProtocol, "the program said more than 64 KiB"},
	{"no version", errProtocol, "the answer has no version"},
	{"next version", errProtocol, "the program speaks version 2 of the protocol, and this is version 1"},
	{"wrong type", errProtocol, "a part of the answer is not of the type that it is to have"},
	{"no answer", errProtocol, "the answer has neither public_key nor error"},
	{"no key", errProtocol, "the public key is not the DER of a SubjectPublicKeyInfo"},
	{"crash", errFailed, "the program ended with exit status 3 and no answer: no device for URI\\x1b[31m"},
	{"crash in silence", errProtocol, "the program ended with exit status 3 and no answer"},
	{"sign with another key", errWrongSignature, ""},
	{"EC", errEC, ""},
	{"fail not-found", ErrNoKey, "the device says URI"},
	{"fail something new", errFailed, "the device says URI"},
}

func TestMisbehavingPrograms(t *testing.T) {
	t.Parallel()
	uri := "exec:" + os.Args[0] + "?slot=7&pin-value=[redacted]"
	for _, test := range misbehaving {
		t.Run(test.part, func(t *testing.T) {
			t.Parallel()
			o := playing(t, test.part)
			o.Timeout = 20 * time.Second
			if test.want == ErrTimeout {
				o.Timeout = 300 * time.Millisecond
				if test.part == "slow to sign" {
					o.Timeout = 20 * time.Second // to be opened
				}
			}
			key, err := Open(t.Context(), programURI(), o)
			if err == nil {
				if test.part == "slow to sign" {
					key.(*remote).timeout = 300 * time.Millisecond
				}
				_, err = key.Sign(t.Context(), []byte("header.payload"))
			}
			want := "cannot use the private key in " + uri + ": " + string(test.want)
			if test.says != "" {
				want += ": " + strings.ReplaceAll(test.says, "URI", uri)
			}
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			e, _ := errors.AsType[*KeyError](err)
			if !errors.Is(err, test.want) || strings.Contains(fmt.Sprint(err, e.Hint()), "canary") {
				t.Errorf("%v, %s", err, e.Hint())
			}
			if errors.Is(err, context.DeadlineExceeded) != (test.want == ErrTimeout) {
				t.Errorf("%v is a deadline: %v", err, test.want != ErrTimeout)
			}
		})
	}
}

func TestEveryKindOfFailureIsAProblem(t *testing.T) {
	t.Parallel()
	testkit.Diff(t, slices.Sorted(maps.Keys(kinds)), slices.Sorted(slices.Values(execsigner.Kinds())))
	for kind, want := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			if _, err := Open(t.Context(), programURI(), playing(t, "fail "+kind)); !errors.Is(err, want) ||
				strings.Contains(err.Error(), "canary") {
				t.Error(err)
			}
			o := playing(t, "sign and fail "+kind)
			key := testkit.Must(Open(t.Context(), programURI(), o))(t)
			testkit.ErrorIs(t, testkit.ErrorOf(key.Sign(t.Context(), nil)), want)
			// A wrong PIN counts each time: nobody is asked again, but where a key is gone.
			if got := asked(t, o); got != "public-key sign" && kind != "not-found" {
				t.Errorf("the program was asked for %s", got)
			}
		})
	}
}

// What a program has started ends with it when its time is over.
func TestProgramEndsWithAllItStarted(t *testing.T) {
	t.Parallel()
	o := playing(t, "child")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pid int
	o.Notice = func(line string) {
		pid, _ = strconv.Atoi(strings.TrimPrefix(line, "pid "))
		cancel()
	}
	testkit.ErrorIs(t, testkit.ErrorOf(Open(ctx, programURI(), o)), context.Canceled)
	if pid == 0 {
		t.Fatal("the program started nothing")
	}
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(state), ") Z ") {
			break // ended, and nobody has asked how
		}
		if time.Now().After(deadline) {
			t.Fatal("its child lives on")
		}
	}
}

func TestNoticesAreBounded(t *testing.T) {
	t.Parallel()
	o := playing(t, "flood of notices")
	var lines []string
	o.Notice = func(line string) { lines = append(lines, line) }
	testkit.Must(Open(t.Context(), programURI(), o))(t)
	if len(lines) != mostLines || len(lines[0]) > mostLine+3 {
		t.Errorf("%d lines of %d bytes", len(lines), len(lines[0]))
	}
}

func TestProgramThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]Problem{
		"exec:/nowhere/to/be/found":                  errNoProgram,
		"exec:ghapp-no-such-program":                 errNoProgram,
		"exec:" + write(t, "data", "x", 0o600):       errNoProgram,
		"exec:" + write(t, "program", "\x00", 0o700): errNoProgram,
		"exec:":      errURI,
		"exec:%":     errURI,
		"exec:a%00b": errURI,
	} {
		_, err := Open(t.Context(), uri, Options{})
		if e, ok := errors.AsType[*KeyError](err); !ok || e.Problem != want || e.Hint() == "" || want.Temporary() {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestCancelledSigningIsNoKeyError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := playing(t, "child")
	o.Notice = func(string) { cancel() }
	_, err := Open(ctx, programURI(), o)
	if _, ok := errors.AsType[*KeyError](err); ok || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The deadline of whoever asks counts as well.
func TestDeadlineOfTheCallerIsATimeout(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, programURI(), playing(t, "slow")); !errors.Is(err, ErrTimeout) ||
		!errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// memory is a Memory in this process.
type memory struct {
	mu      sync.Mutex
	entries map[string][]byte
}

func (m *memory) Get(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[name], nil
}

func (m *memory) Put(_ context.Context, name string, entry []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries == nil {
		m.entries = map[string][]byte{}
	}
	m.entries[name] = slices.Clone(entry)
	return nil
}

func TestRememberedKeyIsAskedForNothingBeforeItSigns(t *testing.T) {
	t.Parallel()
	o := playing(t, "good")
	o.Memory = new(memory)
	testkit.Must(Open(t.Context(), programURI(), o))(t)
	testkit.Equal(t, asked(t, o), "public-key", "the program was asked for")
	key, err := Open(t.Context(), programURI(), o)
	if err != nil || key.Fingerprint() != Fingerprint(&rsaKey().PublicKey) {
		t.Fatal(err)
	}
	testkit.Equal(t, asked(t, o), "", "the program was asked for")
	proves(t, key, rsaKey())
	testkit.Equal(t, asked(t, o), "sign", "the program was asked for")
	for name, entry := range o.Memory.(*memory).entries {
		if len(name) != 64 || strings.Contains(name+string(entry), "canary") {
			t.Errorf("%s: %s", name, entry)
		}
	}
	// Another URI is another key, and another PIN is not.
	testkit.Must(Open(t.Context(), strings.Replace(programURI(), "slot=7", "slot=8", 1), o))(t)
	testkit.Equal(t, asked(t, o), "public-key", "for another slot the program was asked for")
	testkit.Must(Open(t.Context(), strings.Replace(programURI(), testPIN, "0815", 1), o))(t)
	testkit.Equal(t, asked(t, o), "", "with another PIN the program was asked for")
}

// Behind a name another key may stand than the one that is remembered.
func TestRememberedKeyThatIsAnotherByNow(t *testing.T) {
	t.Parallel()
	o := playing(t, "good")
	o.Memory = new(memory)
	testkit.Must(Open(t.Context(), programURI(), o))(t)
	testkit.OK(t, os.WriteFile(o.variable("SIGNER_TEST_KEY"), []byte(pemPKCS1(otherKey())), 0o600))
	key, err := Open(t.Context(), programURI(), o)
	if err != nil || !rsaKey().PublicKey.Equal(key.Public()) {
		t.Fatal(err)
	}
	if _, err := key.Sign(t.Context(), []byte("header.payload")); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	proves(t, key, otherKey())
	asked(t, o)
	again, err := Open(t.Context(), programURI(), o)
	if err != nil || !otherKey().PublicKey.Equal(again.Public()) || asked(t, o) != "" {
		t.Errorf("the new key is not remembered: %v", err)
	}
}

func TestDamagedMemoryIsNone(t *testing.T) {
	t.Parallel()
	o := playing(t, "good")
	m := new(memory)
	o.Memory = m
	for _, text := range []string{"{", `{"public_key":"AAAA"}`, "", "null"} {
		for name := range m.entries {
			m.entries[name] = []byte(text)
		}
		key, err := Open(t.Context(), programURI(), o)
		if err != nil || !rsaKey().PublicKey.Equal(key.Public()) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestKMSProgramIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, scheme := range slices.DeleteFunc(keyuri.Schemes(), func(s string) bool { return !keyuri.OfKMS(s) }) {
		_, err := Open(t.Context(), scheme+":name=app;pin-value="+testPIN, Options{})
		e, ok := errors.AsType[*KeyError](err)
		if !ok || e.Problem != errNoProgram || strings.Contains(e.Hint(), "\n") ||
			!strings.Contains(e.Hint(), "make install-kms") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestKMSProgramIsFoundOnPATH(t *testing.T) {
	dir := t.TempDir()
	self := testkit.Must(filepath.Abs(os.Args[0]))(t)
	testkit.OK(t, os.Symlink(self, filepath.Join(dir, KMSProgram)))
	t.Setenv("PATH", dir)
	for _, scheme := range []string{"awskms", "yubikey"} {
		key := testkit.Must(Open(t.Context(), scheme+":name=app", playing(t, "good")))(t)
		proves(t, key, rsaKey())
	}
}

// openMistakes are key URIs that name no key, in the environment of
// TestOpenOfVariables.
var openMistakes = map[string]Problem{
	"env:EMPTY": errUnset, "env:NOWHERE": errUnset, "env:WRONG": errUnknown, "env:": errURI,
	"env:canary-1": errURI, "env:$APP": errURI,
	"env:" + strings.Repeat("A", 65): errURI, "kms:canary": errScheme,
	strings.Repeat("canary", 9) + ":x": errScheme, "file://host/a.pem": errURI,
}

func TestOpenOfVariables(t *testing.T) {
	t.Parallel()
	o := Options{Environ: []string{"APP_KEY=x", "APP_KEY=" + pemPKCS1(rsaKey()), "EMPTY=", "WRONG=canary"}}
	key := testkit.Must(Open(t.Context(), "env:APP_KEY", o))(t)
	proves(t, key, rsaKey())
	for uri, want := range openMistakes {
		key, err := Open(t.Context(), uri, o)
		if !errors.Is(err, want) || key != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestOpenOfFiles(t *testing.T) {
	t.Parallel()
	path := write(t, "my app.pem", pemPKCS1(rsaKey()), 0o600)
	for _, uri := range []string{path, "file:" + path, "file://" + strings.ReplaceAll(path, " ", "%20")} {
		key := testkit.Must(Open(t.Context(), uri, Options{}))(t)
		proves(t, key, rsaKey())
	}
	if key, err := Open(t.Context(), path+".no", Options{}); key != nil || !errors.Is(err, ErrMissing) {
		t.Errorf("%v, %v", key, err)
	}
}

func FuzzParseResponse(f *testing.F) {
	for _, text := range []string{`{"version":1,"public_key":"AAAA"}`, `{"version":1,"error":{"kind":"pin"}}`,
		`{"version":1}{}`, `[`, `{"version":"1"}`, `{"version":null}`} {
		f.Add([]byte(text), execsigner.OperationPublicKey)
		f.Add([]byte(text), execsigner.OperationSign)
		f.Add([]byte(text), execsigner.OperationImport)
	}
	f.Fuzz(func(t *testing.T, text []byte, operation string) {
		value, err := parseResponse(text, operation)
		testkit.Equal(t, (err == nil), (len(value) > 0), "%q: %q, %v", text, value, err)
		if _, ok := errors.AsType[*KeyError](err); err != nil && !ok {
			t.Errorf("%q: %v", text, err)
		}
	})
}
