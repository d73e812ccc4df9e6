package kms

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/secret"
)

// awsKey is a key of AWS KMS.
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html
type awsKey struct {
	client  *awskms.Client
	id      string // key ID, alias/NAME, or the ARN of either
	region  string
	secrets *scrub.Scrubber
}

// awsURI is what a key URI of AWS KMS names.
type awsURI struct {
	id       string // as of awsKey
	region   string // "": that of AWS's configuration
	profile  string // of that configuration; "": its default
	file     string // in place of its files; "": those
	endpoint string // host in place of AWS's own; "": that
}

// parseAWS reads awskms:key-id=ID;region=REGION;profile=NAME;credentials-file=PATH, as
// step-kms has it, and awskms://ENDPOINT/ID, as sigstore has it, where ENDPOINT may be
// empty.
func parseAWS(text string) (awsURI, error) {
	u, err := parseURI(text, "key-id", "region", "profile", "credentials-file")
	if err != nil {
		return awsURI{}, err
	}
	named := awsURI{
		id: u.Get("key-id"), region: u.Get("region"), profile: u.Get("profile"), file: u.Get("credentials-file"),
		endpoint: u.Host,
	}
	if named.id == "" {
		named.id = strings.TrimPrefix(u.Path, "/")
	}
	if named.id == "" {
		return awsURI{}, failure("invalid-uri",
			"it names no key: awskms:key-id=ID, or awskms:///ID, where ID is a key ID, alias/NAME or an ARN")
	}
	if name, err := arn.Parse(named.id); err == nil {
		if named.region != "" && named.region != name.Region {
			return awsURI{}, failure("invalid-uri", "the region is %s, and that of the ARN is %s", named.region, name.Region)
		}
		named.region = name.Region
	}
	return named, nil
}

// configuration is what AWS's own programs would find, with what the URI names in its place.
func (u awsURI) configuration(ctx context.Context) (aws.Config, error) {
	var options []func(*config.LoadOptions) error
	if u.region != "" {
		options = append(options, config.WithRegion(u.region))
	}
	if u.profile != "" {
		options = append(options, config.WithSharedConfigProfile(u.profile))
	}
	if u.file != "" {
		files := []string{u.file}
		options = append(options, config.WithSharedConfigFiles(files), config.WithSharedCredentialsFiles(files))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		if e, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
			return c, failure("denied", "%v", e)
		}
		return c, failure("failed", "AWS's configuration cannot be read: %v", err)
	}
	if c.Region == "" {
		return c, failure("invalid-uri", "no region is named: add ;region=REGION, or set AWS_REGION")
	}
	return c, nil
}

// openAWS opens the key that a URI names, as parseAWS reads it.
func openAWS(ctx context.Context, text string, secrets *scrub.Scrubber) (key, error) {
	u, err := parseAWS(text)
	if err != nil {
		return nil, err
	}
	c, err := u.configuration(ctx)
	if err != nil {
		return nil, err
	}
	credentials, err := awsCredentials(ctx, c)
	if err != nil {
		return nil, err
	}
	secrets.Add(secret.New(credentials.SecretAccessKey))
	client := awskms.NewFromConfig(c, func(o *awskms.Options) {
		// The SDK's own client follows some redirects, with the session token; what it
		// has of the configuration, such as AWS_CA_BUNDLE, is in its transport.
		var transport *http.Transport
		if built, ok := c.HTTPClient.(*awshttp.BuildableClient); ok {
			transport = built.GetTransport()
		}
		o.HTTPClient = (&strictTransport{secrets: secrets}).client(transport)
		if u.endpoint != "" {
			o.BaseEndpoint = aws.String("https://" + u.endpoint)
		}
	})
	if base := client.Options().BaseEndpoint; base != nil {
		endpoint, err := url.Parse(*base)
		if err != nil {
			return nil, failure("invalid-uri", "the address of AWS KMS cannot be read")
		}
		if err := checkPlain(endpoint); err != nil {
			return nil, err
		}
	}
	return &awsKey{client, u.id, c.Region, secrets}, nil
}

// awsCredentials finds the credentials before anything is asked, so that what is
// missing is told for itself. The client finds them again without asking.
func awsCredentials(ctx context.Context, c aws.Config) (aws.Credentials, error) {
	credentials, err := c.Credentials.Retrieve(ctx)
	if err == nil || ctx.Err() != nil {
		return credentials, err
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return credentials, failure("denied", "AWS hands out no credentials (%s)", e.ErrorCode())
	}
	return credentials, failure("denied", "no AWS credentials that serve are found: not in the environment, "+
		"not in the files of the AWS CLI, not from the machine; is `aws sts get-caller-identity` answered?")
}

func (k *awsKey) close() {}

func (k *awsKey) public(ctx context.Context) (crypto.PublicKey, error) {
	answer, err := k.client.GetPublicKey(ctx, &awskms.GetPublicKeyInput{KeyId: &k.id})
	if err != nil {
		return nil, k.explain(err)
	}
	if len(answer.PublicKey) > 0 && answer.KeyUsage != types.KeyUsageTypeSignVerify {
		return nil, failure("key-type", "its key usage is %s, and not SIGN_VERIFY", answer.KeyUsage)
	}
	public, err := x509.ParsePKIXPublicKey(answer.PublicKey)
	if err != nil {
		return nil, failure("failed", "AWS KMS did not answer with a public key")
	}
	if _, ok := public.(*rsa.PublicKey); ok &&
		!slices.Contains(answer.SigningAlgorithms, types.SigningAlgorithmSpecRsassaPkcs1V15Sha256) {
		return nil, failure("key-type", "it does not sign by RSASSA_PKCS1_V1_5_SHA_256")
	}
	return public, nil
}

