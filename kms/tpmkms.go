package kms

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"go.step.sm/crypto/tpm/tss2"

	"github.com/ghapp-dev/ghapp/internal/private"
	"github.com/ghapp-dev/ghapp/secret"
)

// tpmKey is a private key that only one TPM can use: a file with the key encrypted by the
// TPM, as OpenSSL's engine and provider and step-kms read it ("TSS2 PRIVATE KEY",
// draft-bottomley-tpm2-keys), or a key that the TPM keeps itself.
type tpmKey struct {
	device string
	path   string         // of the file, or ""
	handle tpm2.TPMHandle // of a key that the TPM keeps, or 0
	parent tpm2.TPMHandle // under which a key is imported
	pin    secret.Text
	with   bool // a PIN is given
}

func openTPMKMS(_ context.Context, uri string) (key, error) {
	attributes, err := attributesOf(uri, "name", "path", "handle", "device", "storage-directory",
		"parent", "pin-source", "pin-value")
	if err != nil {
		return nil, failure("invalid-uri", "%v", err)
	}
	k := &tpmKey{device: attributes["device"], path: attributes["path"], parent: tpm2.TPMRHOwner}
	name, handle := attributes["name"], attributes["handle"]
	named := 0
	for _, value := range []string{name, k.path, handle} {
		if value != "" {
			named++
		}
	}
	switch {
	case named != 1:
		return nil, failure("invalid-uri", "it is to have one of name=NAME, path=FILE and handle=0x81…")
	case strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, "."):
		return nil, failure("invalid-uri", "a name has neither slashes nor a dot in front; a path goes into path=FILE")
	case handle != "":
		if k.handle, err = persistentHandle(handle); err != nil {
			return nil, failure("invalid-uri", "handle: %v", err)
		}
	case name != "":
		dir := attributes["storage-directory"]
		if dir == "" {
			if dir, err = tpmDirectory(); err != nil {
				return nil, failure("invalid-uri", "%v; say storage-directory=DIR", err)
			}
		}
		k.path = filepath.Join(dir, name+".pem")
	}
	if parent := attributes["parent"]; parent != "" {
		if k.parent, err = persistentHandle(parent); err != nil {
			return nil, failure("invalid-uri", "parent: %v", err)
		}
	}
	k.pin, k.with, err = readPIN(attributes)
	return k, err
}

// persistentHandle reads the handle of an object that the TPM keeps (TPM 2.0 Library
// Part 2, section 7.2: the most significant octet is 0x81).
func persistentHandle(text string) (tpm2.TPMHandle, error) {
	value, err := strconv.ParseUint(text, 0, 32)
	if err != nil || value>>24 != 0x81 {
		return 0, errors.New("it is to be the number of a persistent object, such as 0x81000001")
	}
	return tpm2.TPMHandle(value), nil
}

// tpmDirectory is where keys are that a URI names by name= and nothing else.
func tpmDirectory() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ghapp", "tpm"), nil
	}
	if dir := os.Getenv("LocalAppData"); runtime.GOOS == "windows" && dir != "" {
		return filepath.Join(dir, "ghapp", "tpm"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", errors.New("there is no home directory that keys could be in")
	}
	return filepath.Join(home, ".local", "share", "ghapp", "tpm"), nil
}

func (k *tpmKey) close() {}

func (k *tpmKey) public(ctx context.Context) (crypto.PublicKey, error) {
	return within(ctx, func() (crypto.PublicKey, error) {
		// Loaded, and not only read: what another TPM made is of no use here.
		t, err := k.open()
		if err != nil {
			return nil, err
		}
		defer t.close()
		loaded, err := t.load(k)
		if err != nil {
			return nil, err
		}
		return loaded.rsaPublic()
	})
}

func (k *tpmKey) sign(ctx context.Context, _, digest []byte) ([]byte, error) {
	return within(ctx, func() ([]byte, error) {
		t, err := k.open()
		if err != nil {
			return nil, err
		}
		defer t.close()
		loaded, err := t.load(k)
		if err != nil {
			return nil, err
		}
		if _, err := loaded.rsaPublic(); err != nil {
			return nil, err
		}
		return t.sign(loaded, digest)
	})
}

