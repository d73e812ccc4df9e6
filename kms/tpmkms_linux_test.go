package kms

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
	"go.step.sm/crypto/tpm/tss2"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer/execsigner"
)

// swTPM is a TPM of one test's own.
type swTPM struct {
	t      *testing.T
	dir    string // for keys
	socket string
	cmd    *exec.Cmd
}

func newTPM(t *testing.T) *swTPM {
	t.Helper()
	testkit.Long(t)
	path := testkit.Program(t, "swtpm")
	state := t.TempDir()
	s := &swTPM{t: t, dir: t.TempDir(), socket: filepath.Join(state, "tpm")}
	s.cmd = exec.Command(path, "socket", "--tpm2", "--tpmstate", "dir="+state, "--server", "type=unixio,path="+s.socket,
		"--flags", "not-need-init,startup-clear")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	testkit.OK(t, s.cmd.Start())
	t.Cleanup(s.end)
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("unix", s.socket)
		if err == nil {
			conn.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("swtpm does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *swTPM) end() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// stop has the TPM answer no more.
func (s *swTPM) stop() {
	s.t.Helper()
	testkit.OK(s.t, s.cmd.Process.Signal(syscall.SIGSTOP))
}

// uri names a key with attributes, and with this TPM.
func (s *swTPM) uri(attributes string) string {
	if !strings.Contains(attributes, "path=") && !strings.Contains(attributes, "handle=") {
		attributes += ";storage-directory=" + s.dir
	}
	return "tpmkms:" + attributes + ";device=" + s.socket
}

// open opens the TPM for what the program under test does not do.
func (s *swTPM) open() *tpm {
	s.t.Helper()
	device := testkit.Must(linuxudstpm.Open(s.socket))(s.t)
	return &tpm{TPMCloser: device}
}

func TestTPMImport(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	key := testKey(t, 2048)
	uri := s.uri("name=app")
	wantFailure(t, publicKeyOf(t, nil, uri), "not-found", "there is no key of the TPM's in") // what keys import waits for
	// nothing stays in the TPM, which has room for three
	for range 2 {
		wantFailure(t, publicKeyOf(t, nil, uri), "not-found", "there is no key")
	}
	if got := imported(t, nil, uri, key); got.Error != nil {
		t.Fatal(got.Error)
	}
	for range 3 {
		wantKey(t, nil, uri, key)
	}
	path := filepath.Join(s.dir, "app.pem")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	wantKey(t, nil, s.uri("path="+path), key)
	wantFailure(t, imported(t, nil, uri, testKey(t, 3072)), "exists", "there is a file")
	wantKey(t, nil, uri, key)

	// Another TPM has no use for the file, and neither has this one once it was cleared.
	other := newTPM(t)
	other.dir = s.dir
	wantFailure(t, publicKeyOf(t, nil, other.uri("name=app")), "not-found", "made by another TPM")
	device := s.open()
	defer device.close()
	if _, err := (tpm2.Clear{AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHLockout,
		Auth: tpm2.PasswordAuth(nil)}}).Execute(device); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, signatureOf(t, nil, uri), "not-found", "the TPM was cleared since")
}

// The key in the TPM signs RS256 and does nothing else, and is let out by nobody.
func TestTPMKeySignsOnly(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	if got := imported(t, nil, s.uri("name=app"), testKey(t, 2048)); got.Error != nil {
		t.Fatal(got.Error)
	}
	device := s.open()
	defer device.close()
	object, err := device.load(&tpmKey{path: filepath.Join(s.dir, "app.pem")})
	testkit.OK(t, err)
	auth := tpm2.AuthHandle{Handle: object.handle, Name: object.name, Auth: tpm2.PasswordAuth(nil)}
	if _, err := (tpm2.RSADecrypt{KeyHandle: auth, CipherText: tpm2.TPM2BPublicKeyRSA{Buffer: make([]byte, 256)},
		InScheme: tpm2.TPMTRSADecrypt{Scheme: tpm2.TPMAlgNull}}).Execute(device); err == nil {
		t.Error("it decrypts")
	}
	_, err = tpm2.Duplicate{
		ObjectHandle: auth, NewParentHandle: tpm2.TPMRHNull, Symmetric: tpm2.TPMTSymDef{Algorithm: tpm2.TPMAlgNull},
	}.Execute(device)
	if !errors.Is(err, tpm2.TPMRCAuthType) && !errors.Is(err, tpm2.TPMRCPolicyFail) &&
		!errors.Is(err, tpm2.TPMRCAuthUnavailable) {
		t.Errorf("to duplicate it: %v", err)
	}
	_, err = tpm2.Sign{
		KeyHandle: auth, Digest: tpm2.TPM2BDigest{Buffer: make([]byte, 32)},
		InScheme: tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgRSAPSS,
			Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgRSAPSS, &tpm2.TPMSSchemeHash{HashAlg: tpm2.TPMAlgSHA256})},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(device)
	testkit.ErrorIs(t, err, tpm2.TPMRCScheme, "to sign in another way")
}

