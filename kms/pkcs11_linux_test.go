//go:build cgo

package kms

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// softHSM is a SoftHSM of one test's own, with one token.
type softHSM struct {
	t       *testing.T
	dir     string
	module  string
	environ []string
	pinFile string
	logins  string // the file to which testdata/module.c writes each C_Login
}

const softHSMPath = "/usr/lib/softhsm/libsofthsm2.so"

func newSoftHSM(t *testing.T) *softHSM {
	t.Helper()
	testkit.Long(t)
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	testkit.OK(t, os.Mkdir(tokens, 0o700))
	config := writeFile(t, "directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n", dir,
		"softhsm2.conf")
	h := &softHSM{t: t, dir: dir, module: softHSMPath, environ: []string{"SOFTHSM2_CONF=" + config}}
	h.pinFile = writeFile(t, testPIN+"\n", dir, "pin")
	h.addToken("Card")
	return h
}

func (h *softHSM) addToken(label string) {
	h.t.Helper()
	run(h.t, h.environ, "softhsm2-util", "--init-token", "--free", "--label", label,
		"--so-pin", "12345678", "--pin", testPIN)
}

// tool runs OpenSC's pkcs11-tool, logged in.
func (h *softHSM) tool(args ...string) string {
	h.t.Helper()
	return run(h.t, h.environ, "pkcs11-tool",
		append([]string{"--module", h.module, "--token-label", "Card", "--login", "--pin", testPIN}, args...)...)
}

// add puts a key into the token, with another program than ours.
func (h *softHSM) add(bits int, label, id string) (pemFile string) {
	h.t.Helper()
	der := testkit.Must(x509.MarshalPKCS8PrivateKey(testKey(h.t, bits)))(h.t)
	path := writeFile(h.t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), h.dir, "key.pem")
	run(h.t, h.environ, "softhsm2-util", "--import", path, "--token", "Card", "--label",
		label, "--id", id, "--pin", testPIN)
	return path
}

// uri names what is behind attributes, with the module and the PIN.
func (h *softHSM) uri(attributes string) string {
	return "pkcs11:" + attributes + "?module-path=" + h.module + "&pin-source=file:" + h.pinFile
}