// importKey encrypts the key to the TPM, has the TPM make a key of its own of it, and
// writes what the TPM gives back.
func (k *tpmKey) importKey(ctx context.Context, private *rsa.PrivateKey) error {
	switch {
	case k.path == "":
		return failure("unsupported", "a key is imported into a file: say name=NAME or path=FILE")
	case len(private.Primes) != 2:
		return failure("key-type", "the key has %d primes, and a TPM's have 2", len(private.Primes))
	}
	if _, err := os.Lstat(k.path); err == nil {
		return failure("exists", "there is a file %q already", k.path)
	}
	_, err := within(ctx, func() (struct{}, error) {
		t, err := k.open()
		if err != nil {
			return struct{}{}, err
		}
		defer t.close()
		text, err := t.importKey(k, private)
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, writeNew(k.path, text)
	})
	return err
}

// writeNew writes a file that is not there yet, or nothing.
func writeNew(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return failure("failed", "cannot make the directory for %q: %v", path, withoutPath(err))
	}
	if err := private.Way(filepath.Dir(path)); err != nil {
		return failure("failed", "nothing is written to %q: %v", path, err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return failure("failed", "cannot write %q: %v", path, withoutPath(err))
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = os.Remove(path)
		return failure("failed", "cannot write %q: %v", path, withoutPath(err))
	}
	return nil
}

// tpm is an open TPM with the objects that were loaded into it.
type tpm struct {
	transport.TPMCloser
	loaded []tpm2.TPMHandle
}

func (k *tpmKey) open() (*tpm, error) {
	device, err := openTPM(k.device)
	if err != nil {
		return nil, err
	}
	return &tpm{TPMCloser: device}, nil
}

// close leaves nothing in the TPM, also where no resource manager would take it out.
func (t *tpm) close() {
	for _, handle := range t.loaded {
		_, _ = tpm2.FlushContext{FlushHandle: handle}.Execute(t)
	}
	_ = t.Close()
}

// tpmObject is a key in the TPM.
type tpmObject struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public tpm2.TPMTPublic
	auth   []tpm2.AuthOption // of the session that uses it
}

func (o *tpmObject) rsaPublic() (*rsa.PublicKey, error) {
	public, err := tpm2.Pub(o.public)
	if err != nil {
		return nil, failure("key-type", "its public key cannot be read: %v", err)
	}
	key, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil, failure("key-type", "it is no RSA key")
	}
	if a := o.public.ObjectAttributes; !a.SignEncrypt || a.Restricted {
		return nil, failure("key-type", "the key is not for signing whatever it is given")
	}
	return key, checkSize(key)
}

// load makes the key ready. The PIN goes to the TPM when it signs, and never in the clear.
func (t *tpm) load(k *tpmKey) (*tpmObject, error) {
	if k.handle != 0 {
		object, err := t.persistent(k.handle)
		if err != nil {
			return nil, err
		}
		object.auth = []tpm2.AuthOption{tpm2.Auth([]byte(k.pin.Reveal()))}
		return object, t.checkTries(object)
	}
	file, err := readTPMFile(k.path)
	if err != nil {
		return nil, err
	}
	if !file.EmptyAuth && !k.with {
		return nil, failure("pin", "the key has a PIN; name the file that has it: ?pin-source=file:PATH")
	}
	public, err := tpm2.Unmarshal[tpm2.TPM2BPublic](file.PublicKey)
	if err != nil {
		return nil, failure("failed", "the file %q is damaged: its public part cannot be read", k.path)
	}
	private, err := tpm2.Unmarshal[tpm2.TPM2BPrivate](file.PrivateKey)
	if err != nil {
		return nil, failure("failed", "the file %q is damaged: its private part cannot be read", k.path)
	}
	contents, err := public.Contents()
	if err != nil {
		return nil, failure("failed", "the file %q is damaged: its public part cannot be read", k.path)
	}
	parent, err := t.parent(tpm2.TPMHandle(uint32(file.Parent)))
	if err != nil {
		return nil, err
	}
	loaded, err := tpm2.Load{
		ParentHandle: tpm2.AuthHandle{Handle: parent.handle, Name: parent.name, Auth: tpm2.PasswordAuth(nil)},
		InPrivate:    *private, InPublic: *public,
	}.Execute(t)
	if err != nil {
		return nil, tpmFailure("TPM2_Load", err)
	}
	t.loaded = append([]tpm2.TPMHandle{loaded.ObjectHandle}, t.loaded...)
	object := &tpmObject{handle: loaded.ObjectHandle, name: loaded.Name, public: *contents}
	object.auth = []tpm2.AuthOption{tpm2.Salted(parent.handle, parent.public), tpm2.AESEncryption(128, tpm2.EncryptIn)}
	if file.EmptyAuth {
		return object, nil
	}
	object.auth = append(object.auth, tpm2.Auth([]byte(k.pin.Reveal())))
	return object, t.checkTries(object)
}

