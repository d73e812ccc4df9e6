package kms

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/httptransport"
	"google.golang.org/api/cloudkms/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/wait"
)

// gcpKey is a version of a key of Google Cloud KMS.
// https://docs.cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions
type gcpKey struct {
	service *cloudkms.Service
	ring    string // projects/P/locations/L/keyRings/R
	id      string // of the key
	version string
	secrets *scrub.Scrubber
}

var gcpName = regexp.MustCompile(
	`^/?(projects/[^/]+/locations/[\w-]+/keyRings/[\w-]+)/cryptoKeys/([\w-]+)/(?:cryptoKeyVersions|versions)/([0-9]+)$`)

// openGCP reads cloudkms:projects/…/cryptoKeyVersions/N, as step-kms has it, and
// gcpkms://projects/…, as sigstore has it. Credentials are Google's Application Default
// Credentials; those of a service account may be named with ?credentials-file=PATH.
func openGCP(ctx context.Context, text string, secrets *scrub.Scrubber) (key, error) {
	u, err := parseURI(text, "credentials-file")
	if err != nil {
		return nil, err
	}
	name := u.Opaque
	if name == "" {
		name = u.Host + u.Path
	}
	parts := gcpName.FindStringSubmatch(name)
	if parts == nil {
		return nil, failure("invalid-uri", "it names no version of a key: "+
			"projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N")
	}
	base := (&strictTransport{secrets: secrets}).client(nil)
	found, err := gcpCredentials(u.Get("credentials-file"), base)
	if err != nil {
		return nil, err
	}
	client, err := httptransport.NewClient(&httptransport.Options{Credentials: found,
		BaseRoundTripper: base.Transport, DisableTelemetry: true})
	if err != nil {
		return nil, failure("failed", "Google's client cannot be made: %v", err)
	}
	client.CheckRedirect, client.Timeout = base.CheckRedirect, base.Timeout // each hop would get the token
	service, err := cloudkms.NewService(ctx, option.WithHTTPClient(client))
	if err != nil {
		return nil, failure("failed", "Google's client cannot be made: %v", err)
	}
	if endpoint := os.Getenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"); endpoint != "" {
		address, err := url.Parse(endpoint)
		if err != nil {
			return nil, failure("failed", "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS is not an address")
		}
		if err := checkPlain(address); err != nil {
			return nil, err
		}
		service.BasePath = strings.TrimSuffix(endpoint, "/") + "/"
	}
	return &gcpKey{service, parts[1], parts[2], parts[3], secrets}, nil
}

func gcpCredentials(path string, client *http.Client) (*auth.Credentials, error) {
	options := &credentials.DetectOptions{Scopes: []string{cloudkms.CloudkmsScope}, Client: client}
	if path != "" {
		found, err := credentials.NewCredentialsFromFile(credentials.ServiceAccount, path, options)
		if err != nil {
			return nil, failure("denied", "the file of the attribute credentials-file holds no credentials of a service account")
		}
		return found, nil
	}
	found, err := credentials.DetectDefault(options)
	if err != nil {
		return nil, failure("denied", "no credentials for Google Cloud are found: set GOOGLE_APPLICATION_CREDENTIALS, "+
			"or run `gcloud auth application-default login`")
	}
	return found, nil
}

func (k *gcpKey) close() {}

func (k *gcpKey) parent() string { return k.ring + "/cryptoKeys/" + k.id }
func (k *gcpKey) name() string   { return k.parent() + "/cryptoKeyVersions/" + k.version }

func (k *gcpKey) versions() *cloudkms.ProjectsLocationsKeyRingsCryptoKeysCryptoKeyVersionsService {
	return k.service.Projects.Locations.KeyRings.CryptoKeys.CryptoKeyVersions
}

func (k *gcpKey) public(ctx context.Context) (crypto.PublicKey, error) {
	answer, err := k.versions().GetPublicKey(k.name()).Context(ctx).Do()
	if err != nil {
		return nil, k.explain(err)
	}
	if answer.Name != k.name() || answer.PemCrc32c != crc32c([]byte(answer.Pem)) {
		return nil, failure("failed", "the answer of Cloud KMS was damaged on the way")
	}
	public, err := parsePEM("Cloud KMS", answer.Pem)
	if _, ok := public.(*rsa.PublicKey); ok && !pkcs1SHA256(answer.Algorithm) {
		return nil, failure("key-type", "its algorithm is %s, and not RSA_SIGN_PKCS1_…_SHA256", answer.Algorithm)
	}
	return public, err
}

func pkcs1SHA256(algorithm string) bool {
	return strings.HasPrefix(algorithm, "RSA_SIGN_PKCS1_") && strings.HasSuffix(algorithm, "_SHA256")
}

// sign checks what was sent and what came as Google's guidelines for integrity have it.
// https://docs.cloud.google.com/kms/docs/data-integrity-guidelines
func (k *gcpKey) sign(ctx context.Context, _, digest []byte) ([]byte, error) {
	answer, err := k.versions().AsymmetricSign(k.name(), &cloudkms.AsymmetricSignRequest{
		Digest:       &cloudkms.Digest{Sha256: base64.StdEncoding.EncodeToString(digest)},
		DigestCrc32c: crc32c(digest),
	}).Context(ctx).Do()
	if err != nil {
		return nil, k.explain(err)
	}
	signature, err := base64.StdEncoding.DecodeString(answer.Signature)
	if err != nil || answer.Name != k.name() || !answer.VerifiedDigestCrc32c ||
		answer.SignatureCrc32c != crc32c(signature) {
		return nil, failure("failed", "the digest or the signature was damaged on the way to or from Cloud KMS")
	}
	return signature, nil
}

