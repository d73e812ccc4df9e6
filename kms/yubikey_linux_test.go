//go:build yubikey && cgo

package kms

import (
	"bytes"
	"crypto/aes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-piv/piv-go/v2/piv"
)

// cards are YubiKeys that the test plays, behind a libpcsclite of its own: everything from
// the card's commands up is real, and the card is not.
type cards struct {
	t       *testing.T
	dir     string
	environ []string
}

func newCards(t *testing.T) *cards {
	t.Helper()
	libraries := t.TempDir()
	flags := strings.Fields(run(t, nil, "pkg-config", "--cflags", "libpcsclite"))
	run(t, nil, "gcc", append(flags, "-shared", "-fPIC", "-Wall", "-Wl,-soname,libpcsclite.so.1", "-o",
		filepath.Join(libraries, "libpcsclite.so.1"), "testdata/pcsc.c")...)
	dir, err := os.MkdirTemp("", "cards") // a short name, since those of sockets are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &cards{t, dir, []string{"LD_LIBRARY_PATH=" + libraries, "KMS_TEST_CARDS=" + dir}}
}

// yubiKeyCard is the PIV application of a YubiKey (NIST SP 800-73-4 part 2, and
// https://developers.yubico.com/PIV/Introduction/Yubico_extensions.html).
type yubiKeyCard struct {
	serial     uint32
	version    [3]byte
	pin        string
	management []byte // AES-192

	mu           sync.Mutex
	tries        int
	verifies     int // how often a PIN was tried
	slots        map[byte]*pivSlotContents
	certificates map[string][]byte // by the tag of the object
	untouched    bool              // nobody touches it
}

type pivSlotContents struct {
	key        *rsa.PrivateKey
	algorithm  byte   // 0: of RSA
	point      []byte // of a key that is not of RSA
	pin, touch byte   // policies
}

// plug plugs a YubiKey in.
func (c *cards) plug(reader string, card *yubiKeyCard) *yubiKeyCard {
	c.t.Helper()
	if card.version == [3]byte{} {
		card.version = [3]byte{5, 7, 1}
	}
	card.pin, card.tries, card.management = testPIN[:6], 3, piv.DefaultManagementKey
	if card.slots == nil {
		card.slots = map[byte]*pivSlotContents{}
	}
	listener, err := net.Listen("unix", filepath.Join(c.dir, reader))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go card.serve(conn)
		}
	}()
	return card
}

// session is what a card remembers until it is let go.
type session struct {
	*yubiKeyCard
	chained  []byte
	rest     []byte // of an answer
	verified bool
	witness  []byte
	manages  bool
}

