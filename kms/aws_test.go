package kms_test

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const (
	awsRegion  = "eu-central-1"
	awsHost    = "kms." + awsRegion + ".amazonaws.com"
	awsAccount = "111122223333"
	awsKeyID   = "1234abcd-12ab-34cd-56ef-1234567890ab"
	awsARN     = "arn:aws:kms:" + awsRegion + ":" + awsAccount + ":key/" + awsKeyID
)

// awsKMS stands in for AWS KMS. It checks each request as Signature Version 4 has it,
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
// and then does what the API reference says of the operation.
type awsKMS struct {
	w                      *world
	accessKey, secret, sts string

	mu       sync.Mutex
	keys     map[string]*awsHeld
	deny     map[string]bool // operations without a permission
	offset   time.Duration   // of the service's clock
	throttle int             // requests to turn away
	wrapping *rsa.PrivateKey
	asked    []string
	respond  func(operation string, answer map[string]any) // falsifies an answer
}

type awsHeld struct {
	key           any // nil: pending import
	spec          string
	usage, origin string
	state         string
	token         []byte
}

func newAWS(w *world) *awsKMS {
	k := &awsKMS{
		w: w, accessKey: "AKIDEXAMPLE", secret: w.secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
		sts:  w.secret("IQoJb3JpZ2luX2VjECanary//////////wEaDGV1"),
		deny: map[string]bool{}, keys: map[string]*awsHeld{
			awsKeyID: {key: appKey(), spec: "RSA_2048", usage: "SIGN_VERIFY", origin: "AWS_KMS", state: "Enabled"},
		},
	}
	w.environ["AWS_ACCESS_KEY_ID"], w.environ["AWS_SECRET_ACCESS_KEY"], w.environ["AWS_SESSION_TOKEN"] = k.accessKey,
		k.secret, k.sts
	w.environ["AWS_REGION"] = awsRegion
	w.host(awsHost, k)
	return k
}

// awsError is an error as the JSON protocol has it.
type awsError struct {
	status        int
	code, message string
}

func (k *awsKMS) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	answer, failed := k.answer(r, body)
	out.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if failed != nil {
		out.WriteHeader(failed.status)
		answer = map[string]any{"__type": failed.code, "message": failed.message}
	}
	text, _ := json.Marshal(answer)
	_, _ = out.Write(text)
}

func (k *awsKMS) answer(r *http.Request, body []byte) (map[string]any, *awsError) {
	if k.throttle > 0 {
		k.throttle--
		return nil, &awsError{400, "ThrottlingException", "You have exceeded the rate at which you may call KMS."}
	}
	if err := k.authentic(r, body); err != nil {
		return nil, err
	}
	operation, ours := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if !ours || r.Method != http.MethodPost || r.URL.Path != "/" ||
		r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		return nil, &awsError{400, "UnknownOperationException", "there is no such operation"}
	}
	k.asked = append(k.asked, operation)
	var in struct {
		KeyId, MessageType, SigningAlgorithm                string
		WrappingAlgorithm, WrappingKeySpec, ExpirationModel string
		Message, EncryptedKeyMaterial, ImportToken          []byte
	}
	if json.Unmarshal(body, &in) != nil {
		return nil, &awsError{400, "SerializationException", "it is not JSON"}
	}
	id, held, failed := k.find(in.KeyId)
	if failed != nil {
		return nil, failed
	}
	if k.deny[operation] {
		return nil, &awsError{400, "AccessDeniedException",
			fmt.Sprintf("User: arn:aws:iam::%s:user/ci is not authorized to perform: kms:%s on resource: "+
				"%s because no identity-based policy allows the kms:%s action", awsAccount, operation, awsARN, operation)}
	}
	answer := map[string]any{"KeyId": awsARN}
	switch operation {
	case "DescribeKey":
		answer = map[string]any{"KeyMetadata": map[string]any{"KeyId": id, "Arn": awsARN, "KeyState": held.state,
			"Origin": held.origin, "KeyUsage": held.usage, "KeySpec": held.spec}}
	case "GetPublicKey":
		failed = k.publicKey(held, answer)
	case "Sign":
		failed = k.sign(held, in.MessageType, in.SigningAlgorithm, in.Message, answer)
	case "GetParametersForImport":
		failed = k.parameters(held, in.WrappingAlgorithm, in.WrappingKeySpec, answer)
	case "ImportKeyMaterial":
		failed = k.importMaterial(held, in.ExpirationModel, in.ImportToken, in.EncryptedKeyMaterial)
	default:
		failed = &awsError{400, "UnknownOperationException", "this stand-in has no such operation"}
	}
	if failed == nil && k.respond != nil {
		k.respond(operation, answer)
	}
	return answer, failed
}