func crc32c(text []byte) int64 {
	return int64(crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))
}

// importKey brings the key through an import job of its own.
// https://docs.cloud.google.com/kms/docs/importing-a-key
func (k *gcpKey) importKey(ctx context.Context, private *rsa.PrivateKey) error {
	bits := private.N.BitLen()
	if bits != 2048 && bits != 3072 && bits != 4096 {
		return failure("key-type", "the key has %d bits, and Cloud KMS takes 2048, 3072 and 4096", bits)
	}
	there, err := k.service.Projects.Locations.KeyRings.CryptoKeys.Get(k.parent()).Context(ctx).Do()
	if err != nil {
		return k.explain(err)
	}
	algorithm := fmt.Sprintf("RSA_SIGN_PKCS1_%d_SHA256", bits)
	level := "SOFTWARE"
	if t := there.VersionTemplate; t != nil {
		if t.Algorithm != algorithm {
			return failure("key-type", "the key in Cloud KMS has the algorithm %s, and this one needs %s",
				t.Algorithm, algorithm)
		}
		level = t.ProtectionLevel
	}
	switch _, err := k.versions().Get(k.name()).Context(ctx).Do(); {
	case err == nil:
		return failure("exists", "the version %s of the key %s is there already", k.version, k.id)
	case kindOf(k.explain(err)) != "not-found":
		return k.explain(err)
	}
	job, err := k.importJob(ctx, level)
	if err != nil {
		return err
	}
	public, err := parsePEM("Cloud KMS", job.PublicKey.Pem)
	if err != nil {
		return err
	}
	wrapping, ok := public.(*rsa.PublicKey)
	if !ok {
		return failure("failed", "the wrapping key of Cloud KMS is not an RSA key")
	}
	wrapped, err := wrapPrivateKey(wrapping, private)
	if err != nil {
		return err
	}
	made, err := k.versions().Import(k.parent(), &cloudkms.ImportCryptoKeyVersionRequest{
		Algorithm: algorithm, ImportJob: job.Name, WrappedKey: base64.StdEncoding.EncodeToString(wrapped),
	}).Context(ctx).Do()
	for err == nil && made.State == "PENDING_IMPORT" {
		if err := pause(ctx); err != nil {
			return err
		}
		made, err = k.versions().Get(made.Name).Context(ctx).Do()
	}
	switch {
	case err != nil:
		return k.explain(err)
	case made.State != "ENABLED":
		return failure("failed", "Cloud KMS did not import the key (%s): %s", made.State, made.ImportFailureReason)
	case made.Name != k.name():
		return failure("failed", "the key is imported, but as another version; its key URI is gcpkms://%s", made.Name)
	}
	return nil
}

// importJob makes an import job, and waits for its wrapping key.
func (k *gcpKey) importJob(ctx context.Context, level string) (*cloudkms.ImportJob, error) {
	jobs := k.service.Projects.Locations.KeyRings.ImportJobs
	job, err := jobs.Create(k.ring, &cloudkms.ImportJob{
		ImportMethod: "RSA_OAEP_3072_SHA256_AES_256", ProtectionLevel: level,
	}).ImportJobId(fmt.Sprintf("ghapp-%d", time.Now().UnixNano())).Context(ctx).Do()
	for err == nil && job.State == "PENDING_GENERATION" {
		if err := pause(ctx); err != nil {
			return nil, err
		}
		job, err = jobs.Get(job.Name).Context(ctx).Do()
	}
	if err != nil {
		return nil, k.explain(err)
	}
	if job.State != "ACTIVE" || job.PublicKey == nil {
		return nil, failure("failed", "the import job of Cloud KMS is %s", job.State)
	}
	return job, nil
}

// pause waits between two looks at what a service is doing.
func pause(ctx context.Context) error {
	if wait.Sleep(ctx, 500*time.Millisecond) != nil {
		return ctx.Err()
	}
	return nil
}

// explain tells what Google has said.
func (k *gcpKey) explain(err error) error {
	if e, ok := errors.AsType[*auth.Error](err); ok {
		var said struct {
			Code string `json:"error"`
			Text string `json:"error_description"`
		}
		_ = json.Unmarshal(e.Body, &said) // the credentials themselves are not in it
		status := 0
		if e.Response != nil {
			status = e.Response.StatusCode
		}
		if status >= 500 || status == http.StatusTooManyRequests {
			return failure("unavailable", "Google's token endpoint answered %d", status)
		}
		return failure("denied", "Google hands out no token for these credentials: %d %s: %s", status, said.Code, said.Text)
	}
	e, ok := errors.AsType[*googleapi.Error](err)
	if !ok {
		return err
	}
	said := k.secrets.String(e.Message)
	switch {
	case e.Code/100 == 3:
		return failure("failed", "Cloud KMS answered with a redirect, which is not followed, "+
			"since the request has credentials")
	case e.Code == http.StatusUnauthorized, e.Code == http.StatusForbidden:
		return failure("denied", "Cloud KMS: %s", said)
	case e.Code == http.StatusNotFound:
		return failure("not-found", "Cloud KMS: %s", said)
	case e.Code == http.StatusTooManyRequests, e.Code >= 500:
		return failure("unavailable", "Cloud KMS answered %d: %s", e.Code, said)
	case strings.Contains(strings.ToLower(said), "purpose"):
		return failure("key-type", "Cloud KMS: %s", said)
	case strings.Contains(said, "not enabled"):
		return failure("denied", "Cloud KMS: %s", said)
	}
	return failure("failed", "Cloud KMS answered %d: %s", e.Code, said)
}
