//go:build cgo && unix

package kms

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/pkcs11"

	"github.com/ghapp-dev/ghapp/secret"
)

// pkcs11Key is a private key in a PKCS#11 token, or the place of one. It talks to the
// module itself, and not through a pool of sessions as crypto11 has it: a wrong PIN has to
// be tried once and no more.
type pkcs11Key struct {
	uri  pkcs11URI
	pin  secret.Text
	with bool // a PIN is given
}

func openPKCS11(_ context.Context, uri string) (key, error) {
	u, err := parsePKCS11URI(uri)
	if err != nil {
		return nil, failure("invalid-uri", "%v", err)
	}
	for _, name := range u.passedOver {
		notice("%s is no attribute of RFC 7512 and is passed over", name)
	}
	k := &pkcs11Key{uri: u}
	if k.pin, k.with, err = readPIN(u.query); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *pkcs11Key) close() {}

func (k *pkcs11Key) public(ctx context.Context) (crypto.PublicKey, error) {
	return within(ctx, func() (crypto.PublicKey, error) {
		s, err := k.begin(pkcs11.CKF_SERIAL_SESSION)
		if err != nil {
			return nil, err
		}
		defer s.end()
		object, err := s.privateKey()
		if err != nil {
			return nil, err
		}
		return s.publicKey(object)
	})
}

func (k *pkcs11Key) sign(ctx context.Context, message, digest []byte) ([]byte, error) {
	return within(ctx, func() ([]byte, error) {
		s, err := k.begin(pkcs11.CKF_SERIAL_SESSION)
		if err != nil {
			return nil, err
		}
		defer s.end()
		object, err := s.privateKey()
		if err != nil {
			return nil, err
		}
		return s.sign(object, message, digest)
	})
}

// importKey makes a private key that nobody can read again, and its public key beside it.
func (k *pkcs11Key) importKey(ctx context.Context, private *rsa.PrivateKey) error {
	_, byLabel := k.uri.path["object"]
	_, byID := k.uri.path["id"]
	if !byLabel && !byID {
		return failure("invalid-uri", "it names no object to be made: add object=NAME, id=ID or both")
	}
	_, err := within(ctx, func() (struct{}, error) {
		s, err := k.begin(pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION)
		if err != nil {
			return struct{}{}, err
		}
		defer s.end()
		return struct{}{}, s.create(private)
	})
	return err
}

// p11session is a session with a token.
type p11session struct {
	*pkcs11Key
	module   *pkcs11.Ctx
	slot     uint
	token    pkcs11.TokenInfo
	handle   pkcs11.SessionHandle
	loggedIn bool
}