func TestTPMPIN(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	pinFile := writeFile(t, testPIN+"\n", s.dir, "pin")
	with := "?pin-source=file:" + pinFile
	if got := imported(t, nil, s.uri("name=app")+with, testKey(t, 2048)); got.Error != nil {
		t.Fatal(got.Error)
	}
	if got := imported(t, nil, s.uri("name=open"), testKey(t, 2048)); got.Error != nil {
		t.Fatal(got.Error)
	}
	failed := func() uint32 {
		device := s.open()
		defer device.close()
		count := testkit.Must(device.property(uint32(tpm2.TPMPTLockoutCounter)))(t)
		return count
	}
	wantFailure(t, signatureOf(t, nil, s.uri("name=app")), "pin", "?pin-source=file:PATH")
	wantFailure(t, signatureOf(t, nil, s.uri("name=app")+"?pin-source=file:"+filepath.Join(s.dir, "absent")),
		"pin", "no such file")
	testkit.Equal(t, failed(), 0, "without a PIN")
	wrong := s.uri("name=app") + "?pin-value=" + testPIN + "0"
	for spent := range uint32(2) {
		wantFailure(t, signatureOf(t, nil, wrong), "pin", "the PIN is wrong; it was tried once")
		testkit.Equal(t, failed(), spent+1, "after")
	}
	// swtpm allows three.
	wantFailure(t, signatureOf(t, nil, wrong), "pin",
		"one wrong PIN more would lock the TPM out, so the PIN was not tried")
	testkit.Equal(t, failed(), 2, "tries were spent")
	device := s.open()
	object := testkit.Must(device.load(&tpmKey{path: filepath.Join(s.dir, "open.pem")}))(t)
	digest := make([]byte, 32)
	testkit.OK(t, testkit.ErrorOf(device.sign(object, digest)), "a key without a PIN has nothing to do with it")
	const lockReset, parameters = 0x139, 0x13a // TPM2_DictionaryAttackLockReset, …Parameters
	lockout(t, device, lockReset)
	device.close()
	wantKey(t, nil, s.uri("name=app")+with, testKey(t, 2048))
	device = s.open()
	lockout(t, device, parameters, 0, 1000, 1000) // no try at all
	device.close()
	wantFailure(t, signatureOf(t, nil, s.uri("name=app")+with), "pin", "the TPM is locked out")
}

// lockout sends a command for which go-tpm has no name, authorized by the hierarchy of the
// lockout (TPM 2.0 Library Part 3, section 25).
func lockout(t *testing.T, device *tpm, code uint32, parameters ...uint32) {
	t.Helper()
	body := binary.BigEndian.AppendUint32(nil, uint32(tpm2.TPMRHLockout))
	body = append(body, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0) // an empty password
	for _, parameter := range parameters {
		body = binary.BigEndian.AppendUint32(body, parameter)
	}
	command := binary.BigEndian.AppendUint32([]byte{0x80, 0x02}, uint32(10+len(body)))
	command = binary.BigEndian.AppendUint32(command, code)
	answer, err := device.Send(append(command, body...))
	if err != nil || len(answer) < 10 || binary.BigEndian.Uint32(answer[6:]) != 0 {
		t.Fatalf("the TPM answers %x, %v", answer, err)
	}
}

