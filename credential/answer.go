package credential

import (
	"encoding/base64"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
)

// Answer returns what a helper answers to the get request: username and
// password until expiry, which may be the zero time when there is none.
//
// A git that announces the capability authtype (2.46 and later) is given the
// Basic header ready-made, marked ephemeral, and no password beside it. A
// password would be saved by every other helper the user has configured, and
// git would set it on its HTTP handle, from where it follows a redirect to
// another host when http.proactiveAuth is on; the header does neither.
func Answer(request *Credential, username string, password secret.Text, expiry time.Time) *Credential {
	if !request.Has(CapabilityAuthType) {
		return &Credential{Username: username, Password: password, PasswordExpiry: expiry}
	}
	pair := username + ":" + password.Reveal()
	return &Credential{
		Capabilities:   []string{CapabilityAuthType},
		AuthType:       "Basic",
		Encoded:        secret.New(base64.StdEncoding.EncodeToString([]byte(pair))),
		Ephemeral:      true,
		PasswordExpiry: expiry,
	}
}

// AnswerAnonymous returns what a helper answers to a question that is [Credential.Proactive],
// for git to go on without a credential: git takes no answer for a failure then.
//
// It is a header without a value, and such a one libcurl does not send
// (https://curl.se/libcurl/c/CURLOPT_HTTPHEADER.html). A server that asks for a
// credential nevertheless makes git fail with that server's refusal, and say erase.
func AnswerAnonymous() *Credential {
	return &Credential{
		Capabilities: []string{CapabilityAuthType},
		AuthType:     blank, Encoded: secret.New(blank), Ephemeral: true,
	}
}

// blank is a value that git takes for one that is there.
const blank = " "
