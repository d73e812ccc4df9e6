package cli_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// The environment of this binary where it is a program of the exec protocol: the part
// that it plays, the file of the key it signs with, and a file to note what it is asked.
const (
	signerPart = "TEST_SIGNER"
	signerKey  = "TEST_SIGNER_KEY"
	signerLog  = "TEST_SIGNER_LOG"
)

// testPIN is a secret of key URIs.
const testPIN = "4711-canary-pin"

// signerProgram has the machine's programs of the exec protocol play a part. The key is
// outside of the machine, on which it lies in no file.
func (m *machine) signerProgram(part string) {
	m.t.Helper()
	dir := m.t.TempDir()
	m.environ[signerPart], m.environ[signerKey], m.environ[signerLog] = part,
		filepath.Join(dir, "key"), filepath.Join(dir, "log")
	m.write(m.environ[signerKey], string(m.keyPEM))
}

// withoutKeyFile removes the key's file and names the key by a URI.
func (m *machine) withoutKeyFile(uri string) {
	m.t.Helper()
	testkit.OK(m.t, os.Remove(m.environ["GHAPP_KEY"]))
	m.environ["GHAPP_KEY"] = uri
}

// signerAsked is what the program was asked for since the last time.
func (m *machine) signerAsked() string {
	m.t.Helper()
	text, err := os.ReadFile(m.environ[signerLog])
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	_ = os.Remove(m.environ[signerLog])
	return strings.Join(strings.Fields(string(text)), " ")
}

// playSigner answers one question of the exec protocol.
func playSigner(part string) int {
	if err := execsigner.Answer(context.Background(), os.Stdin, os.Stdout, signerRole(part)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// signerRole is a [execsigner.Holder].
type signerRole string

func (p signerRole) note(operation string) {
	log, err := os.OpenFile(os.Getenv(signerLog), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintln(log, operation)
		_ = log.Close()
	}
}

// fails is the error of a part such as "fail pin", which repeats what it must not.
func (p signerRole) fails(key string) error {
	if kind, ok := strings.CutPrefix(string(p), "fail "); ok {
		return &execsigner.Failure{Kind: kind, Message: "the device has no luck with " + key}
	}
	if p == "with PIN" && !strings.HasSuffix(key, "pin-value="+testPIN) {
		return &execsigner.Failure{Kind: "pin"}
	}
	if p == "slow" {
		time.Sleep(time.Hour)
	}
	return nil
}

func (p signerRole) PublicKey(_ context.Context, uri string) ([]byte, error) {
	p.note("public-key")
	if err := p.fails(uri); err != nil {
		return nil, err
	}
	if p == "EC" {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return x509.MarshalPKIXPublicKey(&key.PublicKey)
	}
	if _, err := os.Stat(os.Getenv(signerKey)); err != nil {
		return nil, &execsigner.Failure{Kind: "not-found"}
	}
	key, err := signer.File(os.Getenv(signerKey))
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(key.Public())
}

// Import keeps the key in the file that it signs with.
func (p signerRole) Import(ctx context.Context, uri string, privateKey []byte) ([]byte, error) {
	p.note("import")
	if err := p.fails(uri); err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateKey})
	if err := os.WriteFile(os.Getenv(signerKey), text, 0o600); err != nil {
		return nil, err
	}
	return p.PublicKey(ctx, uri)
}

func (p signerRole) Sign(ctx context.Context, uri string, message, _ []byte) ([]byte, error) {
	p.note("sign")
	if err := p.fails(uri); err != nil {
		return nil, err
	}
	key, err := signer.File(os.Getenv(signerKey))
	if err != nil {
		return nil, err
	}
	return key.Sign(ctx, message)
}

// signerURI is a key URI of this binary, with no secret in it.
func signerURI(t *testing.T) string {
	t.Helper()
	self := testkit.Must(filepath.Abs(os.Args[0]))(t)
	return "exec:" + self + "?slot=9a"
}