// Where the owner's hierarchy has a password, a storage key that the TPM keeps does.
func TestTPMKeyUnderAStorageKeyThatIsKept(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	device := s.open()
	for handle, template := range map[tpm2.TPMHandle]tpm2.TPMTPublic{0x81000001: tpm2.RSASRKTemplate,
		0x81000002: tpm2.ECCSRKTemplate} {
		made, err := tpm2.CreatePrimary{PrimaryHandle: owner, InPublic: tpm2.New2B(template)}.Execute(device)
		testkit.OK(t, err)
		device.loaded = append(device.loaded, made.ObjectHandle)
		if _, err := (tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: made.ObjectHandle,
			Name: made.Name}, PersistentHandle: tpm2.TPMIDHPersistent(handle)}).Execute(device); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := (tpm2.HierarchyChangeAuth{AuthHandle: owner,
		NewAuth: tpm2.TPM2BAuth{Buffer: []byte("owner")}}).Execute(device); err != nil {
		t.Fatal(err)
	}
	device.close()
	key := testKey(t, 2048)
	wantFailure(t, imported(t, nil, s.uri("name=app"), key), "denied", "parent=0x81000001")
	for _, parent := range []string{"0x81000001", "0x81000002"} {
		uri := s.uri("name=app-" + parent + ";parent=" + parent)
		if got := imported(t, nil, uri, key); got.Error != nil {
			t.Fatal(got.Error)
		}
		wantKey(t, nil, s.uri("name=app-"+parent), key) // the file knows its parent
	}
	wantFailure(t, imported(t, nil, s.uri("name=new;parent=0x81000003"), key), "not-found", "keeps nothing at 0x81000003")
}

// A key may be one that the TPM keeps, whoever put it there.
func TestTPMKeyThatIsKept(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	key := testKey(t, 2048)
	if got := imported(t, nil, s.uri("name=app"), key); got.Error != nil {
		t.Fatal(got.Error)
	}
	device := s.open()
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	object := testkit.Must(device.load(&tpmKey{path: filepath.Join(s.dir, "app.pem")}))(t)
	if _, err := (tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: object.handle, Name: object.name},
		PersistentHandle: 0x81010001}).Execute(device); err != nil {
		t.Fatal(err)
	}
	made, err := tpm2.CreatePrimary{PrimaryHandle: owner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(device)
	testkit.OK(t, err)
	device.loaded = append(device.loaded, made.ObjectHandle)
	if _, err := (tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: made.ObjectHandle,
		Name: made.Name}, PersistentHandle: 0x81010002}).Execute(device); err != nil {
		t.Fatal(err)
	}
	device.close()
	wantKey(t, nil, s.uri("handle=0x81010001"), key)
	wantFailure(t, signatureOf(t, nil, s.uri("handle=0x81010002")), "key-type", "no RSA key")
	wantFailure(t, signatureOf(t, nil, s.uri("handle=0x81010003")), "not-found", "keeps nothing at 0x81010003")
	wantFailure(t, imported(t, nil, s.uri("handle=0x81010003"), key), "unsupported", "name=NAME or path=FILE")
}

