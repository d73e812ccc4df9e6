package signer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// role, in the environment, makes this binary a program of the exec protocol.
const role = "SIGNER_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if part := os.Getenv(role); part != "" {
		os.Exit(play(part))
	}
	os.Exit(m.Run())
}

// testPIN is the secret of the key URIs of these tests.
const testPIN = "4711-canary"

// holder signs with the key in a file.
type holder struct{ path string }

func (h holder) PublicKey(context.Context, string) ([]byte, error) {
	key, err := File(h.path)
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKIXPublicKey(key.Public())
}

func (h holder) Sign(ctx context.Context, _ string, message, _ []byte) ([]byte, error) {
	key, err := File(h.path)
	if err != nil {
		return nil, err
	}
	return key.Sign(ctx, message)
}

// safe is a place for one key, a file, that is empty at first.
type safe struct {
	holder
	part string
}

func (s safe) PublicKey(ctx context.Context, uri string) ([]byte, error) {
	if _, err := os.Stat(s.path); err != nil {
		return nil, &execsigner.Failure{Kind: "not-found"}
	}
	return s.holder.PublicKey(ctx, uri)
}

func (s safe) Import(_ context.Context, _ string, der []byte) ([]byte, error) {
	if kind, ok := strings.CutPrefix(s.part, "refuses "); ok {
		return nil, &execsigner.Failure{Kind: kind, Message: "no room"}
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.(*rsa.PrivateKey).PublicKey)
	if err != nil {
		return nil, err
	}
	switch s.part {
	case "tells another":
		return holder{os.Getenv("SIGNER_TEST_OTHER")}.PublicKey(context.Background(), "")
	case "loses":
		return public, nil
	case "swaps":
		text, err := os.ReadFile(os.Getenv("SIGNER_TEST_OTHER"))
		if err != nil {
			return nil, err
		}
		return public, os.WriteFile(s.path, text, 0o600)
	case "stalls":
		time.Sleep(time.Hour)
	case "blabs":
		text := base64.StdEncoding.EncodeToString(der)
		fmt.Fprintln(os.Stderr, "got "+text)
		return nil, &execsigner.Failure{Kind: "failed", Message: "cannot use " + text}
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return public, os.WriteFile(s.path, text, 0o600)
}

// play is what a program does.
func play(part string) int {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 1
	}
	var request execsigner.Request
	if json.Unmarshal(input, &request) != nil || bytes.Count(input, []byte("\n")) != 1 {
		return 9
	}
	if path := os.Getenv("SIGNER_TEST_LOG"); path != "" {
		log, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 1
		}
		fmt.Fprintln(log, request.Operation)
	}
	key := holder{os.Getenv("SIGNER_TEST_KEY")}
	answer := func(h execsigner.Holder) {
		_ = execsigner.Answer(context.Background(), bytes.NewReader(input), os.Stdout, h)
	}
	kind, failing := strings.CutPrefix(part, "fail ")
	if failing {
		fmt.Printf(`{"version":1,"error":{"kind":%q,"message":"the device says\n%s"}}`, kind, request.Key)
		return 0
	}
	if kind, late := strings.CutPrefix(part, "sign and fail "); late {
		if part = "good"; request.Operation == execsigner.OperationSign {
			fmt.Printf(`{"version":1,"error":{"kind":%q}}`, kind)
			return 0
		}
	}
	if how, ok := strings.CutPrefix(part, "safe "); ok {
		answer(safe{holder{os.Getenv("SIGNER_TEST_SAFE")}, how})
		return 0
	}
	switch part {
	case "session":
		stat, err := os.ReadFile("/proc/self/stat")
		if err != nil {
			return 1
		}
		fmt.Fprintf(os.Stderr, "%d %s\n", os.Getpid(), strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[3])
		answer(key)
	case "good":
		fmt.Fprintln(os.Stderr, "touch the key")
		fmt.Fprintf(os.Stderr, "opened %s\n", request.Key)
		answer(key)
	case "request":
		fmt.Fprintf(os.Stderr, "%s", input)
		answer(key)
	case "environment":
		for _, entry := range os.Environ() {
			fmt.Fprintln(os.Stderr, entry)
		}
		answer(key)
	case "sign with another key":
		if request.Operation == execsigner.OperationSign {
			key.path = os.Getenv("SIGNER_TEST_OTHER")
		}
		answer(key)
	case "slow":
		time.Sleep(time.Hour)
	case "slow to sign":
		if request.Operation == execsigner.OperationSign {
			time.Sleep(time.Hour)
		}
		answer(key)
	case "child":
		child := exec.Command("sleep", "3600")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if child.Start() != nil {
			return 1
		}
		fmt.Fprintf(os.Stderr, "pid %d\n", child.Process.Pid)
		time.Sleep(time.Hour)
	case "silent":
	case "garbage":
		fmt.Println("Password: " + request.Key)
	case "not one object":
		fmt.Println(`["version"]`)
	case "two answers":
		answer(key)
		answer(key)
	case "huge":
		w := bufio.NewWriter(os.Stdout)
		for {
			if _, err := w.WriteString(strings.Repeat("x", 1<<16)); err != nil {
				return 1
			}
		}
	case "huge answer":
		fmt.Printf(`{"version":1,"public_key":%q}`, strings.Repeat("A", 1<<20))
	case "no version":
		fmt.Println(`{"public_key":"AAAA"}`)
	case "next version":
		fmt.Println(`{"version":2,"public_key":"AAAA"}`)
	case "wrong type":
		fmt.Println(`{"version":1,"public_key":7,"signature":7}`)
	case "no answer":
		fmt.Println(`{"version":1}`)
	case "no key":
		fmt.Println(`{"version":1,"public_key":"AAAA"}`)
	case "crash":
		fmt.Fprintf(os.Stderr, "something before\nno device for %s\x1b[31m\n", request.Key)
		return 3
	case "crash in silence":
		return 3
	case "flood of notices":
		for range 1000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("n", 1000))
		}
		answer(key)
	case "EC":
		ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return 1
		}
		der, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
		if err != nil {
			return 1
		}
		fmt.Printf(`{"version":1,"public_key":%q}`, base64.StdEncoding.EncodeToString(der))
	default:
		return 8
	}
	return 0
}
