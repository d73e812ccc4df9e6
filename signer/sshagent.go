package signer

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/secret"
)

// Of the protocol of ssh-agents (draft-ietf-sshm-ssh-agent sections 3 and 6) this is
// the part that signing needs, the list of keys and the signature, and the one that adds
// a key. An agent that signs
// with rsa-sha2-256 (RFC 8332 section 3) makes an RSASSA-PKCS1-v1_5 signature with
// SHA-256 of the bytes it is given, which of a JWT's signing input is RS256.
const (
	agentFailure           = 5
	agentSuccess           = 6
	agentRequestIdentities = 11
	agentIdentitiesAnswer  = 12
	agentSignRequest       = 13
	agentSignResponse      = 14
	agentAddIdentity       = 17
	agentAddConstrained    = 25

	agentConstrainLifetime = 1
	agentConstrainConfirm  = 2

	agentRSASHA256 = 2 // a flag of agentSignRequest

	maxAgentFrame = 256 << 10 // bytes, OpenSSH's own
)

var (
	errAgentFrame = errors.New("a message of the agent is not as long as it says")
	errAgentType  = errors.New("the agent answers with a message that does not fit the question")
	errAgentSHA1  = errors.New("the agent signs with SHA-1 only; rsa-sha2-256 needs OpenSSH 7.2 or GnuPG 2.2.6 or later")
)

// sshAgent is a [device] behind an ssh-agent's socket.
type sshAgent struct {
	socket string
	name   string // fingerprint or comment
}

func (o Options) openAgent(ctx context.Context, uri string) (Signer, error) {
	a, err := o.agent(uri)
	if err != nil {
		return nil, err
	}
	return o.openRemote(ctx, uri, a)
}

func (o Options) agent(uri string) (*sshAgent, error) {
	name, attributes, err := keyuri.Parts(uri)
	if err != nil {
		return nil, badURI(uri, err)
	}
	socket := attributes["socket"]
	if socket == "" {
		socket = o.variable("SSH_AUTH_SOCK")
	} else if !filepath.IsAbs(socket) {
		return nil, badURI(uri, errors.New("the path of the socket is not absolute"))
	}
	return &sshAgent{socket, name}, nil
}

func (a *sshAgent) public(ctx context.Context) (*rsa.PublicKey, error) {
	keys, err := a.list(ctx)
	if err != nil {
		return nil, err
	}
	return choosePublic(keys, a.name)
}

func (a *sshAgent) sign(ctx context.Context, public *rsa.PublicKey, message []byte) ([]byte, error) {
	blob := sshRSA(public)
	request := []byte{agentSignRequest}
	request = appendString(request, blob)
	request = appendString(request, message)
	request = binary.BigEndian.AppendUint32(request, agentRSASHA256)
	answer, err := a.ask(ctx, request)
	if err != nil {
		return nil, err
	}
	if answer[0] == agentFailure {
		return nil, a.whyNot(ctx, blob)
	}
	signature, err := parseAgentSignature(answer)
	if err != nil {
		return nil, &KeyError{Problem: errProtocol, Err: err}
	}
	return signature, nil
}

// put gives the agent a key, with the agent's name for it as the comment, and with
// constraints (draft-ietf-sshm-ssh-agent section 3.2.7).
func (a *sshAgent) put(ctx context.Context, key *rsa.PrivateKey, constraints []byte) error {
	if len(key.Primes) != 2 {
		return &KeyError{Problem: ErrUnsupported, Err: errors.New("a key of more than two primes cannot be told to an agent")}
	}
	blob := sshRSA(&key.PublicKey)
	comment := a.name
	if strings.HasPrefix(comment, "SHA256:") {
		if comment != sshFingerprint(blob) && comment != Fingerprint(&key.PublicKey) {
			return &KeyError{Problem: errURI, Err: errors.New("it is the fingerprint of another key"),
				hint: "name a comment, ssh-agent:COMMENT, by which the agent is to list the key"}
		}
		comment = "GitHub App"
	}
	keys, err := a.list(ctx)
	if err != nil {
		return err
	}
	for _, held := range keys {
		if bytes.Equal(held.blob, blob) { // under another name: its comment would be replaced
			return &KeyError{
				Problem: ErrExists, Err: fmt.Errorf("the agent has this very key with the comment %q", held.comment),
				hint: "name the key by its fingerprint, ssh-agent:" + Fingerprint(&key.PublicKey) +
					", or take it out first: ssh-add -d",
			}
		}
	}
	request := make([]byte, 0, maxAgentFrame/16) // it does not grow, which would leave copies
	request = append(request, agentAddIdentity)
	if len(constraints) > 0 {
		request[0] = agentAddConstrained
	}
	request = appendString(request, []byte("ssh-rsa"))
	for _, n := range []*big.Int{key.N, big.NewInt(int64(key.E)), key.D, key.Precomputed.Qinv,
		key.Primes[0], key.Primes[1]} {
		request = appendMPInt(request, n)
	}
	request = append(appendString(request, []byte(comment)), constraints...)
	defer clear(request)
	answer, err := a.ask(ctx, request)
	switch {
	case err != nil:
		return err
	case answer[0] != agentSuccess:
		return &KeyError{
			Problem: ErrDeclined, Err: errors.New("the agent gives no reason"),
			hint: "unlock the agent, ssh-add -X; one that asks for a passphrase (gpg-agent) needs its window; " +
				"and not every agent knows --confirm and --lifetime",
		}
	}
	return nil
}