// find looks for a key by its ID, by an alias, or by the ARN of either.
func (k *awsKMS) find(name string) (string, *awsHeld, *awsError) {
	id := name
	if rest, ok := strings.CutPrefix(name, "arn:"); ok {
		parts := strings.SplitN(rest, ":", 5)
		if len(parts) != 5 || parts[0] != "aws" || parts[1] != "kms" {
			return "", nil, &awsError{400, "InvalidArnException", "Invalid arn"}
		}
		id = strings.TrimPrefix(parts[4], "key/")
		if parts[2] != awsRegion || parts[3] != awsAccount {
			return "", nil, &awsError{400, "NotFoundException", fmt.Sprintf("Invalid arn %s", parts[2])}
		}
	}
	if id == "alias/app" {
		id = awsKeyID
	}
	held, found := k.keys[id]
	switch {
	case strings.HasPrefix(id, "alias/") && !found:
		return "", nil, &awsError{400, "NotFoundException",
			fmt.Sprintf("Alias arn:aws:kms:%s:%s:%s is not found.", awsRegion, awsAccount, id)}
	case !found:
		return "", nil, &awsError{400, "NotFoundException",
			fmt.Sprintf("Key 'arn:aws:kms:%s:%s:key/%s' does not exist", awsRegion, awsAccount, id)}
	}
	return id, held, nil
}

func (k *awsKMS) usable(held *awsHeld) *awsError {
	switch held.state {
	case "Enabled":
		return nil
	case "Disabled":
		return &awsError{400, "DisabledException", awsARN + " is disabled."}
	}
	return &awsError{400, "KMSInvalidStateException",
		awsARN + " is pending " + strings.ToLower(strings.TrimPrefix(held.state, "Pending")) + "."}
}

func (k *awsKMS) publicKey(held *awsHeld, answer map[string]any) *awsError {
	if failed := k.usable(held); failed != nil {
		return failed
	}
	answer["KeyUsage"], answer["KeySpec"] = held.usage, held.spec
	var public any
	switch key := held.key.(type) {
	case *rsa.PrivateKey:
		public = &key.PublicKey
		answer["SigningAlgorithms"] = []string{"RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PSS_SHA_256"}
	case interface{ Public() any }:
		public = key.Public()
	default:
		if held.spec == "SYMMETRIC_DEFAULT" {
			return &awsError{400, "UnsupportedOperationException", "GetPublicKey is only supported for asymmetric keys"}
		}
		public = &ecKey().PublicKey
		answer["SigningAlgorithms"] = []string{"ECDSA_SHA_256"}
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		panic(err)
	}
	answer["PublicKey"] = der
	return nil
}

func (k *awsKMS) sign(held *awsHeld, kind, algorithm string, text []byte, answer map[string]any) *awsError {
	if failed := k.usable(held); failed != nil {
		return failed
	}
	private, ok := held.key.(*rsa.PrivateKey)
	if held.usage != "SIGN_VERIFY" || !ok || algorithm != "RSASSA_PKCS1_V1_5_SHA_256" {
		return &awsError{400, "InvalidKeyUsageException",
			fmt.Sprintf("Algorithm %s is incompatible with key spec %s.", algorithm, held.spec)}
	}
	if kind != "DIGEST" || len(text) != sha256.Size {
		return &awsError{400, "ValidationException", "Digest is invalid length for algorithm RSASSA_PKCS1_V1_5_SHA_256"}
	}
	signature, err := signDigest(private, text)
	if err != nil {
		panic(err)
	}
	answer["Signature"], answer["SigningAlgorithm"] = signature, algorithm
	return nil
}

func (k *awsKMS) parameters(held *awsHeld, algorithm, spec string, answer map[string]any) *awsError {
	if held.origin != "EXTERNAL" {
		return &awsError{400, "UnsupportedOperationException",
			awsARN + " origin is " + held.origin + " which is not valid for this operation."}
	}
	if algorithm != "RSA_AES_KEY_WRAP_SHA_256" || spec != "RSA_4096" {
		return &awsError{400, "ValidationException",
			"a private RSA key needs RSA_AES_KEY_WRAP_SHA_256, and this stand-in has an RSA_4096 only"}
	}
	k.wrapping = wrappingKey()
	held.token = make([]byte, 64)
	rand.Read(held.token)
	der, err := x509.MarshalPKIXPublicKey(&k.wrapping.PublicKey)
	if err != nil {
		panic(err)
	}
	answer["PublicKey"], answer["ImportToken"] = der, held.token
	answer["ParametersValidTo"] = time.Now().Add(24 * time.Hour).Unix()
	return nil
}

