package kms

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/openbao/openbao/api/v2"

	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/secret"
)

// vaultKey is a key of the transit secrets engine of Vault or OpenBao.
// https://openbao.org/api-docs/secret/transit/
type vaultKey struct {
	client  *api.Client
	mount   string
	name    string
	version int // 0: the latest
	secrets *scrub.Scrubber
}

// vaultName is what the transit engine takes for a name, and what is taken for each
// part of the path where it is mounted.
var vaultName = regexp.MustCompile(`^\w(?:[\w.-]*\w)?$`)

// openVault reads hashivault://KEY, as sigstore has it, hashivault://MOUNT/KEY and
// hashivault:name=KEY;mount=MOUNT;version=N. The mount is that of sigstore's
// TRANSIT_SECRET_ENGINE_PATH, or transit. Address, token and namespace are those of
// Vault's and OpenBao's own programs.
func openVault(_ context.Context, text string, secrets *scrub.Scrubber) (key, error) {
	u, err := parseURI(text, "name", "mount", "version")
	if err != nil {
		return nil, err
	}
	k := &vaultKey{mount: u.Get("mount"), name: u.Get("name"), secrets: secrets}
	path := strings.Trim(u.Host+u.Path, "/")
	if !strings.Contains(u.Opaque, "=") {
		path += u.Opaque // hashivault:KEY
	}
	if k.name != "" && path != "" {
		return nil, failure("invalid-uri", "it names the key twice")
	}
	if k.name == "" {
		k.name = path
		if slash := strings.LastIndexByte(path, '/'); slash >= 0 && k.mount == "" {
			k.mount, k.name = path[:slash], path[slash+1:]
		}
	}
	if k.mount == "" {
		k.mount = os.Getenv("TRANSIT_SECRET_ENGINE_PATH")
	}
	if k.mount == "" {
		k.mount = "transit"
	}
	k.mount = strings.Trim(k.mount, "/")
	for part := range strings.SplitSeq(k.mount+"/"+k.name, "/") {
		if !vaultName.MatchString(part) {
			return nil,
				failure("invalid-uri", "it names no key of a transit engine: hashivault://KEY, or hashivault://MOUNT/KEY")
		}
	}
	if version := u.Get("version"); version != "" {
		if k.version, err = strconv.Atoi(version); err != nil || k.version < 1 {
			return nil, failure("invalid-uri", "the version of a key is a number from 1 on")
		}
	}
	return k, k.connect()
}

// connect prepares the client. Nothing is asked for yet.
func (k *vaultKey) connect() error {
	if api.ReadBaoVariable(api.EnvVaultAddress) == "" && api.ReadBaoVariable(api.EnvVaultAgentAddr) == "" {
		return failure("failed", "VAULT_ADDR, or BAO_ADDR, is not set")
	}
	c := api.DefaultConfig()
	if c.Error != nil {
		return failure("failed", "the environment's settings for Vault cannot be used: %v", c.Error)
	}
	if api.ReadBaoVariable(api.EnvVaultMaxRetries) == "" {
		c.MaxRetries = 1
	}
	c.DisableRedirects = true // it would send the token along
	c.CheckRetry = func(ctx context.Context, r *http.Response, err error) (bool, error) {
		if r != nil && r.StatusCode/100 == 3 {
			return false, redirected(r)
		}
		return api.DefaultRetryPolicy(ctx, r, err)
	}
	client, err := api.NewClient(c)
	if err != nil {
		return failure("failed", "VAULT_ADDR, or BAO_ADDR, is not an address")
	}
	address, err := url.Parse(client.Address())
	if err != nil {
		return failure("failed", "VAULT_ADDR, or BAO_ADDR, is not an address")
	}
	if address.Scheme != "unix" {
		if err := checkPlain(address); err != nil {
			return err
		}
	}
	transport, _ := c.HttpClient.Transport.(*http.Transport)
	c.HttpClient = (&strictTransport{secrets: k.secrets}).client(transport)
	if client.Token() == "" {
		client.SetToken(storedToken())
	}
	if client.Token() == "" {
		return failure("denied", "there is no token for Vault: set VAULT_TOKEN, or run `vault login`")
	}
	k.client = client
	k.secrets.Add(secret.New(client.Token()))
	return nil
}

// storedToken is what `vault login` and `bao login` have left.
func storedToken() string {
	path := api.ReadBaoVariable(api.EnvTokenPath)
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		path = filepath.Join(home, ".vault-token")
	}
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

func (k *vaultKey) close() {}

func (k *vaultKey) public(ctx context.Context) (crypto.PublicKey, error) {
	data, err := k.read(ctx, "keys/"+k.name)
	if err != nil {
		return nil, err
	}
	kind, _ := data["type"].(string)
	if kind != "" && !strings.HasPrefix(kind, "rsa-") {
		return nil, failure("key-type", "it is a key of the type %s, and GitHub Apps sign with RSA", kind)
	}
	version := strconv.Itoa(k.version)
	if k.version == 0 {
		version = fmt.Sprint(data["latest_version"])
	}
	versions, _ := data["keys"].(map[string]any)
	of, found := versions[version].(map[string]any)
	if !found && len(versions) > 0 {
		return nil, failure("not-found", "the key %s has no version %s", k.name, version)
	}
	text, _ := of["public_key"].(string)
	return parsePEM("Vault", text)
}