// whyNot tells a key that is gone from one that the agent does not sign with: its
// answer is the same.
func (a *sshAgent) whyNot(ctx context.Context, blob []byte) error {
	keys, err := a.list(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if bytes.Equal(key.blob, blob) {
			return &KeyError{
				Problem: ErrDeclined, Err: errors.New("the agent has the key and does not sign with it"),
				hint: "if the key asks for confirmation or for a touch, give it; " +
					"`ssh-add -T PUBLIC_KEY_FILE` tries it without ghapp",
			}
		}
	}
	return &KeyError{Problem: ErrNoKey, Err: errors.New("the agent has the key no more"), hint: agentCure}
}

// agentKey is one that an agent holds.
type agentKey struct {
	blob    []byte // RFC 4253 section 6.6
	comment string
}

const agentCure = "give the agent the key, ssh-add app.pem, " +
	"and see what it has with `ssh-add -l`; a locked agent has nothing"

func (a *sshAgent) list(ctx context.Context) ([]agentKey, error) {
	answer, err := a.ask(ctx, []byte{agentRequestIdentities})
	if err != nil {
		return nil, err
	}
	if answer[0] == agentFailure {
		return nil, &KeyError{Problem: ErrDenied,
			Err: errors.New("the agent does not tell which keys it has"), hint: agentCure}
	}
	keys, err := parseIdentities(answer)
	if err != nil {
		return nil, &KeyError{Problem: errProtocol, Err: err}
	}
	return keys, nil
}

// choosePublic finds the RSA key whose fingerprint, as ssh-add -l or as GitHub shows
// it, or whose comment is name.
func choosePublic(keys []agentKey, name string) (*rsa.PublicKey, error) {
	var found *rsa.PublicKey
	var other Problem
	for _, key := range keys {
		public, kind := parseSSHKey(key.blob)
		if name != key.comment && name != sshFingerprint(key.blob) && (public == nil || name != Fingerprint(public)) {
			continue
		}
		switch {
		case public == nil:
			other = kind
		case found != nil && !found.Equal(public):
			return nil, &KeyError{Problem: errSeveralKeys,
				hint: "name the key by its fingerprint, ssh-agent:SHA256:…, as `ssh-add -l` or `ghapp keys fingerprint` shows it"}
		default:
			found = public
		}
	}
	switch {
	case found != nil:
		return found, nil
	case other != "":
		return nil, &KeyError{Problem: other}
	case len(keys) == 0:
		return nil, &KeyError{Problem: ErrNoKey, Err: errors.New("the agent has no keys, or is locked"), hint: agentCure}
	}
	return nil, &KeyError{Problem: ErrNoKey,
		Err: fmt.Errorf("none of the agent's %d keys has this fingerprint or comment", len(keys)), hint: agentCure}
}