// begin opens a session with the one token that the URI names, and logs in where it has a PIN.
func (k *pkcs11Key) begin(flags uint) (*p11session, error) {
	path, err := k.uri.module(systemModules())
	if err != nil {
		return nil, err
	}
	guard(fmt.Sprintf("the PKCS#11 module %s crashed", percentEncode(path)))
	if err := loadModule(path); err != nil {
		return nil, failure("not-found", "the PKCS#11 module cannot be loaded: %v", err)
	}
	module := pkcs11.New(path)
	if module == nil {
		return nil, failure("not-found", "the PKCS#11 module %q cannot be loaded", path)
	}
	if err := module.Initialize(); err != nil && !isCKR(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		return nil, ckrFailure("C_Initialize", err)
	}
	s := &p11session{pkcs11Key: k, module: module}
	if err := s.open(flags); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// end is for tokens that count sessions; the process ends next.
func (s *p11session) end() {
	if s.handle != 0 {
		_ = s.module.CloseSession(s.handle) // logs out, too
	}
	_ = s.module.Finalize()
}

func (s *p11session) open(flags uint) error {
	if err := s.checkLibrary(); err != nil {
		return err
	}
	if err := s.findToken(); err != nil {
		return err
	}
	var err error
	if s.handle, err = s.module.OpenSession(s.slot, flags); err != nil {
		return ckrFailure("C_OpenSession", err)
	}
	return s.login()
}

func (s *p11session) checkLibrary() error {
	wanted := s.uri.named("library-manufacturer", "library-description", "library-version")
	if wanted == "" {
		return nil
	}
	info, err := s.module.GetInfo()
	if err != nil {
		return ckrFailure("C_GetInfo", err)
	}
	version := info.LibraryVersion
	full := fmt.Sprintf("%d.%d", version.Major, version.Minor)
	if asked, given := s.uri.path["library-version"]; given && asked != full &&
		(version.Minor != 0 || asked != strconv.Itoa(int(version.Major))) ||
		!s.uri.matches("library-manufacturer", info.ManufacturerID) ||
		!s.uri.matches("library-description", info.LibraryDescription) {
		return failure("not-found", "the PKCS#11 module is another one than %s", wanted)
	}
	return nil
}

// matches compares one attribute with what the module says. That is padded with blanks.
func (u *pkcs11URI) matches(name, value string) bool {
	wanted, given := u.path[name]
	return !given || wanted == strings.TrimRight(value, " \x00")
}

// findToken finds the one token that the URI names. The PIN is not for any other, so one
// of several is not tried.
func (s *p11session) findToken() error {
	slots, err := s.module.GetSlotList(true)
	if err != nil {
		return ckrFailure("C_GetSlotList", err)
	}
	var labels []string
	matching := 0
	for _, slot := range slots {
		token, err := s.module.GetTokenInfo(slot)
		if err != nil || token.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			continue
		}
		labels = append(labels, percentEncode(strings.TrimRight(token.Label, " \x00")))
		if !s.uri.matches("token", token.Label) || !s.uri.matches("manufacturer", token.ManufacturerID) ||
			!s.uri.matches("serial", token.SerialNumber) || !s.uri.matches("model", token.Model) {
			continue
		}
		if wanted, given := s.uri.path["slot-id"]; given {
			if id, err := strconv.ParseUint(wanted, 10, 64); err != nil || uint(id) != slot {
				continue
			}
		}
		if s.uri.named("slot-manufacturer", "slot-description") != "" {
			info, err := s.module.GetSlotInfo(slot)
			if err != nil || !s.uri.matches("slot-manufacturer", info.ManufacturerID) ||
				!s.uri.matches("slot-description", info.SlotDescription) {
				continue
			}
		}
		matching++
		s.slot, s.token = slot, token
	}
	switch {
	case matching == 1:
		return nil
	case matching > 1:
		return failure("not-found", "%d tokens match; name one with token= or serial=; there are %s",
			matching, list("token=", labels))
	case len(labels) == 0:
		return failure("not-found", "the PKCS#11 module has no token that is initialized")
	}
	wanted := s.uri.named("token", "manufacturer", "serial", "model", "slot-manufacturer", "slot-description", "slot-id")
	return failure("not-found", "no token is %s; there is %s", wanted, list("token=", labels))
}

// login logs in once. It spends no try that can be known to fail, and not the last one:
// an agent in the background would lock the token with a PIN that was mistyped in a file.
func (s *p11session) login() error {
	needed := s.token.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0
	pad := s.token.Flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH != 0
	if !s.with && !(needed && pad) {
		return nil // there are keys that everybody may use
	}
	pin := s.pin.Reveal()
	length := uint(len(pin))
	switch {
	case s.token.Flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0 && needed:
		return failure("pin", "the token has no user PIN yet")
	case s.token.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return failure("pin", "the PIN is locked; nothing was tried")
	case s.token.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0 && !pad:
		return failure("pin", "one try is left before the PIN locks, and it was not spent: log in by hand, "+
			"such as with pkcs11-tool --login --list-objects")
	case s.with && (length < s.token.MinPinLen || s.token.MaxPinLen > 0 && length > s.token.MaxPinLen):
		return failure("pin", "the PIN is of another length than the token's, which has %d to %d; it was not tried",
			s.token.MinPinLen, s.token.MaxPinLen)
	}
	if pad && !s.with {
		notice("enter the PIN at the reader")
	}
	err := s.module.Login(s.handle, pkcs11.CKU_USER, pin)
	if err != nil && !isCKR(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN) {
		return ckrFailure("C_Login", err)
	}
	s.loggedIn = true
	return nil
}