func (c *yubiKeyCard) serve(conn net.Conn) {
	defer conn.Close()
	s := &session{yubiKeyCard: c}
	for {
		var length uint32
		if binary.Read(conn, binary.BigEndian, &length) != nil || length < 4 || length > 300 {
			return
		}
		command := make([]byte, length)
		if _, err := io.ReadFull(conn, command); err != nil {
			return
		}
		c.mu.Lock()
		answer := s.command(command)
		c.mu.Unlock()
		if binary.Write(conn, binary.BigEndian, uint32(len(answer))) != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

func status(word uint16) []byte { return binary.BigEndian.AppendUint16(nil, word) }

// command answers one command, with chains of commands and of answers (ISO/IEC 7816-4).
func (s *session) command(command []byte) []byte {
	var data []byte
	if len(command) > 5 {
		data = command[5:]
	}
	const getResponse = 0xc0
	if command[1] != getResponse {
		s.chained = append(s.chained, data...)
		if command[0]&0x10 != 0 {
			return status(0x9000)
		}
		answer, word := s.answer(command[1], command[2], command[3], s.chained)
		s.chained = nil
		if word != 0x9000 {
			return status(word)
		}
		s.rest = answer
	}
	part := s.rest[:min(256, len(s.rest))]
	s.rest = s.rest[len(part):]
	if len(s.rest) > 0 {
		return append(bytes.Clone(part), 0x61, byte(min(255, len(s.rest))))
	}
	return append(bytes.Clone(part), 0x90, 0)
}

// tlv writes a data object.
func tlv(tag byte, value []byte) []byte {
	switch length := len(value); {
	case length < 0x80:
		return append([]byte{tag, byte(length)}, value...)
	case length < 0x100:
		return append([]byte{tag, 0x81, byte(length)}, value...)
	default:
		return append([]byte{tag, 0x82, byte(length >> 8), byte(length)}, value...)
	}
}

// objects reads data objects.
func objects(data []byte) map[byte][]byte {
	found := map[byte][]byte{}
	for len(data) >= 2 {
		tag, length := data[0], int(data[1])
		data = data[2:]
		if length > 0x80 {
			size := length & 0x7f
			length = int(new(big.Int).SetBytes(data[:size]).Int64())
			data = data[size:]
		}
		length = min(length, len(data))
		found[tag], data = data[:length], data[length:]
	}
	return found
}

func (s *session) answer(instruction, p1, p2 byte, data []byte) ([]byte, uint16) {
	switch instruction {
	case 0xa4: // SELECT
		return nil, 0x9000
	case 0xfd:
		return s.version[:], 0x9000
	case 0xf8:
		return binary.BigEndian.AppendUint32(nil, s.serial), 0x9000
	case 0x20:
		return nil, s.verify(data)
	case 0xf7:
		return s.metadata(p2)
	case 0xcb:
		if object := s.certificates[hex.EncodeToString(objects(data)[0x5c])]; object != nil {
			return tlv(0x53, append(tlv(0x70, object), 0x71, 1, 0, 0xfe, 0)), 0x9000
		}
		return nil, 0x6a82
	case 0xfe:
		return nil, s.takeKey(p2, data)
	case 0x87:
		if p2 == 0x9b {
			return s.manage(objects(objects(data)[0x7c]))
		}
		return s.sign(p2, objects(objects(data)[0x7c])[0x81])
	}
	return nil, 0x6d00
}

func (s *session) verify(data []byte) uint16 {
	switch {
	case len(data) == 0 && s.verified:
		return 0x9000
	case s.tries == 0:
		return 0x6983
	case len(data) == 0:
		return 0x63c0 | uint16(s.tries)
	}
	s.verifies++
	if string(bytes.TrimRight(data, "\xff")) != s.pin {
		s.tries--
		return 0x63c0 | uint16(s.tries)
	}
	s.tries, s.verified = 3, true
	return 0x9000
}

func rsaAlgorithm(bits int) byte {
	return map[int]byte{1024: 6, 2048: 7, 3072: 5, 4096: 0x16}[bits]
}

func (s *session) metadata(slot byte) ([]byte, uint16) {
	if s.version[0] < 5 || s.version[0] == 5 && s.version[1] < 3 {
		return nil, 0x6d00
	}
	if slot == 0x9b {
		return tlv(1, []byte{0x0a}), 0x9000
	}
	held := s.slots[slot]
	if held == nil {
		return nil, 0x6a88
	}
	algorithm, public := held.algorithm, []byte(nil)
	if algorithm == 0 {
		algorithm = rsaAlgorithm(held.key.N.BitLen())
		public = append(tlv(0x81, held.key.N.Bytes()), tlv(0x82, []byte{1, 0, 1})...)
	} else {
		public = tlv(0x86, held.point)
	}
	return bytes.Join([][]byte{tlv(1, []byte{algorithm}), tlv(2, []byte{held.pin, held.touch}),
		tlv(3, []byte{2}), tlv(4, public)}, nil), 0x9000
}

// manage is the mutual authentication with the management key.
func (s *session) manage(template map[byte][]byte) ([]byte, uint16) {
	block, err := aes.NewCipher(s.management)
	if err != nil {
		return nil, 0x6f00
	}
	out := make([]byte, 16)
	if witness := template[0x80]; len(witness) == 0 {
		s.witness = make([]byte, 16)
		_, _ = rand.Read(s.witness)
		block.Encrypt(out, s.witness)
		return tlv(0x7c, tlv(0x80, out)), 0x9000
	} else if !bytes.Equal(witness, s.witness) || len(template[0x81]) != 16 {
		return nil, 0x6982
	}
	s.manages = true
	block.Encrypt(out, template[0x81])
	return tlv(0x7c, tlv(0x82, out)), 0x9000
}

func (s *session) takeKey(slot byte, data []byte) uint16 {
	if !s.manages {
		return 0x6982
	}
	parts := objects(data)
	p, q := new(big.Int).SetBytes(parts[1]), new(big.Int).SetBytes(parts[2])
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D: new(big.Int).ModInverse(big.NewInt(65537), phi), Primes: []*big.Int{p, q}}
	s.slots[slot] = &pivSlotContents{key: key, pin: parts[0xaa][0], touch: parts[0xab][0]}
	return 0x9000
}

func (s *session) sign(slot byte, input []byte) ([]byte, uint16) {
	const always, never = 3, 1
	held := s.slots[slot]
	switch {
	case held == nil:
		return nil, 0x6a88
	case held.pin != never && !s.verified, held.touch != never && s.untouched:
		return nil, 0x6982
	}
	if held.pin == always {
		s.verified = false
	}
	signature := new(big.Int).Exp(new(big.Int).SetBytes(input), held.key.D, held.key.N)
	return tlv(0x7c, tlv(0x82, signature.FillBytes(make([]byte, held.key.Size())))), 0x9000
}

const yubiReader = "Yubico YubiKey OTP+FIDO+CCID 00 00"

func TestYubiKeySigns(t *testing.T) {
	t.Parallel()
	c := newCards(t)
	key, other := testKey(t, 2048), testKey(t, 3072)
	card := c.plug(yubiReader, &yubiKeyCard{serial: 1234567, slots: map[byte]*pivSlotContents{
		0x9a: {key: key, pin: 2, touch: 1}, 0x9c: {key: other, pin: 3, touch: 2}, 0x9e: {key: key, pin: 1, touch: 1},
		0x82: {key: key, pin: 1, touch: 3},
	}})
	c.plug("Some other reader 00", &yubiKeyCard{serial: 1})
	pinFile := writeFile(t, card.pin+"\n", t.TempDir(), "pin")
	for uri, says := range map[string]string{
		"yubikey:slot-id=9a?pin-source=file:" + pinFile:           "",
		"yubikey:slot-id=9a;serial=1234567?pin-value=" + card.pin: "",
		"yubikey:slot-id=9e":                                      "",
		"yubikey:slot-id=82;serial=1234567":                       "touch the YubiKey if it blinks\n",
		"yubikey:slot-id=9A?serial=1234567&pin-source=" + pinFile: "",
		"yubikey:slot-id=0082?pin-source=" + pinFile:              "touch the YubiKey if it blinks\n",
	} {
		wantKey(t, c.environ, uri, key)
		if got := signatureOf(t, c.environ, uri).stderr; got != says {
			t.Errorf("%s: the person is told %q", uri, got)
		}
	}
	always := "yubikey:slot-id=9c?pin-source=file:" + pinFile
	wantKey(t, c.environ, always, other)
	if got := signatureOf(t, c.environ, always).stderr; got != "touch the YubiKey\n" {
		t.Errorf("the person is told %q", got)
	}
	c.plug("Yubico YubiKey OTP+FIDO+CCID 01 00", &yubiKeyCard{serial: 7654321})
	wantFailure(t, publicKeyOf(t, c.environ, "yubikey:slot-id=9e"), "not-found",
		"there is more than one YubiKey; name one: serial=")
	wantKey(t, c.environ, "yubikey:slot-id=9e;serial=1234567", key)
}

func TestYubiKeyNamesTheMistake(t *testing.T) {
	t.Parallel()
	c := newCards(t)
	ec, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	card := c.plug(yubiReader, &yubiKeyCard{serial: 1234567, untouched: true, slots: map[byte]*pivSlotContents{
		0x9a: {key: testKey(t, 2048), pin: 2, touch: 1}, 0x9c: {algorithm: 0x11, point: ec.PublicKey().Bytes(), pin: 1,
			touch: 1}, 0x9d: {key: testKey(t, 2048), pin: 1, touch: 2}, 0x83: {key: testKey(t, 1024), pin: 1, touch: 1},
	}})
	for name, test := range map[string]struct{ uri, kind, says string }{
		"no slot":           {"yubikey:serial=1234567", "invalid-uri", "slot-id is to be 9a"},
		"slot of nothing":   {"yubikey:slot-id=9b", "invalid-uri", "slot-id is to be 9a"},
		"unknown attribute": {"yubikey:slot=9a", "invalid-uri", "slot is not known"},
		"serial":            {"yubikey:slot-id=9a;serial=0x12", "invalid-uri", "serial is to be the decimal number"},
		"PIN policy":        {"yubikey:slot-id=9a;pin-policy=no", "invalid-uri", "pin-policy is to be"},
		"touch policy":      {"yubikey:slot-id=9a;touch-policy=no", "invalid-uri", "touch-policy is to be"},
		"another YubiKey": {"yubikey:slot-id=9a;serial=7", "not-found",
			"the YubiKey 7 is not plugged in; there is serial=1234567"},
		"empty slot":         {"yubikey:slot-id=9e", "not-found", "slot 9e of the YubiKey has no key"},
		"EC key":             {"yubikey:slot-id=9c", "key-type", "no RSA key"},
		"short key":          {"yubikey:slot-id=83", "key-type", "1024 bits"},
		"PIN file":           {"yubikey:slot-id=9a?pin-source=file:/absent", "pin", "no such file"},
		"command for a PIN":  {"yubikey:slot-id=9a?pin-source=%7Ccat", "invalid-uri", "names a command"},
		"PIN that is longer": {"yubikey:slot-id=9a?pin-value=" + testPIN, "pin", "it was not tried"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, got := range []reply{publicKeyOf(t, c.environ, test.uri), signatureOf(t, c.environ, test.uri)} {
				wantFailure(t, got, test.kind, test.says)
			}
		})
	}
	wantFailure(t, signatureOf(t, c.environ, "yubikey:slot-id=9a"), "pin", "?pin-source=file:PATH")
	wantFailure(t, signatureOf(t, c.environ, "yubikey:slot-id=9d"), "declined", "not touched in time")
	if card.verifies != 0 {
		t.Errorf("a PIN was tried %d times", card.verifies)
	}
	none := newCards(t)
	wantFailure(t, signatureOf(t, none.environ, "yubikey:slot-id=9a"), "not-found", "no YubiKey is plugged in")
	wantFailure(t, signatureOf(t, none.environ[:1], "yubikey:slot-id=9a"), "unavailable", "is pcscd running?")
	writeFile(t, "", none.dir, yubiReader) // which nobody can connect to
	wantFailure(t, signatureOf(t, none.environ, "yubikey:slot-id=9a"), "unavailable",
		"another program, such as gpg's scdaemon, may hold it")
}

