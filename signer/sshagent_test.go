//go:build unix

package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// fakeAgent answers with what respond returns for a message, whole with its length;
// nil hangs up.
func fakeAgent(t testing.TB, respond func(message []byte) []byte) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ghapp-agent-") // names of sockets are bounded
	testkit.OK(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener := testkit.Must(net.Listen("unix", filepath.Join(dir, "s")))(t)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					message, err := readAgentFrame(conn)
					if err != nil {
						return
					}
					answer := respond(message)
					if answer == nil {
						return
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func framed(message ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)
}

// identities is an agent's list of keys.
func identities(keys ...agentKey) []byte {
	message := binary.BigEndian.AppendUint32([]byte{agentIdentitiesAnswer}, uint32(len(keys)))
	for _, key := range keys {
		message = appendString(appendString(message, key.blob), []byte(key.comment))
	}
	return framed(message...)
}

func signature(format string, value []byte) []byte {
	blob := appendString(appendString(nil, []byte(format)), value)
	return framed(appendString([]byte{agentSignResponse}, blob)...)
}

// signed is what an agent with this key answers to agentSignRequest.
func signed(t testing.TB, private *rsa.PrivateKey, request []byte) []byte {
	t.Helper()
	blob, rest, ok := cutString(request[1:])
	message, flags, more := cutString(rest)
	if !ok || !more || !bytes.Equal(blob, sshRSA(&private.PublicKey)) ||
		!bytes.Equal(flags, []byte{0, 0, 0, agentRSASHA256}) {
		t.Errorf("the request is % x", request)
		return nil
	}
	digest := sha256.Sum256(message)
	value, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, digest[:])
	if err != nil {
		t.Error(err)
		return nil
	}
	return signature("rsa-sha2-256", value)
}

func ed25519Blob() []byte {
	return appendString(appendString(nil, []byte("ssh-ed25519")), make([]byte, 32))
}

func TestAgentKeyByCommentAndFingerprint(t *testing.T) {
	t.Parallel()
	ours, other := sshRSA(&rsaKey().PublicKey), sshRSA(&otherKey().PublicKey)
	socket := fakeAgent(t, func(message []byte) []byte {
		if message[0] == agentSignRequest {
			return signed(t, rsaKey(), message)
		}
		return identities(agentKey{ed25519Blob(), "me@home"}, agentKey{other, "other app"},
			agentKey{ours, "my app"}, agentKey{ours, "my app"})
	})
	sum := sha256.Sum256(ours)
	for _, name := range []string{
		"my app", "my%20app", Fingerprint(&rsaKey().PublicKey), "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:]),
	} {
		key, err := Open(t.Context(), "ssh-agent:"+name, Options{Environ: []string{"SSH_AUTH_SOCK=" + socket}})
		testkit.OK(t, err)
		proves(t, key, rsaKey())
		if key, err = Open(t.Context(), "ssh-agent:"+name+"?socket="+socket,
			Options{Environ: []string{"SSH_AUTH_SOCK=/nowhere"}}); err != nil {
			t.Fatal(err)
		}
		proves(t, key, rsaKey())
	}
}