// readTPMFile reads the PEM of a key.
func readTPMFile(path string) (*tss2.TPMKey, error) {
	text, err := readSmallFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, failure("not-found", "there is no key of the TPM's in %q", path)
	case err != nil:
		return nil, failure("failed", "the key in %q cannot be read: %v", path, err)
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "TSS2 PRIVATE KEY" {
		return nil, failure("not-found", "the file %q holds no TSS2 PRIVATE KEY", path)
	}
	file, err := tss2.ParsePrivateKey(block.Bytes)
	switch {
	case err != nil:
		return nil, failure("failed", "the file %q is damaged: %v", path, err)
	case file.Type.String() != tpmLoadable:
		return nil, failure("unsupported", "the file %q holds no loadable key, "+
			"which is the kind that one TPM has encrypted to itself", path)
	case len(file.Policy) > 0 || len(file.AuthPolicy) > 0:
		return nil, failure("unsupported", "the key in %q has a policy, which this program does not fulfil", path)
	}
	return file, nil
}

// tpmLoadable is the type of a key that the TPM has encrypted to itself
// (draft-bottomley-tpm2-keys section 3.1).
const tpmLoadable = "2.23.133.10.1.3"

// persistent finds an object that the TPM keeps.
func (t *tpm) persistent(handle tpm2.TPMHandle) (*tpmObject, error) {
	read, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, failure("not-found", "the TPM keeps nothing at %#x", uint32(handle))
	}
	if err != nil {
		return nil, tpmFailure("TPM2_ReadPublic", err)
	}
	public, err := read.OutPublic.Contents()
	if err != nil {
		return nil, failure("failed", "the TPM's answer to TPM2_ReadPublic cannot be read")
	}
	return &tpmObject{handle: handle, name: read.Name, public: *public}, nil
}

// parent finds or makes the storage key under which a key is. That of the owner is made
// anew each time, in milliseconds, from a seed that never leaves the TPM; nothing has to be
// set up for it, and nothing stays.
func (t *tpm) parent(handle tpm2.TPMHandle) (*tpmObject, error) {
	if handle>>24 == 0x81 {
		return t.persistent(handle)
	}
	if handle != tpm2.TPMRHOwner {
		return nil, failure("unsupported", "the key's parent is %#x, which is neither the owner's hierarchy nor a "+
			"persistent object", uint32(handle))
	}
	template := tpm2.ECCSRKTemplate
	// An empty one, as the others have it who read such files.
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{})
	made, err := tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(template)}.Execute(t)
	switch {
	case errors.Is(err, tpm2.TPMRCBadAuth), errors.Is(err, tpm2.TPMRCAuthFail):
		return nil, failure("denied", "the owner's hierarchy of the TPM has a password; "+
			"a key is imported under a storage key that the TPM keeps with parent=0x81000001")
	case err != nil:
		return nil, tpmFailure("TPM2_CreatePrimary", err)
	}
	t.loaded = append(t.loaded, made.ObjectHandle)
	public, err := made.OutPublic.Contents()
	if err != nil {
		return nil, failure("failed", "the TPM's answer to TPM2_CreatePrimary cannot be read")
	}
	return &tpmObject{handle: made.ObjectHandle, name: made.Name, public: *public}, nil
}

