//go:build unix

package signer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func keyFrom(t testing.TB, text string) *Key {
	t.Helper()
	key := testkit.Must(FromText("the test", text))(t)
	return key
}

func TestImportPutsAKeyBehindAProgramOnce(t *testing.T) {
	t.Parallel()
	o := ImportOptions{Options: playing(t, "safe")}
	o.Environ[0] = role + "=safe works"
	m := new(memory)
	o.Memory = m
	key := keyFrom(t, pemPKCS1(rsaKey()))
	for attempt, want := range []string{"public-key import public-key sign", "public-key sign"} {
		held, put, err := Import(t.Context(), key, programURI(), o)
		if err != nil || put != (attempt == 0) {
			t.Fatalf("%v, %v", put, err)
		}
		testkit.Equal(t, asked(t, o.Options), want, "the program was asked for")
		proves(t, held, rsaKey())
		asked(t, o.Options)
	}
	if len(m.entries) > 0 {
		t.Error("what was remembered is believed")
	}
	// Another key does not take its place.
	before := testkit.Must(os.ReadFile(o.variable("SIGNER_TEST_SAFE")))(t)
	_, put, err := Import(t.Context(), keyFrom(t, pemPKCS1(otherKey())), programURI(), o)
	if put || !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), key.Fingerprint()) {
		t.Errorf("%v, %v", put, err)
	}
	if after, err := os.ReadFile(o.variable("SIGNER_TEST_SAFE")); err != nil || !bytes.Equal(before, after) {
		t.Error("the key that was there is gone")
	}
	testkit.Equal(t, asked(t, o.Options), "public-key", "the program was asked for")
}

// importMistakes are safes that do not keep a key, and what is said of them.
var importMistakes = []struct {
	part string
	want Problem
	put  bool // something may be there
	says string
}{
	{"safe refuses unsupported", ErrUnsupported, false, "no room"},
	{"safe refuses exists", ErrExists, false, "no room"},
	{"safe refuses denied", ErrDenied, false, "no room"},
	{"safe refuses declined", errNotTaken, false, "no room"},
	{"safe refuses failed", errNotTaken, true, "no room"},
	{"safe refuses unavailable", ErrUnavailable, true, "no room"},
	{"safe tells another", errProtocol, true, "the program tells of another key than the one that it was given"},
	{"safe loses", ErrNoKey, true, ""},
	{"safe swaps", errWrongSignature, true, ""},
	{"safe stalls", ErrTimeout, true, "waited for 2s"},
	{"fail pin", ErrPIN, false, ""},
	{"silent", errProtocol, false, "the program said nothing"},
}

func TestImportThatFailsSaysWhetherSomethingIsLeft(t *testing.T) {
	t.Parallel()
	for _, test := range importMistakes {
		t.Run(test.part, func(t *testing.T) {
			t.Parallel()
			o := ImportOptions{Options: playing(t, test.part)}
			if test.want == ErrTimeout {
				o.Timeout = 2 * time.Second
			}
			held, put, err := Import(t.Context(), keyFrom(t, pemPKCS1(rsaKey())), programURI(), o)
			if held != nil || put != test.put || !errors.Is(err, test.want) {
				t.Fatalf("%v, %v, %v", held, put, err)
			}
			e, ok := errors.AsType[*KeyError](err)
			if !ok || e.Hint() == "" || !strings.HasSuffix(err.Error(), test.says) ||
				strings.Contains(err.Error()+e.Hint(), "canary") {
				t.Errorf("%v, %s", err, e.Hint())
			}
		})
	}
}

// A program that repeats what it was given is not believed to know better.
func TestKeyThatAProgramRepeatsIsNotShown(t *testing.T) {
	t.Parallel()
	o := ImportOptions{Options: playing(t, "safe blabs")}
	var notices []string
	o.Notice = func(line string) { notices = append(notices, line) }
	_, _, err := Import(t.Context(), keyFrom(t, pemPKCS1(rsaKey())), programURI(), o)
	der := testkit.Must(x509.MarshalPKCS8PrivateKey(rsaKey()))(t)
	middle := base64.StdEncoding.EncodeToString(der)[600:640]
	told := fmt.Sprint(notices, err)
	if !errors.Is(err, errNotTaken) || strings.Count(told, "[redacted]") < 2 || strings.Contains(told, middle) ||
		strings.Contains(told, "MII") {
		t.Errorf("it is told: %s", told)
	}
}