// agentMistakes are agents that have no key for the comment "app", or do not sign.
var agentMistakes = []struct {
	name string
	list func() []byte                             // nil: our key
	sign func(t testing.TB, request []byte) []byte // nil: agentFailure
	want Problem
	says string
}{
	{"no keys", func() []byte { return identities() }, nil, ErrNoKey, "the agent has no keys, or is locked"},
	{"other keys", func() []byte { return identities(agentKey{sshRSA(&otherKey().PublicKey), "apps"}) }, nil, ErrNoKey,
		"none of the agent's 1 keys has this fingerprint or comment"},
	{"an Ed25519 key", func() []byte { return identities(agentKey{ed25519Blob(), "app"}) }, nil, errEd25519, ""},
	{"an ECDSA key", func() []byte {
		return identities(agentKey{appendString(nil, []byte("ecdsa-sha2-nistp256")), "app"})
	}, nil, errEC, ""},
	{"an ECDSA key on a token", func() []byte {
		return identities(agentKey{appendString(nil, []byte("sk-ecdsa-sha2-nistp256@openssh.com")), "app"})
	}, nil, errEC, ""},
	{"a DSA key", func() []byte { return identities(agentKey{appendString(nil, []byte("ssh-dss")), "app"}) },
		nil, errDSA, ""},
	{"a certificate", func() []byte {
		return identities(agentKey{appendString(nil, []byte("ssh-rsa-cert-v01@openssh.com")), "app"})
	}, nil, errCertificate, ""},
	{"a key cut off", func() []byte { return identities(agentKey{sshRSA(&rsaKey().PublicKey)[:100], "app"}) }, nil,
		errInvalid, ""},
	{"no key in it", func() []byte { return identities(agentKey{nil, "app"}) }, nil, errAlgorithm, ""},
	{"a short key", func() []byte { return identities(agentKey{sshRSA(&short1024().PublicKey), "app"}) },
		nil, errTooShort, "1024 bits"},
	{"two keys", func() []byte {
		return identities(agentKey{sshRSA(&rsaKey().PublicKey), "app"}, agentKey{sshRSA(&otherKey().PublicKey), "app"})
	}, nil, errSeveralKeys, ""},
	{"a refusal to list", func() []byte { return framed(agentFailure) }, nil, ErrDenied,
		"the agent does not tell which keys it has"},
	{"an answer to something else", func() []byte { return framed(99) }, nil, errProtocol, errAgentType.Error()},
	{"no count", func() []byte { return framed(agentIdentitiesAnswer, 0) }, nil, errProtocol, errAgentFrame.Error()},
	{"too few keys", func() []byte { return framed(agentIdentitiesAnswer, 255, 255, 255, 255) }, nil,
		errProtocol, errAgentFrame.Error()},
	{"something behind the keys", func() []byte { return framed(agentIdentitiesAnswer, 0, 0, 0, 0, 7) }, nil,
		errProtocol, errAgentFrame.Error()},
	{"nothing", func() []byte { return framed() }, nil, errProtocol, errAgentFrame.Error()},
	{"too much", func() []byte { return []byte{255, 255, 255, 255} }, nil, errProtocol, errAgentFrame.Error()},
	{"a hang-up", func() []byte { return nil }, nil, ErrUnavailable, "the ssh-agent at SOCKET: it hung up: EOF"},
	{"no confirmation", nil, nil, ErrDeclined, "the agent has the key and does not sign with it"},
	{"SHA-1", nil, func(testing.TB, []byte) []byte { return signature("ssh-rsa", make([]byte, 256)) },
		errProtocol, errAgentSHA1.Error()},
	{"SHA-512", nil, func(testing.TB, []byte) []byte { return signature("rsa-sha2-512", make([]byte, 256)) },
		errProtocol, errAgentType.Error()},
	{"no signature", nil, func(testing.TB, []byte) []byte { return framed(agentSignResponse, 0, 0, 0, 9) },
		errProtocol, errAgentFrame.Error()},
	{"a signature by another key", nil, func(t testing.TB, request []byte) []byte {
		message := appendString([]byte{agentSignRequest}, sshRSA(&otherKey().PublicKey))
		_, rest, _ := cutString(request[1:])
		return signed(t, otherKey(), append(message, rest...))
	}, errWrongSignature, ""},
	{"no socket", nil, nil, errNoAgent, "SSH_AUTH_SOCK is not set"},
	{"nobody there", nil, nil, ErrUnavailable, "the ssh-agent at SOCKET: connect: no such file or directory"},
}

var short1024 = generate(1024)