func (k *awsKey) sign(ctx context.Context, _, digest []byte) ([]byte, error) {
	answer, err := k.client.Sign(ctx, &awskms.SignInput{
		KeyId: &k.id, Message: digest, MessageType: types.MessageTypeDigest,
		SigningAlgorithm: types.SigningAlgorithmSpecRsassaPkcs1V15Sha256,
	})
	if err != nil {
		return nil, k.explain(err)
	}
	return answer.Signature, nil
}

// importKey fills a key that was created without key material. To create one is left to
// people: it costs, and it has a policy.
// https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys.html
func (k *awsKey) importKey(ctx context.Context, private *rsa.PrivateKey) error {
	spec := types.KeySpec(fmt.Sprintf("RSA_%d", private.N.BitLen()))
	there, err := k.client.DescribeKey(ctx, &awskms.DescribeKeyInput{KeyId: &k.id})
	if err != nil {
		err = k.explain(err)
		if kindOf(err) == "not-found" {
			return failure("not-found", "there is no such key in region %s to import into; create it: "+
				"aws kms create-key --origin EXTERNAL --key-usage SIGN_VERIFY --key-spec %s", k.region, spec)
		}
		return err
	}
	about := there.KeyMetadata
	switch {
	case about == nil:
		return failure("failed", "AWS KMS did not say what the key is")
	case about.Origin != types.OriginTypeExternal:
		return failure("exists", "the key material there is of the origin %s; "+
			"a key to import into is created with --origin EXTERNAL", about.Origin)
	case about.KeyUsage != types.KeyUsageTypeSignVerify:
		return failure("key-type", "its key usage is %s, and not SIGN_VERIFY", about.KeyUsage)
	case about.KeyState != types.KeyStatePendingImport:
		return failure("exists", "the key has its key material already (%s)", about.KeyState)
	case about.KeySpec != spec:
		return failure("key-type", "its key spec is %s, and the key that is to be imported is %s", about.KeySpec, spec)
	}
	parameters, err := k.client.GetParametersForImport(ctx, &awskms.GetParametersForImportInput{
		KeyId: &k.id, WrappingAlgorithm: types.AlgorithmSpecRsaAesKeyWrapSha256,
		WrappingKeySpec: types.WrappingKeySpecRsa4096,
	})
	if err != nil {
		return k.explain(err)
	}
	public, err := x509.ParsePKIXPublicKey(parameters.PublicKey)
	wrapping, ok := public.(*rsa.PublicKey)
	if err != nil || !ok {
		return failure("failed", "AWS KMS did not answer with a wrapping key")
	}
	wrapped, err := wrapPrivateKey(wrapping, private)
	if err != nil {
		return err
	}
	_, err = k.client.ImportKeyMaterial(ctx, &awskms.ImportKeyMaterialInput{
		KeyId: &k.id, ImportToken: parameters.ImportToken, EncryptedKeyMaterial: wrapped,
		ExpirationModel: types.ExpirationModelTypeKeyMaterialDoesNotExpire,
	})
	if err != nil {
		return k.explain(err)
	}
	return nil
}

// explain tells what AWS KMS has said.
// https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
func (k *awsKey) explain(err error) error {
	status := 0
	if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		status = r.HTTPStatusCode()
	}
	if status/100 == 3 {
		return failure("failed", "AWS KMS answered with a redirect, which is not followed, "+
			"since the request has credentials: name the right endpoint")
	}
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok && status >= 500 {
		return failure("unavailable", "AWS KMS answered %d", status)
	}
	if !ok {
		return err
	}
	code, said := e.ErrorCode(), k.secrets.String(e.ErrorMessage())
	switch code {
	case "NotFoundException":
		return failure("not-found", "%s in region %s: %s", code, k.region, said)
	case "KMSInvalidStateException":
		return failure("not-found", "the key cannot be used in its state: %s", said)
	case "InvalidArnException", "ValidationException", "InvalidAliasNameException":
		return failure("invalid-uri", "%s: %s", code, said)
	case "InvalidKeyUsageException", "UnsupportedOperationException":
		return failure("key-type", "%s: %s", code, said)
	case "DisabledException":
		return failure("denied", "the key is disabled: %s", said)
	case "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature":
		// What is said quotes the request, and that has the session token.
		if strings.Contains(said, "expired") || strings.Contains(said, "not yet current") {
			return failure("denied", "%s: the clock of this machine is wrong", code)
		}
		return failure("denied", "%s: the secret access key does not belong to the access key ID, "+
			"or the credentials are for another region", code)
	case "AccessDeniedException", "AccessDenied", "UnrecognizedClientException",
		"InvalidClientTokenId", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "ExpiredTokenException", "ExpiredToken", "NotAuthorized",
		"OptInRequired", "RequestExpired":
		return failure("denied", "%s: %s", code, said)
	case "ThrottlingException", "Throttling", "LimitExceededException",
		"KeyUnavailableException", "DependencyTimeoutException",
		"KMSInternalException", "InternalFailure", "InternalServerError", "ServiceUnavailable", "ServiceUnavailableException":
		return failure("unavailable", "%s: %s", code, said)
	}
	if status >= 500 {
		return failure("unavailable", "AWS KMS answered %d: %s: %s", status, code, said)
	}
	return failure("failed", "%s: %s", code, said)
}