// checkTries spends no try that is known to fail, and not the last one: after that nobody
// on this machine could use a PIN of the TPM's for a while.
func (t *tpm) checkTries(object *tpmObject) error {
	if object.public.ObjectAttributes.NoDA {
		return nil
	}
	const permanent, inLockout = 0x200, 1 << 9 // TPM_PT_PERMANENT and a bit of it (Part 2, section 8.6)
	failed, err := t.property(uint32(tpm2.TPMPTLockoutCounter))
	if err != nil {
		return err
	}
	most, err := t.property(uint32(tpm2.TPMPTMaxAuthFail))
	if err != nil {
		return err
	}
	state, err := t.property(permanent)
	switch {
	case err != nil:
		return err
	case state&inLockout != 0:
		return failure("pin", "the TPM is locked out after wrong PINs; nothing was tried; see tpm2_dictionarylockout(1)")
	case most > 1 && failed+1 >= most:
		return failure("pin", "one wrong PIN more would lock the TPM out, so the PIN was not tried; wait, "+
			"or reset the counter with tpm2_dictionarylockout(1)")
	}
	return nil
}

func (t *tpm) property(number uint32) (uint32, error) {
	got, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: number, PropertyCount: 1}.Execute(t)
	if err != nil {
		return 0, tpmFailure("TPM2_GetCapability", err)
	}
	list, err := got.CapabilityData.Data.TPMProperties()
	if err != nil || len(list.TPMProperty) == 0 || uint32(list.TPMProperty[0].Property) != number {
		return 0, failure("failed", "the TPM does not tell its property %#x", number)
	}
	return list.TPMProperty[0].Value, nil
}

// rs256 is RSASSA-PKCS1-v1_5 with SHA-256.
var rs256 = tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256}

func (t *tpm) sign(object *tpmObject, digest []byte) ([]byte, error) {
	signed, err := tpm2.Sign{
		KeyHandle: tpm2.AuthHandle{Handle: object.handle, Name: object.name,
			Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, object.auth...)},
		Digest: tpm2.TPM2BDigest{Buffer: digest},
		InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgRSASSA,
			Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSchemeHash{HashAlg: tpm2.TPMAlgSHA256})},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(t)
	if err != nil {
		return nil, tpmFailure("TPM2_Sign", err)
	}
	signature, err := signed.Signature.Signature.RSASSA()
	if err != nil {
		return nil, failure("failed", "the TPM's signature is none of RSASSA")
	}
	return signature.Sig.Buffer, nil
}