func TestAgentMistakes(t *testing.T) {
	t.Parallel()
	ours := agentKey{sshRSA(&rsaKey().PublicKey), "app"}
	for _, test := range agentMistakes {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			socket := fakeAgent(t, func(message []byte) []byte {
				switch {
				case message[0] == agentRequestIdentities && test.list != nil:
					return test.list()
				case message[0] == agentRequestIdentities:
					return identities(ours)
				case test.sign != nil:
					return test.sign(t, message)
				}
				return framed(agentFailure)
			})
			switch test.name {
			case "no socket":
				socket = ""
			case "nobody there":
				socket += ".no"
			}
			key, err := Open(t.Context(), "ssh-agent:app", Options{Environ: []string{"SSH_AUTH_SOCK=" + socket}})
			if err == nil {
				_, err = key.Sign(t.Context(), []byte("header.payload"))
			}
			want := "cannot use the private key in ssh-agent:app: " + string(test.want)
			if test.says != "" {
				want += ": " + strings.ReplaceAll(test.says, "SOCKET", socket)
			}
			if err == nil || err.Error() != want || !errors.Is(err, test.want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

func TestSilentAgentIsATimeout(t *testing.T) {
	t.Parallel()
	quit := make(chan struct{})
	t.Cleanup(func() { close(quit) })
	socket := fakeAgent(t, func([]byte) []byte { <-quit; return nil })
	_, err := Open(t.Context(), "ssh-agent:app?socket="+socket, Options{Timeout: 100 * time.Millisecond})
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestAgentURIs(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"ssh-agent:", "ssh-agent:%20", "ssh-agent:%zz", "ssh-agent:a%0ab",
		"ssh-agent:app?socket=relative", "ssh-agent:app?socket=%z"} {
		testkit.ErrorIs(t, testkit.ErrorOf(Open(t.Context(), uri, Options{})), errURI, "%s", uri)
	}
}

// The key that is remembered left the agent, and another one has its comment.
func TestAgentKeyThatIsAnotherByNow(t *testing.T) {
	t.Parallel()
	current := rsaKey()
	socket := fakeAgent(t, func(message []byte) []byte {
		if message[0] == agentRequestIdentities {
			return identities(agentKey{sshRSA(&current.PublicKey), "app"})
		}
		if blob, _, _ := cutString(message[1:]); !bytes.Equal(blob, sshRSA(&current.PublicKey)) {
			return framed(agentFailure)
		}
		return signed(t, current, message)
	})
	o := Options{Memory: new(memory), Environ: []string{"SSH_AUTH_SOCK=" + socket}}
	testkit.Must(Open(t.Context(), "ssh-agent:app", o))(t)
	current = otherKey()
	key := testkit.Must(Open(t.Context(), "ssh-agent:app", o))(t)
	if _, err := key.Sign(t.Context(), []byte("header.payload")); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	proves(t, key, otherKey())
}

// What is remembered serves without an agent.
func TestRememberedAgentKeyNeedsNoAgentToBeOpened(t *testing.T) {
	t.Parallel()
	socket := fakeAgent(t, func([]byte) []byte { return identities(agentKey{sshRSA(&rsaKey().PublicKey), "app"}) })
	o := Options{Memory: new(memory), Environ: []string{"SSH_AUTH_SOCK=" + socket}}
	testkit.Must(Open(t.Context(), "ssh-agent:app", o))(t)
	o.Environ = []string{}
	key, err := Open(t.Context(), "ssh-agent:app", o)
	if err != nil || key.Fingerprint() != Fingerprint(&rsaKey().PublicKey) {
		t.Fatal(err)
	}
	testkit.ErrorIs(t, testkit.ErrorOf(key.Sign(t.Context(), nil)), errNoAgent)
}

// RFC 8332 has the signature as a string, and some agents leave leading zeros out.
func TestSignatureWithoutItsLeadingZerosIsTaken(t *testing.T) {
	t.Parallel()
	var message []byte
	for i := 0; ; i++ {
		message = binary.BigEndian.AppendUint32(nil, uint32(i))
		digest := sha256.Sum256(message)
		value := testkit.Must(rsa.SignPKCS1v15(nil, rsaKey(), crypto.SHA256, digest[:]))(t)
		if value[0] == 0 {
			break
		}
	}
	socket := fakeAgent(t, func(request []byte) []byte {
		if request[0] == agentRequestIdentities {
			return identities(agentKey{sshRSA(&rsaKey().PublicKey), "app"})
		}
		digest := sha256.Sum256(message)
		value, _ := rsa.SignPKCS1v15(nil, rsaKey(), crypto.SHA256, digest[:])
		return signature("rsa-sha2-256", bytes.TrimLeft(value, "\x00"))
	})
	key := testkit.Must(Open(t.Context(), "ssh-agent:app?socket="+socket, Options{}))(t)
	testkit.Equal(t, len(testkit.Must(key.Sign(t.Context(), message))(t)), 256, "bytes")
}

func FuzzAgentMessages(f *testing.F) {
	f.Add(identities(agentKey{sshRSA(&rsaKey().PublicKey), "app"}, agentKey{ed25519Blob(), ""})[4:])
	f.Add(signature("rsa-sha2-256", []byte("x"))[4:])
	f.Add([]byte{agentFailure})
	f.Fuzz(func(t *testing.T, message []byte) {
		if read, err := readAgentFrame(bytes.NewReader(framed(message...))); err == nil && !bytes.Equal(read, message) {
			t.Errorf("% x was read as % x", message, read)
		}
		if len(message) == 0 {
			return
		}
		if keys, err := parseIdentities(message); err == nil {
			if again := identities(keys...)[4:]; !bytes.Equal(again, message) {
				t.Errorf("% x was read as % x", message, again)
			}
			for _, key := range keys {
				public, problem := parseSSHKey(key.blob)
				if (public == nil) == (problem == "") {
					t.Errorf("% x: %v, %q", key.blob, public, problem)
				}
				_, _ = choosePublic(keys, key.comment)
			}
		}
		if value, err := parseAgentSignature(message); err == nil {
			if again := signature("rsa-sha2-256", value)[4:]; !bytes.Equal(again, message) {
				t.Errorf("% x was read as % x", message, again)
			}
		}
	})
}

func FuzzSSHKey(f *testing.F) {
	f.Add(sshRSA(&rsaKey().PublicKey))
	f.Add(ed25519Blob())
	f.Add(appendString(nil, []byte("ssh-rsa")))
	f.Fuzz(func(t *testing.T, blob []byte) {
		public, problem := parseSSHKey(blob)
		if (public == nil) == (problem == "") {
			t.Errorf("% x: %v, %q", blob, public, problem)
		}
		if public != nil && !public.Equal(mustSSHKey(t, sshRSA(public))) {
			t.Errorf("% x is another key when it is written again", blob)
		}
	})
}

func mustSSHKey(t testing.TB, blob []byte) *rsa.PublicKey {
	t.Helper()
	public, problem := parseSSHKey(blob)
	if public == nil {
		t.Fatalf("% x: %s", blob, problem)
	}
	return public
}