// library builds a library in C, with the headers of PKCS #11.
func library(t *testing.T, source string) string {
	t.Helper()
	headers := run(t, nil, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11")
	path := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c")+".so")
	run(t, nil, "gcc", "-shared", "-fPIC", "-Wall", "-I", strings.TrimSpace(headers), "-o", path, source, "-ldl")
	return path
}

// misbehaving puts testdata/module.c before SoftHSM.
func (h *softHSM) misbehaving() {
	h.t.Helper()
	h.module = library(h.t, "testdata/module.c")
	h.environ = append(h.environ, "KMS_TEST_REAL="+softHSMPath)
}

// misbehave has the module do something, in one test.
func (h softHSM) misbehave(t *testing.T, part string) *softHSM {
	t.Helper()
	h.t, h.logins = t, filepath.Join(t.TempDir(), "logins")
	h.environ = append(slices.Clone(h.environ), "KMS_TEST_MODULE="+part, "KMS_TEST_LOGINS="+h.logins)
	return &h
}

// tries tells who was logged in, of what testdata/module.c saw: 1 is the user, 2 is for one signature.
func (h *softHSM) tries() string {
	h.t.Helper()
	text, err := os.ReadFile(h.logins)
	if err != nil && !os.IsNotExist(err) {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(strings.ReplaceAll(string(text), "\n", " "))
}

// A URI of RFC 7512 may name the key by each of its attributes.
func TestPKCS11KeyIsFoundByEachAttribute(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.addToken("Another card")
	h.add(2048, "the app's; key", "0a10")
	slots := run(t, h.environ, "pkcs11-tool", "--module", h.module, "--list-slots")
	serial := regexp.MustCompile(`token label +: Card[\s\S]*?serial num +: (\w+)`).FindStringSubmatch(slots)
	slot := regexp.MustCompile(
		`Slot \d+ \((0x\w+)\)[^S]*?SoftHSM slot ID (0x\w+)[\s\S]*?token label +: Card\n`).FindAllStringSubmatch(slots, -1)
	if serial == nil || slot == nil {
		t.Fatalf("pkcs11-tool lists the slots in another form:\n%s", slots)
	}
	id := testkit.Must(strconv.ParseUint(strings.TrimPrefix(serial[1][8:], "0x"), 16, 64))(t)
	slotID := strconv.FormatUint(id&0x7fffffff, 10) // SoftHSM makes it of the serial number
	for _, uri := range []string{
		h.uri("token=Card"),
		h.uri("token=Card;object=the%20app's%3B%20key"),
		h.uri("token=Card;id=%0A%10"),
		h.uri("token=%43ard;object=the%20app%27s%3b%20key;id=%0a%10;type=private"),
		h.uri("serial=" + serial[1]),
		h.uri("token=Card;manufacturer=SoftHSM%20project;model=SoftHSM%20v2"),
		h.uri("library-manufacturer=SoftHSM;library-version=2.6;library-description=Implementation%20of%20PKCS11;token=Card"),
		h.uri("slot-id=" + slotID),
		h.uri("slot-manufacturer=SoftHSM%20project;token=Card"),
		"pkcs11:token=Card?module-path=" + h.module + "&pin-value=" + testPIN,
		"pkcs11:token=Card?module-path=" + h.module + "&pin-source=" + h.pinFile,
		"pkcs11:token=Card?module-path=file:" + h.module + "&pin-source=file://" + h.pinFile,
		"pkcs11:token=Card?module-path=" + filepath.Dir(h.module) + "&module-name=SoftHSM2&pin-source=" + h.pinFile,
		"pkcs11:module-path=" + h.module + ";token=Card?pin-value=" + testPIN, // as step-kms writes it
		"PKCS11:token=Card?module-name=softhsm2&pin-source=file:" + h.pinFile, // as p11-kit knows it
	} {
		wantKey(t, h.environ, uri, testKey(t, 2048))
	}
	got := publicKeyOf(t, h.environ, h.uri("token=Card")+"&x-colour=blue")
	if got.Error != nil || !strings.Contains(got.stderr, "x-colour is no attribute of RFC 7512 and is passed over") {
		t.Errorf("%v\n%s", got.Error, got.stderr)
	}
}

func TestPKCS11NamesTheMistake(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.addToken("Another card")
	h.add(2048, "app", "01")
	h.add(2048, "twin", "02")
	h.add(2048, "twin", "03")
	h.add(1024, "short", "04")
	h.add(4160, "long", "05")
	h.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "ec", "--id", "06")
	empty := library(t, writeFile(t, "", h.dir, "empty.c"))
	absent := filepath.Join(h.dir, "absent")
	with := "?module-path=" + h.module
	for name, test := range map[string]struct{ uri, kind, says string }{
		"object that is not there": {h.uri("token=Card;object=none"), "not-found",
			"no private key of the token is object=none; there is object="},
		"id in hexadecimal": {h.uri("token=Card;id=01"), "not-found", "is it id=%01?"},
		"two objects": {h.uri("token=Card;object=twin"), "not-found",
			"2 private keys match object=twin; name one: object=twin;id=%0"},
		"token that is not there": {h.uri("token=Cart;object=app"), "not-found",
			"no token is token=Cart; there is token="},
		"two tokens":             {h.uri("object=app"), "not-found", "2 tokens match; name one with token= or serial="},
		"slot that is not there": {h.uri("slot-id=7;object=app"), "not-found", "no token is slot-id=7"},
		"another library": {h.uri("library-version=9.9;token=Card;object=app"), "not-found",
			"another one than library-version=9.9"},
		"EC key":                {h.uri("token=Card;object=ec"), "key-type", "EC key"},
		"key that is too short": {h.uri("token=Card;object=short"), "key-type", "1024 bits"},
		"key that is too long":  {h.uri("token=Card;object=long"), "key-type", "4160 bits"},
		"public key": {h.uri("token=Card;object=app;type=public"),
			"invalid-uri", "type names something else"},
		"attribute that is unknown": {h.uri("token=Card;objekt=app"), "invalid-uri", "objekt is no attribute"},
		"no PIN":                    {"pkcs11:token=Card;object=app" + with, "pin", "?pin-source=file:PATH"},
		"PIN file that is missing": {"pkcs11:token=Card;object=app" + with + "&pin-source=file:" + absent, "pin",
			"no such file"},
		"PIN file that is empty": {"pkcs11:token=Card;object=app" + with + "&pin-source=file:" +
			writeFile(t, "\n", h.dir, "empty"), "pin", "is empty"},
		"PIN file that is no file": {"pkcs11:token=Card;object=app" + with + "&pin-source=file:" + h.dir, "pin",
			"no regular file"},
		"PIN of a command": {"pkcs11:token=Card;object=app" + with + "&pin-source=%7C/bin/true", "invalid-uri",
			"names a command, which is not run"},
		"wrong PIN": {"pkcs11:token=Card;object=app" + with + "&pin-value=" + testPIN + "0", "pin",
			"the PIN is wrong; it was tried once"},
		"PIN that is too short":    {"pkcs11:token=Card;object=app" + with + "&pin-value=1", "pin", "it was not tried"},
		"module that is not there": {"pkcs11:object=app?module-path=" + absent, "not-found", "there is no PKCS#11 module"},
		"module that is nowhere":   {"pkcs11:object=app?module-path=libabsent.so", "not-found", "libabsent.so"},
		"module name": {"pkcs11:object=app?module-name=absent", "not-found",
			`no PKCS#11 module with the name "absent"`},
		"module that is no library": {"pkcs11:object=app?module-path=" + h.pinFile, "not-found", "cannot be loaded"},
		"library that is no module": {"pkcs11:object=app?module-path=" + empty, "not-found", "no C_GetFunctionList"},
		"directory without a module": {"pkcs11:object=app?module-path=" + h.dir, "invalid-uri",
			"module-name does not say which"},
	} {
		// One after the other: a wrong PIN has SoftHSM write the token's file anew, which
		// another process then finds half written.
		t.Run(name, func(t *testing.T) {
			for _, got := range []reply{publicKeyOf(t, h.environ, test.uri), signatureOf(t, h.environ, test.uri)} {
				wantFailure(t, got, test.kind, test.says)
			}
		})
	}
}

// What a module does that is broken, or whose token is in no state to sign, is told in
// one line, and not waited for.
func TestPKCS11ModuleThatMisbehaves(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.add(2048, "app", "01")
	h.misbehaving()
	for part, test := range map[string]struct{ kind, says, tries string }{
		"hang":            {"timeout", "no answer in time", ""},
		"hang in sign":    {"timeout", "no answer in time", "login 1"},
		"crash":           {"failed", "module.so crashed", ""},
		"abort":           {"failed", "module.so crashed", ""},
		"recurse":         {"failed", "module.so crashed", ""},
		"no functions":    {"not-found", "C_GetFunctionList gives nothing", ""},
		"not initialized": {"failed", "CKR_GENERAL_ERROR to C_Initialize", ""},
		"final try":       {"pin", "one try is left before the PIN locks, and it was not spent", ""},
		"locked":          {"pin", "the PIN is locked; nothing was tried", ""},
		"locks":           {"pin", "the PIN is locked", "login 1"},
		"expired":         {"pin", "the PIN has expired", "login 1"},
		"not to sign":     {"key-type", "the key is not for signing", "login 1"},
		"no RSA":          {"key-type", "CKR_MECHANISM_INVALID to C_SignInit", "login 1"},
		"rejected":        {"declined", "CKR_FUNCTION_REJECTED to C_Sign", "login 1"},
		"removed":         {"unavailable", "CKR_DEVICE_REMOVED to C_Sign", "login 1"},
	} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			h := h.misbehave(t, part)
			seconds := 0 // as long as a busy machine needs
			if test.kind == "timeout" {
				seconds = 2
			}
			got := ask(t, h.environ, request{Request: execsigner.Request{Operation: execsigner.OperationSign,
				Key: h.uri("token=Card;object=app"), Seconds: seconds, Message: testMessage, Digest: make([]byte, 32)}})
			wantFailure(t, got, test.kind, test.says)
			testkit.Equal(t, h.tries(), test.tries, "logins")
		})
	}
}

