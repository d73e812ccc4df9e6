package config

import (
	"strings"
	"unicode"

	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/api"
)

const (
	aPrivateKey   = "a private key itself"
	aCertificate  = "PEM text"
	aToken        = "a GitHub token"
	aClientSecret = "what looks like a client secret"
)

// NoAPIVersion as api_version leaves the version header out, for a GitHub Enterprise Server
// that knows no versions.
const NoAPIVersion = "none"

var (
	// GitHub's prefixes of tokens
	// (https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/).
	tokenPattern        = lazily(`gh[pousr]_[A-Za-z0-9]{10}|github_pat_`)
	bodyPattern         = lazily(`MII[A-Za-z0-9+/\s]{200}`)
	clientSecretPattern = lazily(`^[0-9a-f]{40}$`)
	datePattern         = lazily(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	// idPattern is an App ID or a client ID.
	idPattern = lazily(`^([0-9]+|Iv[0-9].*)$`)

	// installationPattern is an installation's ID, or the address of its settings page.
	installationPattern = lazily(`^([1-9][0-9]{0,18}|.*/installations/[1-9][0-9]{0,18}/?)$`)
)

// secretIn says which secret a text holds, or "" if it holds none. People put keys
// and tokens in places that are printed; what comes of this check is a message
// instead.
func secretIn(text string) string {
	switch {
	// As it is, in base64 once more, and without its first and last line.
	case strings.Contains(text, "PRIVATE KEY-----"), strings.Contains(text, "LS0tLS1CRUdJTi"),
		bodyPattern().MatchString(text):
		return aPrivateKey
	case strings.Contains(text, "-----BEGIN"):
		return aCertificate
	case tokenPattern().MatchString(text):
		return aToken
	case clientSecretPattern().MatchString(text):
		return aClientSecret
	}
	return ""
}

// hintFor says where a secret belongs that was found in a flag or a variable.
func hintFor(secret string) string {
	switch secret {
	case aPrivateKey:
		return "put the PEM in GHAPP_PRIVATE_KEY, or in a file of mode 0600 that --key names"
	case aToken:
		return "ghapp makes its tokens from the App's private key"
	case aClientSecret:
		return "an App signs with its private key; the client secret is not used"
	}
	return "write it to a file, and give the path"
}

// unfit says what is wrong with the form of a value, or "".
func unfit(key, text string) string {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "there is a line break or a control character in it"
	}
	var err error
	switch key {
	case "host":
		_, err = api.ParseHost(text, "")
	case "api_url":
		_, err = api.ParseHost("", text)
	case "key":
		return unfitKey(text)
	case "broker":
		_, err = broker.ParseURL(text)
	case "identity":
		err = identity.Check(text)
	case "key_timeout":
		return unfitTimeout(text)
	case "api_version":
		if text != NoAPIVersion && !datePattern().MatchString(text) {
			return "it is neither a date such as 2022-11-28 nor none"
		}
	case "installation":
		if !installationPattern().MatchString(text) {
			return "it is neither an installation's ID, a number, nor the address of its settings page, " +
				"which ends with that (…/installations/123)"
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// fitHint says how a value is written whose form was wrong, or "" where what is wrong says so.
func fitHint(key string) string {
	if key == "key_timeout" {
		return "write a number with its unit: 30s, 2m"
	}
	return ""
}

// hostName returns the name of a host in the one form in which names are compared.
// The text has been checked.
func hostName(text string) string {
	host, err := api.ParseHost(text, "")
	if err != nil {
		return strings.ToLower(text)
	}
	return host.Name
}