func TestTPMNamesTheMistake(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	key := testKey(t, 2048)
	if got := imported(t, nil, s.uri("name=app"), key); got.Error != nil {
		t.Fatal(got.Error)
	}
	absent := filepath.Join(s.dir, "absent")
	good := testkit.Must(os.ReadFile(filepath.Join(s.dir, "app.pem")))(t)
	block, _ := pem.Decode(good)
	remade := func(name string, change func(*tss2.TPMKey)) string {
		file := testkit.Must(tss2.ParsePrivateKey(block.Bytes))(t)
		change(file)
		der := testkit.Must(tss2.MarshalPrivateKey(file))(t)
		return "path=" +
			writeFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "TSS2 PRIVATE KEY", Bytes: der})), s.dir, name)
	}
	dead := filepath.Join(s.dir, "dead")
	listener := testkit.Must(net.Listen("unix", dead))(t)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	for name, test := range map[string]struct{ uri, kind, says string }{
		"no name":             {"tpmkms:device=" + s.socket, "invalid-uri", "one of name=NAME, path=FILE and handle="},
		"two names":           {s.uri("name=app;path=/app"), "invalid-uri", "one of name=NAME, path=FILE and handle="},
		"name that is a path": {s.uri("name=..%2Fapp"), "invalid-uri", "neither slashes"},
		"unknown attribute":   {s.uri("name=app;nmae=app"), "invalid-uri", "nmae is not known"},
		"handle":              {s.uri("handle=0x80000001"), "invalid-uri", "0x81000001"},
		"parent":              {s.uri("name=app;parent=owner"), "invalid-uri", "0x81000001"},
		"no TPM":              {"tpmkms:path=" + s.dir + "/app.pem;device=" + absent, "not-found", "there is no TPM at"},
		"a file for a TPM": {"tpmkms:path=" + s.dir + "/app.pem;device=" + s.dir + "/app.pem", "not-found",
			"neither a TPM nor the socket of one"},
		"socket of nobody": {"tpmkms:path=" + s.dir + "/app.pem;device=" + dead, "unavailable", "connection refused"},
		"file that is no key": {s.uri("path=" + writeFile(t, "nothing", s.dir, "nothing")),
			"not-found", "holds no TSS2 PRIVATE KEY"},
		"PEM of another key": {s.uri("path=" + writeFile(t, "-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n"+
			"-----END TSS2 PRIVATE KEY-----\n", s.dir, "damaged")), "failed", "is damaged"},
		"damaged public part": {s.uri(remade("public", func(k *tss2.TPMKey) { k.PublicKey = []byte{0, 9, 1} })), "failed",
			"its public part cannot be read"},
		"damaged private part": {s.uri(remade("private", func(k *tss2.TPMKey) { k.PrivateKey = []byte{0, 9, 1} })), "failed",
			"its private part cannot be read"},
		"changed private part": {s.uri(remade("changed", func(k *tss2.TPMKey) { k.PrivateKey[40] ^= 1 })),
			"not-found", "made by another TPM"},
		"policy": {s.uri(remade("policy", func(k *tss2.TPMKey) {
			k.Policy = []tss2.TPMPolicy{{CommandCode: 1, CommandPolicy: []byte{1}}}
		})), "unsupported", "has a policy"},
		"importable": {s.uri(remade("importable", func(k *tss2.TPMKey) { k.Type = []int{2, 23, 133, 10, 1, 4} })),
			"unsupported", "no loadable key"},
		"another hierarchy": {s.uri(remade("hierarchy", func(k *tss2.TPMKey) { k.Parent = 0x4000000b })), "unsupported",
			"neither the owner's hierarchy nor"},
		"command for a PIN": {s.uri("name=app") + "?pin-source=%7Ccat", "invalid-uri", "names a command"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, got := range []reply{publicKeyOf(t, nil, test.uri), signatureOf(t, nil, test.uri)} {
				wantFailure(t, got, test.kind, test.says)
			}
		})
	}
	wantFailure(t, imported(t, nil, s.uri("name=long"), testKey(t, 4096)), "key-type",
		"this TPM takes no RSA key of 4096 bits")
	wantFailure(t, imported(t, nil, s.uri("path=/proc/app.pem"), key), "failed", `cannot write "/proc/app.pem"`)
	testkit.ErrorIs(t, testkit.ErrorOf(os.Stat(filepath.Join(s.dir, "long.pem"))), fs.ErrNotExist, "half an import")
}

// A TPM that is stuck is not waited for longer than there is time.
func TestTPMThatHangs(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	if got := imported(t, nil, s.uri("name=app"), testKey(t, 2048)); got.Error != nil {
		t.Fatal(got.Error)
	}
	s.stop()
	got := ask(t, nil, request{Request: execsigner.Request{Operation: execsigner.OperationSign, Key: s.uri("name=app"),
		Seconds: 1, Message: testMessage, Digest: make([]byte, 32)}})
	wantFailure(t, got, "timeout", "no answer in time")
}

// The key is not in the clear in what goes to the TPM.
func TestTPMKeyIsEncryptedOnItsWay(t *testing.T) {
	t.Parallel()
	s := newTPM(t)
	key := testKey(t, 2048)
	var sent recorder
	device := s.open()
	defer device.close()
	device.TPMCloser = &sent
	sent.TPMCloser = s.open().TPMCloser
	k := &tpmKey{parent: tpm2.TPMRHOwner}
	k.pin, k.with = secret.New(testPIN), true
	text := testkit.Must(device.importKey(k, key))(t)
	k.path = writeFile(t, string(text), s.dir, "app.pem")
	object := testkit.Must(device.load(k))(t)
	digest := make([]byte, 32)
	_, _ = rand.Read(digest)
	testkit.Must(device.sign(object, digest))(t)
	if len(sent.text) < 1000 {
		t.Fatalf("only %d octets were sent", len(sent.text))
	}
	for _, secret := range [][]byte{key.Primes[0].Bytes(), key.Primes[1].Bytes(), key.D.Bytes(), []byte(testPIN)} {
		testkit.Lacks(t, string(sent.text), string(secret))
	}
}

// recorder keeps what is sent to a TPM and what comes back.
type recorder struct {
	transport.TPMCloser
	text []byte
}

func (r *recorder) Send(command []byte) ([]byte, error) {
	answer, err := r.TPMCloser.Send(command)
	r.text = append(append(r.text, command...), answer...)
	return answer, err
}