// sshFingerprint is that of ssh-add -l.
func sshFingerprint(blob []byte) string {
	sum := sha256.Sum256(blob)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// ask sends one message and returns the answer, which has one byte at least.
func (a *sshAgent) ask(ctx context.Context, message []byte) ([]byte, error) {
	if a.socket == "" {
		return nil, &KeyError{Problem: errNoAgent, Err: errors.New("SSH_AUTH_SOCK is not set")}
	}
	unreachable := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &KeyError{
			Problem: ErrUnavailable, Err: fmt.Errorf("the ssh-agent at %s: %w", printablePath(a.socket), socketError(err)),
			hint: "start the agent anew, or name its socket with SSH_AUTH_SOCK or ?socket=PATH; " +
				"tokens that are in the cache serve on",
		}
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", a.socket)
	if err != nil {
		return nil, unreachable(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(message)), uint32(len(message)))
	frame = append(frame, message...)
	_, err = conn.Write(frame)
	clear(frame)
	if err != nil {
		return nil, unreachable(err)
	}
	answer, err := readAgentFrame(conn)
	if errors.Is(err, errAgentFrame) {
		return nil, &KeyError{Problem: errProtocol, Err: err}
	}
	if err != nil {
		return nil, unreachable(err)
	}
	return answer, nil
}

// printablePath is a path for messages: somebody may have put a secret in its place.
func printablePath(path string) string {
	if isSecret(path) {
		return secret.Placeholder
	}
	return keyuri.Shown(path)
}

// socketError leaves out the path, which the message has.
func socketError(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}

func readAgentFrame(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, fmt.Errorf("it hung up: %w", err)
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxAgentFrame {
		return nil, errAgentFrame
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(r, answer); err != nil {
		return nil, fmt.Errorf("it hung up: %w", err)
	}
	return answer, nil
}

func parseIdentities(message []byte) ([]agentKey, error) {
	if message[0] != agentIdentitiesAnswer {
		return nil, errAgentType
	}
	if len(message) < 5 {
		return nil, errAgentFrame
	}
	count, rest := binary.BigEndian.Uint32(message[1:]), message[5:]
	var keys []agentKey
	for range count {
		blob, after, ok := cutString(rest)
		if !ok {
			return nil, errAgentFrame
		}
		comment, after, ok := cutString(after)
		if !ok {
			return nil, errAgentFrame
		}
		keys, rest = append(keys, agentKey{blob, string(comment)}), after
	}
	if len(rest) > 0 {
		return nil, errAgentFrame
	}
	return keys, nil
}

func parseAgentSignature(message []byte) ([]byte, error) {
	if message[0] != agentSignResponse {
		return nil, errAgentType
	}
	blob, rest, ok := cutString(message[1:])
	if !ok || len(rest) > 0 {
		return nil, errAgentFrame
	}
	format, rest, ok := cutString(blob)
	if !ok {
		return nil, errAgentFrame
	}
	signature, rest, ok := cutString(rest)
	switch {
	case !ok || len(rest) > 0:
		return nil, errAgentFrame
	case string(format) == "ssh-rsa":
		return nil, errAgentSHA1
	case string(format) != "rsa-sha2-256":
		return nil, errAgentType
	}
	return signature, nil
}

// parseSSHKey reads a public key (RFC 4253 section 6.6). One that is not RSA, or
// cannot be read, is nil, with what it is instead.
func parseSSHKey(blob []byte) (*rsa.PublicKey, Problem) {
	kind, rest, ok := cutString(blob)
	switch name := string(kind); {
	case !ok:
		return nil, errAlgorithm
	case strings.Contains(name, "ed25519"):
		return nil, errEd25519
	case strings.Contains(name, "ecdsa"):
		return nil, errEC
	case name == "ssh-dss":
		return nil, errDSA
	case strings.Contains(name, "-cert-"):
		return nil, errCertificate
	case name != "ssh-rsa":
		return nil, errAlgorithm
	}
	exponent, rest, ok := cutString(rest)
	modulus, rest, whole := cutString(rest)
	if !ok || !whole || len(rest) > 0 || len(exponent) == 0 || len(exponent) > 4 || len(modulus) == 0 ||
		exponent[0]|modulus[0] >= 0x80 {
		return nil, errInvalid
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	if public.N.BitLen() < 1024 || public.E < 3 {
		return nil, errInvalid
	}
	return public, ""
}

// sshRSA is the blob of a public key.
func sshRSA(public *rsa.PublicKey) []byte {
	blob := appendString(nil, []byte("ssh-rsa"))
	blob = appendMPInt(blob, big.NewInt(int64(public.E)))
	return appendMPInt(blob, public.N)
}

// cutString reads a string of RFC 4251 section 5.
func cutString(data []byte) (value, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, nil, false
	}
	n, data := binary.BigEndian.Uint32(data), data[4:]
	if uint64(n) > uint64(len(data)) {
		return nil, nil, false
	}
	return data[:n:n], data[n:], true
}

func appendString(b, value []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// appendMPInt appends a positive mpint of RFC 4251 section 5.
func appendMPInt(b []byte, n *big.Int) []byte {
	value := n.Bytes()
	if len(value) > 0 && value[0] >= 0x80 {
		value = append([]byte{0}, value...)
	}
	return appendString(b, value)
}