// name is what the URI says of an object.
func (s *p11session) name() []*pkcs11.Attribute {
	var attributes []*pkcs11.Attribute
	if label, given := s.uri.path["object"]; given {
		attributes = append(attributes, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	if id, given := s.uri.path["id"]; given {
		attributes = append(attributes, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
	}
	return attributes
}

// search finds objects of a class, at most so many.
func (s *p11session) search(class uint, name []*pkcs11.Attribute, most int) ([]pkcs11.ObjectHandle, error) {
	template := append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}, name...)
	if err := s.module.FindObjectsInit(s.handle, template); err != nil {
		return nil, ckrFailure("C_FindObjectsInit", err)
	}
	var objects []pkcs11.ObjectHandle
	for len(objects) < most {
		found, _, err := s.module.FindObjects(s.handle, most-len(objects))
		if err != nil {
			_ = s.module.FindObjectsFinal(s.handle)
			return nil, ckrFailure("C_FindObjects", err)
		}
		if len(found) == 0 {
			break
		}
		objects = append(objects, found...)
	}
	return objects, s.module.FindObjectsFinal(s.handle)
}

// privateKey finds the one private key that the URI names.
func (s *p11session) privateKey() (pkcs11.ObjectHandle, error) {
	const most = 100
	found, err := s.search(pkcs11.CKO_PRIVATE_KEY, s.name(), most)
	if err != nil {
		return 0, err
	}
	wanted := s.uri.named("object", "id")
	if wanted == "" {
		wanted = "the token"
	}
	switch len(found) {
	case 1:
		return found[0], s.checkKey(found[0])
	case 0:
	default:
		return 0, failure("not-found", "%d private keys match %s; name one: %s", len(found),
			wanted, list("", s.describe(found)))
	}
	if !s.loggedIn && s.token.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0 {
		return 0,
			failure("pin", "the token shows its keys to who has the PIN; name the file that has it: ?pin-source=file:PATH")
	}
	hint := ""
	if id := s.uri.path["id"]; len(id) > 0 && len(id)%2 == 0 && strings.Trim(id, "0123456789abcdefABCDEF") == "" {
		hint = "; id is octets, percent-encoded: is it id=" + hexID(id) + "?"
	}
	others, err := s.search(pkcs11.CKO_PRIVATE_KEY, nil, most)
	if err != nil || len(others) == 0 {
		return 0, failure("not-found", "the token has no private key%s", hint)
	}
	return 0, failure("not-found", "no private key of the token is %s; there is %s%s", wanted,
		list("", s.describe(others)), hint)
}

// hexID writes hexadecimal digits as RFC 7512 wants them.
func hexID(digits string) string {
	var b strings.Builder
	for pair := range slices.Chunk([]byte(digits), 2) {
		b.WriteString("%" + strings.ToUpper(string(pair)))
	}
	return b.String()
}

// describe names objects as a URI does.
func (s *p11session) describe(objects []pkcs11.ObjectHandle) []string {
	var names []string
	for _, object := range objects {
		name := "object=" + percentEncode(string(s.octets(object, pkcs11.CKA_LABEL)))
		if id := s.octets(object, pkcs11.CKA_ID); len(id) > 0 {
			name += ";id=" + percentEncode(string(id))
		}
		names = append(names, name)
	}
	return names
}

// octets reads one attribute, or nil where the token does not tell it.
func (s *p11session) octets(object pkcs11.ObjectHandle, attribute uint) []byte {
	got, err := s.module.GetAttributeValue(s.handle, object, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil || len(got) != 1 {
		return nil
	}
	return got[0].Value
}

// number reads an attribute of type CK_ULONG.
func (s *p11session) number(object pkcs11.ObjectHandle, attribute uint) (uint64, bool) {
	switch value := s.octets(object, attribute); len(value) {
	case 8:
		return binary.NativeEndian.Uint64(value), true
	case 4:
		return uint64(binary.NativeEndian.Uint32(value)), true
	}
	return 0, false
}

// is reads an attribute of type CK_BBOOL.
func (s *p11session) is(object pkcs11.ObjectHandle, attribute uint, value byte) bool {
	got := s.octets(object, attribute)
	return len(got) == 1 && got[0] == value
}

func (s *p11session) checkKey(object pkcs11.ObjectHandle) error {
	if kind, ok := s.number(object, pkcs11.CKA_KEY_TYPE); ok && kind != pkcs11.CKK_RSA {
		if kind == pkcs11.CKK_EC {
			return failure("key-type", "it is an EC key")
		}
		return failure("key-type", "it is a key of type %#x", kind)
	}
	if s.is(object, pkcs11.CKA_SIGN, 0) {
		return failure("key-type", "the key is not for signing (CKA_SIGN)")
	}
	if modulus := s.octets(object, pkcs11.CKA_MODULUS); len(modulus) > 0 {
		return checkSize(&rsa.PublicKey{N: new(big.Int).SetBytes(modulus)})
	}
	return nil
}

// publicKey finds the public half of a private key: in that itself, which has at least the
// modulus as a rule, and else in the public key or the certificate of the same ID, or of
// the same label where there is no ID.
func (s *p11session) publicKey(private pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	modulus := s.octets(private, pkcs11.CKA_MODULUS)
	if public := rsaPublic(modulus, s.octets(private, pkcs11.CKA_PUBLIC_EXPONENT)); public != nil {
		return public, nil
	}
	var name []*pkcs11.Attribute
	if id := s.octets(private, pkcs11.CKA_ID); len(id) > 0 {
		name = []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, id)}
	} else {
		name = []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, s.octets(private, pkcs11.CKA_LABEL))}
	}
	var candidates []*rsa.PublicKey
	objects, err := s.search(pkcs11.CKO_PUBLIC_KEY, name, 10)
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		candidates = append(candidates, rsaPublic(s.octets(object, pkcs11.CKA_MODULUS),
			s.octets(object, pkcs11.CKA_PUBLIC_EXPONENT)))
	}
	if objects, err = s.search(pkcs11.CKO_CERTIFICATE, name, 10); err != nil {
		return nil, err
	}
	for _, object := range objects {
		if certificate, err := x509.ParseCertificate(s.octets(object, pkcs11.CKA_VALUE)); err == nil {
			public, _ := certificate.PublicKey.(*rsa.PublicKey)
			candidates = append(candidates, public)
		}
	}
	for _, public := range candidates {
		if public != nil && (len(modulus) == 0 || public.N.Cmp(new(big.Int).SetBytes(modulus)) == 0) {
			return public, nil
		}
	}
	return nil,
		failure("not-found", "the token has the private key, and neither its public key nor a certificate beside it")
}