func (k *awsKMS) importMaterial(held *awsHeld, expiration string, token, wrapped []byte) *awsError {
	switch {
	case held.state != "PendingImport":
		return &awsError{400, "KMSInvalidStateException", awsARN + " is not pending import."}
	case len(held.token) == 0 || !slices.Equal(token, held.token):
		return &awsError{400, "InvalidImportTokenException", ""}
	case expiration != "KEY_MATERIAL_DOES_NOT_EXPIRE":
		return &awsError{400, "ValidationException", "it would expire"}
	}
	private, err := unwrap(k.wrapping, wrapped)
	if err != nil {
		return &awsError{400, "InvalidCiphertextException", ""}
	}
	if held.spec != fmt.Sprintf("RSA_%d", private.N.BitLen()) {
		return &awsError{400, "IncorrectKeyMaterialException", ""}
	}
	held.key, held.state = private, "Enabled"
	return nil
}

// authentic verifies a request's signature, with the secret.
func (k *awsKMS) authentic(r *http.Request, body []byte) *awsError {
	refused := func(code, format string, args ...any) *awsError {
		return &awsError{400, code, fmt.Sprintf(format, args...)}
	}
	header, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return refused("MissingAuthenticationTokenException", "Missing Authentication Token")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	scope := strings.Split(fields["Credential"], "/")
	if len(scope) != 5 {
		return refused("IncompleteSignatureException", "Credential is not complete")
	}
	if scope[0] != k.accessKey || r.Header.Get("X-Amz-Security-Token") != k.sts {
		return refused("UnrecognizedClientException", "The security token included in the request is invalid.")
	}
	if scope[2] != awsRegion {
		return refused("InvalidSignatureException", "Credential should be scoped to a valid region.")
	}
	if scope[3] != "kms" || scope[4] != "aws4_request" {
		return refused("InvalidSignatureException", "Credential should be scoped to correct service: 'kms'.")
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || scope[1] != date[:8] {
		return refused("IncompleteSignatureException", "the date is not that of the scope")
	}
	if skew := time.Since(at) + k.offset; skew.Abs() > 5*time.Minute {
		return refused("InvalidSignatureException", "Signature expired: %s is now earlier than %s", date,
			time.Now().Add(k.offset-5*time.Minute).UTC().Format("20060102T150405Z"))
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	if !slices.IsSorted(signed) {
		return refused("IncompleteSignatureException", "the signed headers are not in order")
	}
	for _, must := range []string{"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} {
		if !slices.Contains(signed, must) {
			return refused("InvalidSignatureException", "'%s' must be a 'SignedHeader' in the AWS Authorization.", must)
		}
	}
	canonical := r.Method + "\n" + cmp.Or(r.URL.EscapedPath(), "/") + "\n" + awsQuery(r.URL.Query()) + "\n"
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		canonical += name + ":" + strings.Join(strings.Fields(value), " ") + "\n"
	}
	canonical += "\n" + strings.Join(signed, ";") + "\n" + hexSum(body)
	toSign := "AWS4-HMAC-SHA256\n" + date + "\n" + strings.Join(scope[1:], "/") + "\n" + hexSum([]byte(canonical))
	secret := []byte("AWS4" + k.secret)
	for _, part := range scope[1:] {
		secret = mac(secret, part)
	}
	if want := hex.EncodeToString(mac(secret, toSign)); !hmac.Equal([]byte(want), []byte(fields["Signature"])) {
		// As AWS does, it quotes the request, with the session token in it.
		return refused("InvalidSignatureException", "The request signature we calculated does not match the signature you "+
			"provided.\n\nThe Canonical String for this request should have been\n'%s'\n", canonical)
	}
	return nil
}

func awsQuery(values url.Values) string {
	return strings.ReplaceAll(values.Encode(), "+", "%20")
}

func hexSum(text []byte) string { return hex.EncodeToString(sha256Of(text)) }

func mac(secret []byte, text string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func TestAWS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := newAWS(w)
	for _, uri := range []string{
		"awskms:key-id=" + awsKeyID + ";region=" + awsRegion, "awskms:key-id=" + awsARN,
		"awskms:key-id=alias/app", "awskms:///" + awsKeyID,
		"awskms:///alias/app", "awskms:///" + awsARN, "awskms:///arn:aws:kms:" + awsRegion + ":" + awsAccount + ":alias/app",
		"awskms://" + awsHost + "/" + awsKeyID,
	} {
		k.asked = nil
		w.holds(uri, appKey())
		testkit.Equal(t, strings.Join(k.asked, " "), "GetPublicKey Sign", "%s: the service was asked for", uri)
	}
	if got := w.connections(); !slices.Equal(got, []string{awsHost}) {
		t.Errorf("there were connections to %v", got)
	}
}

// Credentials are where AWS's own programs have them.
func TestAWSFilesAndEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := newAWS(w)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"} {
		delete(w.environ, name)
	}
	credentials := fmt.Sprintf("[signing]\naws_access_key_id = %s\naws_secret_access_key = %s\naws_session_token = %s\n",
		k.accessKey, k.secret, k.sts)
	w.write("home/.aws/config", "[profile signing]\nregion = "+awsRegion+"\n")
	w.write("home/.aws/credentials", credentials)
	w.holds("awskms:key-id=alias/app;profile=signing", appKey())
	w.environ["AWS_PROFILE"] = "signing"
	w.holds("awskms:///alias/app", appKey())
	delete(w.environ, "AWS_PROFILE")
	elsewhere := w.write("elsewhere", credentials+"region = "+awsRegion+"\n")
	w.holds("awskms:key-id=alias/app;profile=signing;credentials-file="+elsewhere, appKey())

	w.fails(badCase{name: "no such profile", set: func() string { return "awskms:key-id=alias/app;profile=none" },
		kind: "denied", text: "none"}, "")

	w.environ["AWS_PROFILE"], w.environ["AWS_ENDPOINT_URL_KMS"] = "signing", "https://vpce-1.kms.example"
	w.host("vpce-1.kms.example", k)
	w.holds("awskms:///alias/app", appKey())
	w.environ["AWS_ENDPOINT_URL_KMS"] = "http://kms.example"
	w.fails(badCase{set: func() string { return "" }, kind: "invalid-uri", text: "kms.example is not https"},
		"awskms:///alias/app")
}