func TestImportIsRefusedWhereNoKeyCanBePut(t *testing.T) {
	t.Parallel()
	key := keyFrom(t, pemPKCS1(rsaKey()))
	o := ImportOptions{Options: Options{Environ: []string{"A_KEY="}}}
	for uri, want := range map[string]Problem{
		"app.pem": ErrUnsupported, "file:/app.pem": ErrUnsupported, "env:A_KEY": ErrUnsupported, "kms:canary": errScheme,
		"keyring:": errURI, "ssh-agent:": errURI, "ssh-agent:app": errNoAgent, "exec:/nowhere/to/be/found": errNoProgram,
	} {
		if _, put, err := Import(t.Context(), key, uri, o); put || !errors.Is(err, want) {
			t.Errorf("%s: %v, %v", uri, put, err)
		}
	}
	o.Confirm = true
	if _, _, err := Import(t.Context(), key, "keyring:app", o); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	o.Confirm, o.Lifetime = false, time.Millisecond
	if _, _, err := Import(t.Context(), key, "ssh-agent:app?socket=/a", o); !errors.Is(err, errURI) {
		t.Error(err)
	}
	if _, _, err := Import(t.Context(), new(Key), "ssh-agent:app?socket=/a", ImportOptions{}); !errors.Is(err, errEmpty) {
		t.Error(err)
	}
}

// An agent is told the numbers in the order of its protocol, and the constraints.
func TestAgentIsGivenTheKey(t *testing.T) {
	t.Parallel()
	var added []byte
	socket := fakeAgent(t, func(message []byte) []byte {
		switch message[0] {
		case agentAddIdentity, agentAddConstrained:
			added = bytes.Clone(message)
			return framed(agentSuccess)
		case agentSignRequest:
			return signed(t, rsaKey(), message)
		}
		if added == nil {
			return identities()
		}
		return identities(agentKey{sshRSA(&rsaKey().PublicKey), "my app"})
	})
	key := keyFrom(t, pemPKCS1(rsaKey()))
	for _, test := range []struct {
		uri  string
		o    ImportOptions
		kind byte
		tail []byte
	}{
		{"ssh-agent:my%20app", ImportOptions{}, agentAddIdentity, nil},
		{"ssh-agent:my%20app", ImportOptions{Confirm: true, Lifetime: 90 * time.Second}, agentAddConstrained,
			[]byte{agentConstrainLifetime, 0, 0, 0, 90, agentConstrainConfirm}},
	} {
		added = nil
		test.o.Environ = []string{"SSH_AUTH_SOCK=" + socket}
		held, put, err := Import(t.Context(), key, test.uri, test.o)
		if err != nil || !put {
			t.Fatalf("%v, %v", put, err)
		}
		proves(t, held, rsaKey())
		kind, rest, _ := cutString(added[1:])
		testkit.Equal(t, added[0], test.kind)
		testkit.Equal(t, string(kind), "ssh-rsa")
		k := rsaKey()
		qinv := new(big.Int).ModInverse(k.Primes[1], k.Primes[0])
		for i, want := range []*big.Int{k.N, big.NewInt(int64(k.E)), k.D, qinv, k.Primes[0], k.Primes[1]} {
			var number []byte
			number, rest, _ = cutString(rest)
			testkit.Equal(t, new(big.Int).SetBytes(number).Cmp(want), 0, "number %d is another", i)
		}
		comment, rest, ok := cutString(rest)
		if !ok || string(comment) != "my app" || !bytes.Equal(rest, test.tail) {
			t.Errorf("comment %q, constraints % x", comment, rest)
		}
	}
}

func TestAgentThatTakesNoKey(t *testing.T) {
	t.Parallel()
	ours := sshRSA(&rsaKey().PublicKey)
	list := identities()
	refusing := fakeAgent(t, func(message []byte) []byte {
		if message[0] == agentRequestIdentities {
			return list
		}
		return framed(agentFailure)
	})
	key := keyFrom(t, pemPKCS1(rsaKey()))
	add := func(socket, name string) (bool, error) {
		_, put, err := Import(context.Background(), key, "ssh-agent:"+name,
			ImportOptions{Options: Options{Environ: []string{"SSH_AUTH_SOCK=" + socket}}})
		return put, err
	}
	if put, err := add(refusing, "app"); put || !errors.Is(err, errNotTaken) {
		t.Errorf("%v, %v", put, err)
	}
	if put, err := add(refusing, Fingerprint(&otherKey().PublicKey)); put || !errors.Is(err, errURI) {
		t.Errorf("%v, %v", put, err)
	}
	// Its comment is not replaced: somebody may name it by that.
	list = identities(agentKey{ours, "mine"})
	if put, err := add(refusing, "app"); put || !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), `"mine"`) {
		t.Errorf("%v, %v", put, err)
	}
}