// rsaPublic is a public key, or nil where the two numbers make none. Its size is looked at elsewhere.
func rsaPublic(modulus, exponent []byte) *rsa.PublicKey {
	e := new(big.Int).SetBytes(exponent)
	if len(modulus) == 0 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
		return nil
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(e.Int64())}
}

// digestInfo is the DER of a DigestInfo of SHA-256 up to the digest (RFC 8017 section 9.2,
// note 1).
var digestInfo = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04,
	0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// sign signs with the mechanism that hashes, where the token has it, and else with that
// which takes a DigestInfo.
func (s *p11session) sign(private pkcs11.ObjectHandle, message, digest []byte) ([]byte, error) {
	input := message
	err := s.signInit(private, pkcs11.CKM_SHA256_RSA_PKCS)
	if isCKR(err, pkcs11.CKR_MECHANISM_INVALID) {
		input = append(slices.Clone(digestInfo), digest...)
		err = s.signInit(private, pkcs11.CKM_RSA_PKCS)
	}
	if err != nil {
		return nil, ckrFailure("C_SignInit", err)
	}
	if s.is(private, pkcs11.CKA_ALWAYS_AUTHENTICATE, 1) {
		if err := s.module.Login(s.handle, pkcs11.CKU_CONTEXT_SPECIFIC, s.pin.Reveal()); err != nil {
			return nil, ckrFailure("C_Login", err)
		}
	}
	signature, err := s.module.Sign(s.handle, input)
	if err != nil {
		return nil, ckrFailure("C_Sign", err)
	}
	return signature, nil
}