// importKey returns the PEM of the key as the TPM has encrypted it. On its way into the TPM
// the key is encrypted to the parent (TPM 2.0 Library Part 1, section 23.3.2.3): nobody on
// the bus reads it. It may only sign with RS256, and has no policy that would ever let it
// be duplicated.
func (t *tpm) importKey(k *tpmKey, private *rsa.PrivateKey) ([]byte, error) {
	bits := private.N.BitLen()
	parameters := tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
		Scheme:   tpm2.TPMTRSAScheme{Scheme: tpm2.TPMAlgRSASSA, Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &rs256)},
		KeyBits:  tpm2.TPMKeyBits(bits),
		Exponent: uint32(private.E),
	})
	if _, err := (tpm2.TestParms{Parameters: tpm2.TPMTPublicParms{Type: tpm2.TPMAlgRSA,
		Parameters: parameters}}).Execute(t); err != nil {
		if errors.Is(err, tpm2.TPMRCValue) || errors.Is(err, tpm2.TPMRCKeySize) || errors.Is(err, tpm2.TPMRCRange) {
			return nil, failure("key-type", "this TPM takes no RSA key of %d bits with the exponent %d", bits, private.E)
		}
		return nil, tpmFailure("TPM2_TestParms", err)
	}
	parent, err := t.parent(k.parent)
	if err != nil {
		return nil, err
	}
	public := tpm2.TPMTPublic{
		Type: tpm2.TPMAlgRSA, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{UserWithAuth: true, SignEncrypt: true, NoDA: !k.with},
		Parameters:       parameters,
		Unique:           tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: private.N.Bytes()}),
	}
	sensitive := tpm2.Marshal(tpm2.TPMTSensitive{
		SensitiveType: tpm2.TPMAlgRSA,
		AuthValue:     tpm2.TPM2BAuth{Buffer: []byte(k.pin.Reveal())},
		Sensitive: tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgRSA,
			&tpm2.TPM2BPrivateKeyRSA{Buffer: private.Primes[0].Bytes()}),
	})
	name, err := tpm2.ObjectName(&public)
	if err != nil {
		return nil, err
	}
	to, err := tpm2.ImportEncapsulationKey(&parent.public)
	if err != nil {
		return nil, failure("failed", "the parent %#x is no storage key: %v", uint32(k.parent), err)
	}
	duplicate, seed, err := tpm2.CreateDuplicate(rand.Reader, to, name.Buffer, sensitive)
	if err != nil {
		return nil, err
	}
	imported, err := tpm2.Import{
		ParentHandle: tpm2.AuthHandle{Handle: parent.handle, Name: parent.name, Auth: tpm2.PasswordAuth(nil)},
		ObjectPublic: tpm2.New2B(public),
		Duplicate:    tpm2.TPM2BPrivate{Buffer: duplicate},
		InSymSeed:    tpm2.TPM2BEncryptedSecret{Buffer: seed},
		Symmetric:    tpm2.TPMTSymDef{Algorithm: tpm2.TPMAlgNull},
	}.Execute(t)
	if err != nil {
		return nil, tpmFailure("TPM2_Import", err)
	}
	der, err := tss2.MarshalPrivateKey(&tss2.TPMKey{
		Type: []int{2, 23, 133, 10, 1, 3}, EmptyAuth: !k.with, Parent: int(uint32(k.parent)),
		PublicKey:  tpm2.Marshal(tpm2.New2B(public)),
		PrivateKey: tpm2.Marshal(imported.OutPrivate),
	})
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "TSS2 PRIVATE KEY", Bytes: der}), nil
}

// tpmFailure tells what the TPM answered to a command. The names are those of the TPM 2.0
// Library, Part 2, section 6.6.
func tpmFailure(command string, err error) error {
	code, answered := errors.AsType[tpm2.TPMRC](err)
	if !answered {
		return failure("unavailable", "the TPM does not answer: %v", withoutPath(err))
	}
	switch {
	case errors.Is(err, tpm2.TPMRCAuthFail), errors.Is(err, tpm2.TPMRCBadAuth):
		return failure("pin", "the PIN is wrong; it was tried once (%s)", command)
	case errors.Is(err, tpm2.TPMRCLockout):
		return failure("pin", "the TPM is locked out after wrong PINs (%s); see tpm2_dictionarylockout(1)", command)
	case errors.Is(err, tpm2.TPMRCIntegrity):
		return failure("not-found", "the key was made by another TPM, or the TPM was cleared since (%s)", command)
	case errors.Is(err, tpm2.TPMRCHandle):
		return failure("not-found", "the TPM keeps nothing at the handle of the key or its parent (%s)", command)
	case errors.Is(err, tpm2.TPMRCKeySize), errors.Is(err, tpm2.TPMRCScheme), errors.Is(err, tpm2.TPMRCKey):
		return failure("key-type", "the TPM does not sign RS256 with the key: %s: %v", command, code)
	case code.IsWarning():
		return failure("unavailable", "the TPM has no time or room: %s: %v", command, code)
	}
	return failure("failed", "%s: %v", command, code)
}