// What a module lacks that others have is made up for.
func TestPKCS11ModuleThatLacksSomething(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.add(2048, "app", "01")
	h.addCertificate("app", "01")
	h.misbehaving()
	for _, part := range []string{"nothing", "chatter", "raw RSA", "raw key", "no modulus", "no exponent", "pin pad"} {
		t.Run(part, func(t *testing.T) {
			h := h.misbehave(t, part)
			uri := h.uri("token=Card;object=app")
			if part == "pin pad" {
				h.environ = append(h.environ, "KMS_TEST_PAD="+testPIN)
				uri = "pkcs11:token=Card;object=app?module-path=" + h.module
				if got := publicKeyOf(t, h.environ, uri); !strings.Contains(got.stderr, "enter the PIN at the reader") {
					t.Errorf("nobody is told to enter the PIN: %v %s", got.Error, got.stderr)
				}
			}
			wantKey(t, h.environ, uri, testKey(t, 2048))
		})
	}
	t.Run("public key", func(t *testing.T) {
		h.tool("--delete-object", "--type", "pubkey", "--id", "01")
		for _, part := range []string{"no exponent", "no modulus"} {
			wantKey(t, h.misbehave(t, part).environ, h.uri("token=Card;object=app"), testKey(t, 2048))
		}
		h.tool("--delete-object", "--type", "cert", "--id", "01")
		wantFailure(t, publicKeyOf(t, h.misbehave(t, "no exponent").environ, h.uri("token=Card;object=app")), "not-found",
			"neither its public key nor a certificate")
	})
}