// signInit does not ask for what the token says it has not got.
func (s *p11session) signInit(private pkcs11.ObjectHandle, mechanism uint) error {
	m := []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}
	if info, err := s.module.GetMechanismInfo(s.slot, m); err != nil || info.Flags&pkcs11.CKF_SIGN == 0 {
		return pkcs11.Error(pkcs11.CKR_MECHANISM_INVALID)
	}
	return s.module.SignInit(s.handle, m, private)
}

// create makes the two objects, or none.
func (s *p11session) create(private *rsa.PrivateKey) error {
	if !s.loggedIn && s.token.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0 {
		return failure("pin", "the token takes a key of who has the PIN; name the file that has it: ?pin-source=file:PATH")
	}
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		found, err := s.search(class, s.name(), 1)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return failure("exists", "the token has %s already; nothing was changed", s.uri.named("object", "id"))
		}
	}
	name := s.name()
	exponent := big.NewInt(int64(private.E)).Bytes()
	if _, given := s.uri.path["id"]; !given {
		// What others derive an ID from, so that they find the two to belong together.
		id := sha1.Sum(x509.MarshalPKCS1PublicKey(&private.PublicKey))
		name = append(name, pkcs11.NewAttribute(pkcs11.CKA_ID, id[:]))
	}
	private.Precompute()
	attribute := pkcs11.NewAttribute
	handle, err := s.module.CreateObject(s.handle, slices.Concat(name, []*pkcs11.Attribute{
		attribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		attribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		attribute(pkcs11.CKA_TOKEN, true),
		attribute(pkcs11.CKA_PRIVATE, true),
		attribute(pkcs11.CKA_SENSITIVE, true),
		attribute(pkcs11.CKA_EXTRACTABLE, false),
		attribute(pkcs11.CKA_SIGN, true),
		attribute(pkcs11.CKA_DECRYPT, false),
		attribute(pkcs11.CKA_UNWRAP, false),
		attribute(pkcs11.CKA_MODULUS, private.N.Bytes()),
		attribute(pkcs11.CKA_PUBLIC_EXPONENT, exponent),
		attribute(pkcs11.CKA_PRIVATE_EXPONENT, private.D.Bytes()),
		attribute(pkcs11.CKA_PRIME_1, private.Primes[0].Bytes()),
		attribute(pkcs11.CKA_PRIME_2, private.Primes[1].Bytes()),
		attribute(pkcs11.CKA_EXPONENT_1, private.Precomputed.Dp.Bytes()),
		attribute(pkcs11.CKA_EXPONENT_2, private.Precomputed.Dq.Bytes()),
		attribute(pkcs11.CKA_COEFFICIENT, private.Precomputed.Qinv.Bytes()),
	}))
	if err != nil {
		return ckrFailure("C_CreateObject of the private key", err)
	}
	_, err = s.module.CreateObject(s.handle, slices.Concat(name, []*pkcs11.Attribute{
		attribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		attribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA),
		attribute(pkcs11.CKA_TOKEN, true),
		attribute(pkcs11.CKA_PRIVATE, false),
		attribute(pkcs11.CKA_VERIFY, true),
		attribute(pkcs11.CKA_MODULUS, private.N.Bytes()),
		attribute(pkcs11.CKA_PUBLIC_EXPONENT, exponent),
	}))
	if err != nil {
		err = ckrFailure("C_CreateObject of the public key", err)
		if undone := s.module.DestroyObject(s.handle, handle); undone != nil {
			return errors.Join(err, ckrFailure("C_DestroyObject", undone))
		}
		return err
	}
	return nil
}