// parsePEM reads the public key that a service has sent.
func parsePEM(service, text string) (crypto.PublicKey, error) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		if public, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
			return public, nil
		}
	}
	return nil, failure("failed", "%s did not answer with a public key", service)
}

func (k *vaultKey) sign(ctx context.Context, _, digest []byte) ([]byte, error) {
	request := map[string]any{
		"input": base64.StdEncoding.EncodeToString(digest), "prehashed": true,
		"hash_algorithm": "sha2-256", "signature_algorithm": "pkcs1v15",
	}
	if k.version > 0 {
		request["key_version"] = k.version
	}
	data, err := k.write(ctx, "sign/"+k.name, request)
	if err != nil {
		return nil, err
	}
	text, _ := data["signature"].(string) // vault:v1:BASE64
	signature, err := base64.StdEncoding.DecodeString(text[strings.LastIndexByte(text, ':')+1:])
	if err != nil {
		return nil, failure("failed", "Vault did not answer with a signature")
	}
	return signature, nil
}

// importKey brings the key that it will not export again.
// https://developer.hashicorp.com/vault/api-docs/secret/transit#import-key
func (k *vaultKey) importKey(ctx context.Context, private *rsa.PrivateKey) error {
	if k.version > 0 {
		return failure("invalid-uri", "a key is imported as the first version of a new key: leave the version out")
	}
	bits := private.N.BitLen()
	if bits != 2048 && bits != 3072 && bits != 4096 {
		return failure("key-type", "the key has %d bits, and the transit engine takes 2048, 3072 and 4096", bits)
	}
	switch _, err := k.read(ctx, "keys/"+k.name); {
	case err == nil:
		return failure("exists", "%s/keys/%s is there already", k.mount, k.name)
	case kindOf(err) != "not-found":
		return err
	}
	data, err := k.read(ctx, "wrapping_key")
	if err != nil {
		return err
	}
	text, _ := data["public_key"].(string)
	public, err := parsePEM("Vault", text)
	if err != nil {
		return err
	}
	wrapping, ok := public.(*rsa.PublicKey)
	if !ok {
		return failure("failed", "Vault's wrapping key is not an RSA key")
	}
	wrapped, err := wrapPrivateKey(wrapping, private)
	if err != nil {
		return err
	}
	_, err = k.write(ctx, "keys/"+k.name+"/import", map[string]any{
		"type": fmt.Sprintf("rsa-%d", bits), "hash_function": "SHA256",
		"ciphertext": base64.StdEncoding.EncodeToString(wrapped),
		"exportable": false, "allow_plaintext_backup": false, "allow_rotation": false,
	})
	return err
}

func (k *vaultKey) read(ctx context.Context, path string) (map[string]any, error) {
	secret, err := k.client.Logical().ReadWithContext(ctx, k.mount+"/"+path)
	if err != nil {
		return nil, k.explain(err)
	}
	if secret == nil {
		return nil, failure("not-found", "Vault has nothing at %s/%s: check the mount and the name", k.mount, path)
	}
	if secret.Data == nil {
		return nil, failure("failed", "there is no data in Vault's answer")
	}
	return secret.Data, nil
}

// write returns no data where there is none in the answer.
func (k *vaultKey) write(ctx context.Context, path string, data map[string]any) (map[string]any, error) {
	secret, err := k.client.Logical().WriteWithContext(ctx, k.mount+"/"+path, data)
	if err != nil {
		return nil, k.explain(err)
	}
	if secret == nil {
		return nil, nil
	}
	return secret.Data, nil
}

// explain tells what Vault has said.
// https://developer.hashicorp.com/vault/api-docs#http-status-codes
func (k *vaultKey) explain(err error) error {
	e, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return err
	}
	said := "answered " + strconv.Itoa(e.StatusCode)
	if !e.RawError && len(e.Errors) > 0 {
		said = k.secrets.String(strings.Join(e.Errors, "; "))
	}
	has := func(text string) bool { return strings.Contains(said, text) }
	switch {
	case e.StatusCode == http.StatusForbidden, e.StatusCode == http.StatusUnauthorized:
		return failure("denied", "Vault: %s; does the token's policy allow it, "+
			"and has the token expired? `vault token lookup` says", said)
	case has("signing key not found"), e.StatusCode == http.StatusNotFound:
		return failure("not-found", "Vault: %s", said)
	case has("cannot be used with an existing key"):
		return failure("exists", "%s/keys/%s is there already", k.mount, k.name)
	case has("does not support signing"):
		return failure("key-type", "Vault: %s", said)
	case e.StatusCode == http.StatusTooManyRequests, e.StatusCode >= 500 && e.StatusCode != http.StatusInternalServerError,
		e.StatusCode == 472, e.StatusCode == 473:
		return failure("unavailable", "Vault: %s", said)
	}
	return failure("failed", "Vault: %s", said)
}
