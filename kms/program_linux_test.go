package kms

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/signer"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// testPIN is the secret of these tests. It is in no message.
const testPIN = "47-canary"

// request is a question of the exec protocol, as ghapp writes it.
type request struct {
	signer.Request
	PrivateKey []byte `json:"private_key,omitempty"`
}

// reply is what the program says.
type reply struct {
	signer.Response
	stderr string
}

// ask runs ghapp-signer-kms for one request.
func ask(t *testing.T, environ []string, r request) reply {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r.Version = signer.ProtocolVersion
	if r.Seconds == 0 {
		r.Seconds = 20
	}
	question, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Args[0] = signer.KMSProgram // what TestMain goes by
	cmd.Env = append(cmd.Environ(), environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdin = bytes.NewReader(append(question, '\n'))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	got := reply{stderr: stderr.String()}
	if unmarshal := json.Unmarshal(stdout.Bytes(), &got.Response); unmarshal != nil {
		t.Fatalf("the program ended with %v, and standard output is no answer: %v\n%s\n%s", err, unmarshal, &stdout, &stderr)
	}
	if text := stdout.String() + stderr.String(); strings.Contains(text, testPIN) {
		t.Errorf("the PIN is told:\n%s", text)
	}
	if got.Error != nil && strings.Contains(got.Error.Message, "\n") {
		t.Errorf("the message is not one line: %s", got.Error.Message)
	}
	return got
}

func publicKeyOf(t *testing.T, environ []string, uri string) reply {
	t.Helper()
	return ask(t, environ, request{Request: signer.Request{Operation: signer.OperationPublicKey, Key: uri}})
}

var testMessage = []byte("header.payload")

func signatureOf(t *testing.T, environ []string, uri string) reply {
	t.Helper()
	digest := sha256.Sum256(testMessage)
	return ask(t, environ, request{Request: signer.Request{Operation: signer.OperationSign, Key: uri, Algorithm: "RS256", Message: testMessage, Digest: digest[:]}})
}

func imported(t *testing.T, environ []string, uri string, private *rsa.PrivateKey) reply {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, environ, request{Request: signer.Request{Operation: signer.OperationImport, Key: uri}, PrivateKey: der})
}

// wantKey fails if the URI does not name the key, or the key does not sign.
func wantKey(t *testing.T, environ []string, uri string, want *rsa.PrivateKey) {
	t.Helper()
	got := publicKeyOf(t, environ, uri)
	if got.Error != nil {
		t.Fatalf("%s: %v", uri, got.Error)
	}
	public, err := x509.ParsePKIXPublicKey(got.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if !want.PublicKey.Equal(public) {
		t.Fatalf("%s names another key", uri)
	}
	got = signatureOf(t, environ, uri)
	if got.Error != nil {
		t.Fatalf("%s: %v", uri, got.Error)
	}
	digest := sha256.Sum256(testMessage)
	if err := rsa.VerifyPKCS1v15(&want.PublicKey, crypto.SHA256, digest[:], got.Signature); err != nil {
		t.Fatalf("%s: %v", uri, err)
	}
}

// wantFailure fails if the answer is no failure of a kind that says something.
func wantFailure(t *testing.T, got reply, kind, says string) {
	t.Helper()
	if got.Error == nil || got.Error.Kind != kind || !strings.Contains(got.Error.Message, says) {
		t.Errorf("the answer is %v, and is to be %s with %q", got.Error, kind, says)
	}
	if got.Error != nil && signer.Kinds()[kind] == signer.Problem("") {
		t.Errorf("the protocol has no kind %s", kind)
	}
}

// run runs a program that has to succeed.
func run(t *testing.T, environ []string, program string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v; scripts/need brings it on Debian", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(cmd.Environ(), environ...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, output)
	}
	return string(output)
}

func writeFile(t *testing.T, text string, name ...string) string {
	t.Helper()
	path := filepath.Join(name...)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keys are made once for all tests: that takes a while.
var keys sync.Map // of bits, to func() (*rsa.PrivateKey, error)

func testKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	made, _ := keys.LoadOrStore(bits, sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, bits) }))
	key, err := made.(func() (*rsa.PrivateKey, error))()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
