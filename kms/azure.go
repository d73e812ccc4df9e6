package kms

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/secret"
)

// azureKey is a key of an Azure Key Vault or Managed HSM.
// https://learn.microsoft.com/rest/api/keyvault/keys/sign/sign
type azureKey struct {
	keys    *azkeys.Client
	host    string
	name    string
	version string // "": the newest
	hsm     bool   // import into hardware
	*strictTransport
}

// azureCloud is one of Azure's clouds: the domain of its vaults, and where tokens are.
type azureCloud struct {
	domain    string
	authority cloud.Configuration
}

// azureClouds are the clouds by the names that step-kms has for them.
func azureClouds() map[string]azureCloud {
	public := azureCloud{"vault.azure.net", cloud.AzurePublic}
	government := azureCloud{"vault.usgovcloudapi.net", cloud.AzureGovernment}
	china := azureCloud{"vault.azure.cn", cloud.AzureChina}
	return map[string]azureCloud{
		"": public, "public": public, "AzurePublicCloud": public,
		"usgov": government, "AzureUSGovernmentCloud": government,
		"china": china, "AzureChinaCloud": china,
	}
}

var (
	azureName = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`) // of a vault, a key, a version
	azureHost = regexp.MustCompile(`^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$`)
)

// entraCode is how Microsoft Entra ID calls an error.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
var entraCode = regexp.MustCompile(`AADSTS[0-9]+`)

// azureURI is what a key URI of Azure Key Vault names.
type azureURI struct {
	host, name, version string // of the vault, and of its key; without a version it is the newest
	hsm                 bool   // it is kept in a device
	cloud               azureCloud
	tenant, client      string // as whom to ask; "": as Azure's own programs find it
	secret              string // of that client; "" likewise
}

// parseAzure reads azurekms:name=KEY;vault=VAULT?version=VERSION, as step-kms has it,
// and azurekms://VAULT.vault.azure.net/KEY/VERSION, as sigstore has it.
func parseAzure(text string) (azureURI, error) {
	u, err := parseURI(text, "name", "vault", "version", "environment", "hsm", "tenant-id", "client-id", "client-secret")
	if err != nil {
		return azureURI{}, err
	}
	in, known := azureClouds()[u.Get("environment")]
	if !known {
		return azureURI{}, failure("invalid-uri", "the environment is public, usgov or china")
	}
	named := azureURI{
		name: u.Get("name"), version: u.Get("version"), hsm: u.GetBool("hsm"), cloud: in,
		tenant: u.Get("tenant-id"), client: u.Get("client-id"), secret: u.Get("client-secret"),
	}
	if u.Host != "" {
		named.host = u.Host
		name, version, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
		named.name = name
		if version != "" {
			named.version = version
		}
		for _, other := range azureClouds() {
			if u.Get("environment") == "" && strings.HasSuffix(named.host, "."+other.domain) {
				named.cloud = other
			}
		}
	} else if azureName.MatchString(u.Get("vault")) {
		named.host = u.Get("vault") + "." + in.domain
	}
	if !azureHost.MatchString(named.host) || !azureName.MatchString(named.name) ||
		named.version != "" && !azureName.MatchString(named.version) {
		return azureURI{}, failure("invalid-uri",
			"it names no key of a vault: azurekms:name=KEY;vault=VAULT, or azurekms://VAULT.vault.azure.net/KEY")
	}
	return named, nil
}

// credential is what the vault is asked with.
func (u azureURI) credential(options policy.ClientOptions) (credential azcore.TokenCredential, err error) {
	if u.secret != "" {
		credential, err = azidentity.NewClientSecretCredential(u.tenant, u.client, u.secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	} else {
		credential, err = azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
			ClientOptions: options, TenantID: u.tenant,
		})
	}
	if err != nil {
		return nil, failure("denied",
			"the credentials for Azure cannot be used: the tenant, or the client, is not named as it should be")
	}
	return credential, nil
}

// openAzure opens the key that a URI names, as parseAzure reads it.
func openAzure(_ context.Context, text string, secrets *scrub.Scrubber) (key, error) {
	u, err := parseAzure(text)
	if err != nil {
		return nil, err
	}
	if u.secret != "" {
		secrets.Add(secret.New(u.secret))
	}
	k := &azureKey{host: u.host, name: u.name, version: u.version, hsm: u.hsm,
		strictTransport: &strictTransport{secrets: secrets}}
	options := policy.ClientOptions{
		Cloud: u.cloud.authority, Transport: k.client(nil),
		Retry: policy.RetryOptions{MaxRetries: 2, RetryDelay: 300 * time.Millisecond, MaxRetryDelay: 2 * time.Second},
	}
	credential, err := u.credential(options)
	if err != nil {
		return nil, err
	}
	k.keys, err = azkeys.NewClient("https://"+k.host, credential, &azkeys.ClientOptions{ClientOptions: options})
	if err != nil {
		return nil, failure("failed", "Azure's client cannot be made: %v", err)
	}
	return k, nil
}

func (k *azureKey) close() {}

func (k *azureKey) public(ctx context.Context) (crypto.PublicKey, error) {
	answer, err := k.keys.GetKey(ctx, k.name, k.version, nil)
	if err != nil {
		return nil, k.explain(err)
	}
	if answer.Key == nil || answer.Key.Kty == nil {
		return nil, failure("failed", "Key Vault did not answer with a key")
	}
	if kind := *answer.Key.Kty; kind != azkeys.KeyTypeRSA && kind != azkeys.KeyTypeRSAHSM {
		return nil, failure("key-type", "it is a key of the type %s, and GitHub Apps sign with RSA", kind)
	}
	signs := len(answer.Key.KeyOps) == 0
	for _, operation := range answer.Key.KeyOps {
		signs = signs || operation != nil && *operation == azkeys.KeyOperationSign
	}
	if !signs {
		return nil, failure("key-type", "signing is not among the operations that the key permits")
	}
	exponent := new(big.Int).SetBytes(answer.Key.E)
	if len(answer.Key.N) == 0 || !exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() > 1<<31-1 {
		return nil, failure("failed", "Key Vault did not answer with an RSA key")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(answer.Key.N), E: int(exponent.Int64())}, nil
}

func (k *azureKey) sign(ctx context.Context, _, digest []byte) ([]byte, error) {
	algorithm := azkeys.SignatureAlgorithmRS256
	answer, err := k.keys.Sign(ctx, k.name, k.version, azkeys.SignParameters{Algorithm: &algorithm, Value: digest}, nil)
	if err != nil {
		return nil, k.explain(err)
	}
	return answer.Result, nil
}

// importKey sends the key within TLS, which is how Key Vault imports one that is not
// wrapped for a particular HSM.
// https://learn.microsoft.com/rest/api/keyvault/keys/import-key/import-key
func (k *azureKey) importKey(ctx context.Context, private *rsa.PrivateKey) error {
	if k.version != "" {
		return failure("invalid-uri", "Key Vault names the version: leave it out")
	}
	if bits := private.N.BitLen(); bits != 2048 && bits != 3072 && bits != 4096 {
		return failure("key-type", "the key has %d bits, and Key Vault takes 2048, 3072 and 4096", bits)
	}
	if len(private.Primes) != 2 {
		return failure("key-type", "the key has %d primes, and Key Vault takes two", len(private.Primes))
	}
	switch _, err := k.keys.GetKey(ctx, k.name, "", nil); {
	case err == nil:
		return failure("exists", "the key %s is in %s already", k.name, k.host)
	case kindOf(k.explain(err)) != "not-found":
		return k.explain(err)
	}
	private.Precompute()
	kind, sign, verify, no := azkeys.KeyTypeRSA, azkeys.KeyOperationSign, azkeys.KeyOperationVerify, false
	parameters := azkeys.ImportKeyParameters{
		Key: &azkeys.JSONWebKey{
			Kty: &kind, KeyOps: []*azkeys.KeyOperation{&sign, &verify},
			N: private.N.Bytes(), E: big.NewInt(int64(private.E)).Bytes(), D: private.D.Bytes(),
			P: private.Primes[0].Bytes(), Q: private.Primes[1].Bytes(),
			DP: private.Precomputed.Dp.Bytes(), DQ: private.Precomputed.Dq.Bytes(), QI: private.Precomputed.Qinv.Bytes(),
		},
		KeyAttributes: &azkeys.KeyAttributes{Exportable: &no},
	}
	if k.hsm {
		parameters.HSM = &k.hsm
	}
	if _, err := k.keys.ImportKey(ctx, k.name, parameters, nil); err != nil {
		return k.explain(err)
	}
	return nil
}

// explain tells what Key Vault, or the service that hands out its tokens, has said.
// https://learn.microsoft.com/azure/key-vault/general/rest-error-codes
func (k *azureKey) explain(err error) error {
	if e, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		code := entraCode.FindString(e.Error())
		switch r := e.RawResponse; {
		case r != nil && (r.StatusCode >= 500 || r.StatusCode == http.StatusTooManyRequests):
			return failure("unavailable", "Azure's token endpoint answered %d", r.StatusCode)
		case r != nil:
			return failure("denied", "Azure hands out no token for these credentials: %d %s", r.StatusCode, code)
		case code != "":
			return failure("denied", "Azure hands out no token for these credentials: %s", code)
		case strings.Contains(e.Error(), "isn't configured to acquire tokens for tenant"):
			return failure("denied", "the credentials for Azure are for another tenant than that of %s", k.host)
		case k.failed() != nil:
			return k.failed()
		}
		return failure("denied", "Azure hands out no token for these credentials")
	}
	if strings.HasPrefix(err.Error(), "DefaultAzureCredential: ") { // the type of it is not exported
		return failure("denied", "no credentials for Azure are found: not in the environment (AZURE_CLIENT_ID, …), "+
			"not from the machine, not from `az login`")
	}
	e, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return err
	}
	switch {
	case e.StatusCode/100 == 3:
		return redirected(e.RawResponse)
	case e.StatusCode == http.StatusUnauthorized, e.StatusCode == http.StatusForbidden:
		return failure("denied", "Key Vault: %s", k.said(e))
	case e.StatusCode == http.StatusNotFound:
		return failure("not-found", "Key Vault: %s", k.said(e))
	case e.StatusCode == http.StatusTooManyRequests, e.StatusCode >= 500:
		return failure("unavailable", "Key Vault answered %d %s", e.StatusCode, e.ErrorCode)
	}
	return failure("failed", "Key Vault answered %d: %s", e.StatusCode, k.said(e))
}

// said is the code of an error, and its message in one line.
func (k *azureKey) said(e *azcore.ResponseError) string {
	var answer struct {
		Error struct {
			Message string `json:"message"`
			Inner   struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	if body, err := runtime.Payload(e.RawResponse); err == nil {
		_ = json.Unmarshal(body, &answer) // without a message there is still the code
	}
	code := e.ErrorCode
	if inner := answer.Error.Inner.Code; inner != "" {
		code += " (" + inner + ")"
	}
	message, _, _ := strings.Cut(answer.Error.Message, "\n") // what follows names the caller, the action, the vault
	return strings.TrimSpace(code + ": " + k.secrets.String(message))
}
