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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// testPIN is the secret of these tests. It is in no message.
const testPIN = "47-canary"

// request is a question of the exec protocol, as ghapp writes it.
type request struct {
	execsigner.Request
	PrivateKey []byte `json:"private_key,omitempty"`
}

// reply is what the program says.
type reply struct {
	execsigner.Response
	stderr string
}

// ask runs ghapp-signer-kms for one request.
func ask(t *testing.T, environ []string, r request) reply {
	t.Helper()
	self := testkit.Must(os.Executable())(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r.Version = execsigner.ProtocolVersion
	if r.Seconds == 0 {
		r.Seconds = 20
	}
	question := testkit.Must(json.Marshal(r))(t)
	cmd := exec.CommandContext(ctx, self)
	cmd.Args[0] = signer.KMSProgram // what TestMain goes by
	cmd.Env = append(cmd.Environ(), environ...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdin = bytes.NewReader(append(question, '\n'))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	got := reply{stderr: stderr.String()}
	if unmarshal := json.Unmarshal(stdout.Bytes(), &got.Response); unmarshal != nil {
		t.Fatalf("the program ended with %v, and standard output is no answer: %v\n%s\n%s", err, unmarshal, &stdout, &stderr)
	}
	testkit.Lacks(t, stdout.String()+stderr.String(), testPIN)
	if got.Error != nil && strings.Contains(got.Error.Message, "\n") {
		t.Errorf("the message is not one line: %s", got.Error.Message)
	}
	return got
}

func publicKeyOf(t *testing.T, environ []string, uri string) reply {
	t.Helper()
	return ask(t, environ, request{Request: execsigner.Request{Operation: execsigner.OperationPublicKey, Key: uri}})
}

var testMessage = []byte("header.payload")

func signatureOf(t *testing.T, environ []string, uri string) reply {
	t.Helper()
	digest := sha256.Sum256(testMessage)
	return ask(t, environ, request{Request: execsigner.Request{Operation: execsigner.OperationSign, Key: uri,
		Algorithm: "RS256", Message: testMessage, Digest: digest[:]}})
}

func imported(t *testing.T, environ []string, uri string, private *rsa.PrivateKey) reply {
	t.Helper()
	der := testkit.Must(x509.MarshalPKCS8PrivateKey(private))(t)
	return ask(t, environ,
		request{Request: execsigner.Request{Operation: execsigner.OperationImport, Key: uri}, PrivateKey: der})
}

// wantKey fails if the URI does not name the key, or the key does not sign.
func wantKey(t *testing.T, environ []string, uri string, want *rsa.PrivateKey) {
	t.Helper()
	got := publicKeyOf(t, environ, uri)
	if got.Error != nil {
		t.Fatalf("%s: %v", uri, got.Error)
	}
	public := testkit.Must(x509.ParsePKIXPublicKey(got.PublicKey))(t)
	if !want.PublicKey.Equal(public) {
		t.Fatalf("%s names another key", uri)
	}
	got = signatureOf(t, environ, uri)
	if got.Error != nil {
		t.Fatalf("%s: %v", uri, got.Error)
	}
	digest := sha256.Sum256(testMessage)
	testkit.OK(t, rsa.VerifyPKCS1v15(&want.PublicKey, crypto.SHA256, digest[:], got.Signature), "%s", uri)
}

// wantFailure fails if the answer is no failure of a kind that says something.
func wantFailure(t *testing.T, got reply, kind, says string) {
	t.Helper()
	if got.Error == nil || got.Error.Kind != kind || !strings.Contains(got.Error.Message, says) {
		t.Errorf("the answer is %v, and is to be %s with %q", got.Error, kind, says)
	}
	if got.Error != nil && !slices.Contains(execsigner.Kinds(), kind) {
		t.Errorf("the protocol has no kind %s", kind)
	}
}

// run runs a program that has to succeed.
func run(t *testing.T, environ []string, program string, args ...string) string {
	t.Helper()
	path := testkit.Program(t, program)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(cmd.Environ(), environ...)
	output, err := cmd.CombinedOutput()
	testkit.OK(t, err, "%s %q, %s", program, args, output)
	return string(output)
}

func writeFile(t *testing.T, text string, name ...string) string {
	t.Helper()
	path := filepath.Join(name...)
	testkit.OK(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// keys are made once for all tests: that takes a while.
var keys sync.Map // of bits, to func() (*rsa.PrivateKey, error)

func testKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	made, _ := keys.LoadOrStore(bits,
		sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, bits) }))
	key := testkit.Must(made.(func() (*rsa.PrivateKey, error))())(t)
	return key
}