func isCKR(err error, code uint) bool {
	e, ok := errors.AsType[pkcs11.Error](err)
	return ok && uint(e) == code
}

// ckrKinds are the kinds of what modules answer; whatever else has failed.
var ckrKinds = map[uint]string{
	pkcs11.CKR_PIN_INCORRECT:              "pin",
	pkcs11.CKR_PIN_INVALID:                "pin",
	pkcs11.CKR_PIN_LEN_RANGE:              "pin",
	pkcs11.CKR_PIN_EXPIRED:                "pin",
	pkcs11.CKR_PIN_LOCKED:                 "pin",
	pkcs11.CKR_USER_NOT_LOGGED_IN:         "pin",
	pkcs11.CKR_USER_PIN_NOT_INITIALIZED:   "pin",
	pkcs11.CKR_USER_TYPE_INVALID:          "pin",
	pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED: "key-type",
	pkcs11.CKR_KEY_TYPE_INCONSISTENT:      "key-type",
	pkcs11.CKR_KEY_SIZE_RANGE:             "key-type",
	pkcs11.CKR_MECHANISM_INVALID:          "key-type",
	pkcs11.CKR_FUNCTION_CANCELED:          "declined",
	pkcs11.CKR_FUNCTION_REJECTED:          "declined",
	pkcs11.CKR_TOKEN_WRITE_PROTECTED:      "denied",
	pkcs11.CKR_SESSION_READ_ONLY:          "denied",
	pkcs11.CKR_DEVICE_ERROR:               "unavailable",
	pkcs11.CKR_DEVICE_REMOVED:             "unavailable",
	pkcs11.CKR_TOKEN_NOT_PRESENT:          "unavailable",
	pkcs11.CKR_TOKEN_NOT_RECOGNIZED:       "unavailable",
	pkcs11.CKR_SESSION_COUNT:              "unavailable",
	pkcs11.CKR_USER_TOO_MANY_TYPES:        "unavailable",
}

var ckrWords = map[uint]string{
	pkcs11.CKR_PIN_INCORRECT:      "the PIN is wrong; it was tried once",
	pkcs11.CKR_PIN_LOCKED:         "the PIN is locked",
	pkcs11.CKR_PIN_EXPIRED:        "the PIN has expired; set another one",
	pkcs11.CKR_USER_NOT_LOGGED_IN: "the key is for who has the PIN; name the file that has it: ?pin-source=file:PATH",
}

// ckrFailure tells what a function of the module answered.
func ckrFailure(function string, err error) error {
	code, ok := errors.AsType[pkcs11.Error](err)
	if !ok {
		return failure("failed", "%s: %v", function, err)
	}
	kind := ckrKinds[uint(code)]
	if kind == "" {
		kind = "failed"
	}
	name := strings.TrimPrefix(code.Error(), "pkcs11: ")
	if _, after, found := strings.Cut(name, ": "); found {
		name = after
	}
	if words := ckrWords[uint(code)]; words != "" {
		return failure(kind, "%s (%s: %s)", words, function, name)
	}
	return failure(kind, "the PKCS#11 module answered %s to %s", name, function)
}