func TestAWSBadDays(t *testing.T) {
	t.Parallel()
	const good = "awskms:key-id=" + awsKeyID
	for _, c := range casesOf(t, func(w *world) []badCase {
		k := newAWS(w)
		held := k.keys[awsKeyID]
		is := func(change func()) func() string { return func() string { change(); return "" } }
		names := func(uri string) func() string { return func() string { return uri } }
		return append(w.generally(awsHost), []badCase{
			{name: "no credentials", kind: "denied", text: "no AWS credentials",
				set: is(func() { delete(w.environ, "AWS_ACCESS_KEY_ID") })},
			{name: "unknown access key", kind: "denied", text: "UnrecognizedClientException",
				set: is(func() { w.environ["AWS_ACCESS_KEY_ID"] = "AKIDOTHER" })},
			{name: "wrong secret", kind: "denied", text: "does not belong to the access key ID",
				set: is(func() { w.environ["AWS_SECRET_ACCESS_KEY"] = w.secret("another-secret-canary") })},
			{name: "wrong clock", kind: "denied", text: "clock", set: is(func() { k.offset = time.Hour })},
			{name: "no such key", kind: "not-found", text: "region " + awsRegion,
				set: names("awskms:key-id=00000000-0000-0000-0000-000000000000")},
			{name: "no such alias", kind: "not-found", text: "alias/none is not found", set: names("awskms:///alias/none")},
			{name: "wrong region", kind: "denied", text: "another region",
				set: is(func() { w.host("kms.us-east-1.amazonaws.com", k); w.environ["AWS_REGION"] = "us-east-1" })},
			{name: "the region of another key", kind: "not-found", text: "region us-east-1", set: func() string {
				w.host("kms.us-east-1.amazonaws.com",
					replies(400, `{"__type":"NotFoundException","message":"Key 'x' does not exist"}`))
				return "awskms:key-id=" + awsKeyID + ";region=us-east-1"
			}},
			{name: "no such region", kind: "unavailable", text: "kms.eu-nowhere-1.amazonaws.com",
				set: names("awskms:key-id=x;region=eu-nowhere-1")},
			{name: "no region", kind: "invalid-uri", text: "AWS_REGION", set: is(func() { delete(w.environ, "AWS_REGION") })},
			{name: "two regions", kind: "invalid-uri", text: "us-east-1",
				set: names("awskms:key-id=" + awsARN + ";region=us-east-1")},
			{name: "no key named", kind: "invalid-uri", text: "names no key", set: names("awskms:region=" + awsRegion)},
			{name: "misspelt attribute", kind: "invalid-uri", text: "regoin", set: names("awskms:key-id=x;regoin=y")},
			{name: "bad escape", kind: "invalid-uri", text: "escapes", set: names("awskms:key-id=%zz")},
			{name: "revoked", kind: "denied", text: "is not authorized to perform",
				set: is(func() { k.deny["GetPublicKey"], k.deny["Sign"] = true, true })},
			{name: "disabled", kind: "denied", text: "disabled", set: is(func() { held.state = "Disabled" })},
			{name: "pending deletion", kind: "not-found", text: "pending deletion",
				set: is(func() { held.state = "PendingDeletion" })},
			{name: "an EC key", kind: "key-type", ask: w.publicKey, text: "EC key",
				set: is(func() { held.key, held.spec = nil, "ECC_NIST_P256" })},
			{name: "an EC key, signing", kind: "key-type", ask: w.signature, text: "incompatible with key spec",
				set: is(func() { held.key, held.spec = nil, "ECC_NIST_P256" })},
			{name: "a symmetric key", kind: "key-type", text: "",
				set: is(func() { held.key, held.spec, held.usage = nil, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT" })},
			{name: "a key for encryption", kind: "key-type", text: "ENCRYPT_DECRYPT", ask: w.publicKey,
				set: is(func() { held.usage = "ENCRYPT_DECRYPT" })},
			{name: "a short key", kind: "key-type", text: "1024 bits", ask: w.publicKey,
				set: is(func() { held.key = shortKey() })},
			{name: "throttled for long", kind: "unavailable", text: "ThrottlingException", ask: w.signature,
				set: is(func() { k.throttle = 100 })},
			{name: "says what it was told", kind: "failed", set: is(func() {
				w.host(awsHost, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
					text, _ := json.Marshal(map[string]string{"__type": "StrangeException",
						"message": r.Header.Get("X-Amz-Security-Token") + " " + k.secret})
					out.WriteHeader(400)
					_, _ = out.Write(text)
				}))
			})},
			{name: "a public key that is none", kind: "failed", text: "public key", ask: w.publicKey, set: is(func() {
				k.respond = func(_ string, answer map[string]any) { answer["PublicKey"] = []byte("none") }
			})},
		}...)
	}) {
		c.run(t, good)
	}
}

// A busy service is asked again, for a while.
func TestAWSThrottledForShort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	newAWS(w).throttle = 1
	w.holds("awskms:///alias/app", appKey())
}

func TestAWSImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := newAWS(w)
	held := k.keys[awsKeyID]
	pending := func() {
		*held = awsHeld{spec: "RSA_2048", usage: "SIGN_VERIFY", origin: "EXTERNAL", state: "PendingImport"}
	}
	const uri = "awskms:///alias/app"
	pending()
	w.fails(badCase{set: func() string { return "" }, kind: "not-found", text: "pending import"}, uri)
	if got := w.imported(uri, otherKey()); got.Error != nil {
		t.Fatal(got.Error)
	}
	w.holds(uri, otherKey())

	bad := func(name, kind, text string, key any, set func()) {
		t.Run(name, func(t *testing.T) {
			pending()
			set()
			before := held.key
			if got := w.imported(uri, key); got.Error == nil || got.Error.Kind != kind ||
				!strings.Contains(got.Error.Message, text) {
				t.Errorf("the error is %v; want %s: …%s…", got.Error, kind, text)
			}
			testkit.Equal(t, held.key, before, "the key was replaced")
		})
	}
	bad("there already", "exists", "", appKey(), func() { held.key, held.state = otherKey(), "Enabled" })
	bad("made by AWS", "exists", "AWS_KMS", appKey(),
		func() { held.origin, held.state, held.key = "AWS_KMS", "Enabled", otherKey() })
	bad("another size", "key-type", "RSA_2048", bigKey(), func() {})
	bad("not RSA", "key-type", "RSA", ecKey(), func() {})
	bad("for encryption", "key-type", "ENCRYPT_DECRYPT", appKey(), func() { held.usage = "ENCRYPT_DECRYPT" })
	bad("no right", "denied", "kms:ImportKeyMaterial", appKey(), func() { k.deny["ImportKeyMaterial"] = true })
	k.deny = map[string]bool{}
	bad("no key to import into", "not-found", "create-key", appKey(), func() { delete(k.keys, awsKeyID) })
}