// addCertificate puts a certificate of the key beside it.
func (h *softHSM) addCertificate(label, id string) {
	h.t.Helper()
	key := testKey(h.t, 2048)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: label}}
	der := testkit.Must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))(h.t)
	h.tool("--write-object", writeFile(h.t, string(der), h.dir, "certificate.der"), "--type",
		"cert", "--label", label, "--id", id)
}

// A wrong PIN counts: it is tried once, and a right one for each signature where the key
// wants that.
func TestPKCS11PINIsTriedOnce(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "careful", "--id", "08", "--always-auth")
	h.misbehaving()
	h = h.misbehave(t, "")
	wrong := "pkcs11:token=Card;object=careful?module-path=" + h.module + "&pin-value=" + testPIN + "0"
	wantFailure(t, signatureOf(t, h.environ, wrong), "pin", "the PIN is wrong; it was tried once")
	testkit.Equal(t, h.tries(), "login 1", "with a wrong PIN")
	testkit.OK(t, os.Remove(h.logins))
	if got := signatureOf(t, h.environ, h.uri("token=Card;object=careful")); got.Error != nil {
		t.Fatal(got.Error)
	}
	testkit.Equal(t, h.tries(), "login 1 login 2", "for a key that asks each time")
}

func TestPKCS11Import(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	key, other := testKey(t, 2048), testKey(t, 3072)
	uri := h.uri("token=Card;object=app")
	wantFailure(t, publicKeyOf(t, h.environ, uri), "not-found", "no private key") // what keys import waits for
	if got := imported(t, h.environ, uri, key); got.Error != nil {
		t.Fatal(got.Error)
	}
	wantKey(t, h.environ, uri, key)
	listing := h.tool("--list-objects", "--type", "privkey")
	if !strings.Contains(listing, "sensitive") || strings.Contains(listing, "extractable") &&
		!strings.Contains(listing, "never extractable") ||
		!regexp.MustCompile(`Usage: +sign\n`).MatchString(listing) {
		t.Errorf("others see another key than one that only signs and stays:\n%s", listing)
	}
	testkit.Contains(t, h.tool("--list-objects", "--type", "pubkey"), "label:      app")
	for _, again := range []string{"token=Card;object=app", "token=Card;object=app;type=private"} {
		wantFailure(t, imported(t, h.environ, h.uri(again), other), "exists", "the token has object=app already")
	}
	wantKey(t, h.environ, uri, key)
	both := h.uri("token=Card;object=app;id=%02%FF")
	if got := imported(t, h.environ, both, other); got.Error != nil {
		t.Fatal(got.Error)
	}
	wantKey(t, h.environ, both, other)
	wantFailure(t, imported(t, h.environ, h.uri("token=Card;id=%02%FF"), key), "exists", "the token has id=%02%FF already")
	wantFailure(t, imported(t, h.environ, h.uri("token=Card"), key), "invalid-uri", "it names no object")
	wantFailure(t, imported(t, h.environ, "pkcs11:token=Card;object=new?module-path="+h.module, key),
		"pin", "?pin-source=file:PATH")
}

// Half an import is none.
func TestPKCS11ImportThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	h := newSoftHSM(t)
	h.misbehaving()
	before := h.tool("--list-objects")
	for part, says := range map[string]string{"no public keys": "CKR_DEVICE_MEMORY",
		"no private keys": "CKR_FUNCTION_NOT_SUPPORTED"} {
		h := h.misbehave(t, part)
		if got := imported(t, h.environ, h.uri("token=Card;object=app"), testKey(t, 2048)); got.Error == nil ||
			!strings.Contains(got.Error.Message, says) {
			t.Errorf("%s: %v", part, got.Error)
		}
	}
	testkit.Equal(t, h.tool("--list-objects"), before, "something is left")
}