// A wrong PIN counts: it is tried once, and the last time not at all.
func TestYubiKeyPINIsTriedOnce(t *testing.T) {
	t.Parallel()
	c := newCards(t)
	card := c.plug(yubiReader,
		&yubiKeyCard{slots: map[byte]*pivSlotContents{0x9a: {key: testKey(t, 2048), pin: 2, touch: 1}}})
	wrong := "yubikey:slot-id=9a?pin-value=654321"
	wantFailure(t, signatureOf(t, c.environ, wrong), "pin", "the PIN is wrong; it was tried once; 2 tries are left")
	wantFailure(t, signatureOf(t, c.environ, wrong), "pin", "the PIN is wrong; it was tried once; 1 tries are left")
	wantFailure(t, signatureOf(t, c.environ, wrong), "pin",
		"one try is left before the PIN is blocked, and it was not spent")
	if card.verifies != 2 {
		t.Errorf("a PIN was tried %d times", card.verifies)
	}
	card.mu.Lock()
	card.tries = 0
	card.mu.Unlock()
	wantFailure(t, signatureOf(t, c.environ, wrong), "pin", "the PIN is blocked; nothing was tried")
	if card.verifies != 2 {
		t.Errorf("a PIN was tried %d times", card.verifies)
	}
}

func TestYubiKeyImport(t *testing.T) {
	t.Parallel()
	c := newCards(t)
	card := c.plug(yubiReader, &yubiKeyCard{serial: 1})
	key := testKey(t, 2048)
	pin := "?pin-value=" + card.pin
	// what keys import waits for
	wantFailure(t, publicKeyOf(t, c.environ, "yubikey:slot-id=9a"), "not-found", "has no key")
	if got := imported(t, c.environ, "yubikey:slot-id=9a"+pin, key); got.Error != nil {
		t.Fatal(got.Error)
	}
	wantKey(t, c.environ, "yubikey:slot-id=9a"+pin, key)
	if held := card.slots[0x9a]; held.pin != 2 || held.touch != 1 {
		t.Errorf("the policies are %d and %d", held.pin, held.touch)
	}
	wantFailure(t, imported(t, c.environ, "yubikey:slot-id=9a"+pin, testKey(t, 3072)),
		"exists", "slot 9a has a key already")
	if got := imported(t, c.environ, "yubikey:slot-id=82;pin-policy=never;touch-policy=cached", key); got.Error != nil {
		t.Fatal(got.Error)
	}
	if held := card.slots[0x82]; held.pin != 1 || held.touch != 3 {
		t.Errorf("the policies are %d and %d", held.pin, held.touch)
	}
	card.mu.Lock()
	card.management = bytes.Repeat([]byte{7}, 24)
	card.mu.Unlock()
	wantFailure(t, imported(t, c.environ, "yubikey:slot-id=83", key), "denied", "?management-key-source=file:PATH")
	wantFailure(t, imported(t, c.environ, "yubikey:slot-id=83?management-key=zz", key), "denied", "not hexadecimal")
	if card.slots[0x83] != nil {
		t.Error("the slot is not empty")
	}
	file := writeFile(t, hex.EncodeToString(card.management)+"\n", t.TempDir(), "management")
	if got := imported(t, c.environ, "yubikey:slot-id=83?management-key-source=file:"+file, key); got.Error != nil {
		t.Fatal(got.Error)
	}
}

// A YubiKey before 5.3 tells less.
func TestOlderYubiKey(t *testing.T) {
	t.Parallel()
	c := newCards(t)
	key := testKey(t, 2048)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	card := c.plug(yubiReader, &yubiKeyCard{serial: 1, version: [3]byte{5, 2, 7},
		slots:        map[byte]*pivSlotContents{0x9a: {key: key, pin: 2, touch: 1}},
		certificates: map[string][]byte{"5fc105": der}})
	uri := "yubikey:slot-id=9a?pin-value=" + card.pin
	wantKey(t, c.environ, uri, key)
	wantFailure(t, signatureOf(t, c.environ, "yubikey:slot-id=9a"), "pin", "a PIN or a touch that it did not get")
	wantFailure(t, publicKeyOf(t, c.environ, "yubikey:slot-id=9c"), "not-found", "neither a certificate")
	wantFailure(t, imported(t, c.environ, "yubikey:slot-id=9c", key), "unsupported",
		"a YubiKey of version 5.2 does not tell")
}
