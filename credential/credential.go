// Package credential speaks git's credential protocol: the lines of key=value
// that git and its credential helpers exchange on standard input and output.
// [Parse] reads a description, [Credential.Encode] prints one, and [Answer]
// builds what a helper says to a get.
//
// The format, its attributes and its capabilities are those of git's own page,
// https://git-scm.com/docs/git-credential#IOFMT. Where that page is silent the
// package does what git's credential.c does, with one exception: a carriage
// return is refused wherever it stands, because readers that took it for a line
// end let a URL forge an attribute (CVE-2024-52006, CVE-2020-5260).
//
// The package neither opens files nor connections, and knows no host.
package credential

import (
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
)

// Operation is the last argument git gives to a credential helper,
// https://git-scm.com/docs/gitcredentials#_custom_helpers.
type Operation string

// The operations of a credential helper. A helper ignores any other silently,
// which leaves git room to add some.
const (
	Get        Operation = "get"        // asks for a credential
	Store      Operation = "store"      // says that a credential worked
	Erase      Operation = "erase"      // says that a credential was refused
	Capability Operation = "capability" // asks for [Announcement]
)

// CapabilityAuthType is the capability whose owner understands the attributes
// authtype, credential and ephemeral. git has it since 2.46.
const CapabilityAuthType = "authtype"

// Announcement is what a helper prints for the operation [Capability]: the
// capabilities that [Answer] makes use of,
// https://git-scm.com/docs/git-credential#CAPA-IOFMT.
const Announcement = "version 0\ncapability " + CapabilityAuthType + "\n"

// Credential is a description as git and a helper exchange it: the request of a
// get, its answer, or what a store or an erase is about. An attribute that was
// not given, or given empty, is the zero value of its field.
//
// No way of printing a Credential shows a secret; only [Credential.Encode]
// writes them.
type Credential struct {
	Capabilities []string // capability[]: what the writer understands

	AuthType  string      // authtype: the HTTP authentication scheme Encoded is for
	Encoded   secret.Text // credential: what follows AuthType in the Authorization header
	Ephemeral bool        // ephemeral: Encoded is not to be saved by any helper

	Protocol          string      // protocol: "https"
	Host              string      // host: with the port, if the URL had one
	Path              string      // path: without a leading slash; git sends it with credential.useHttpPath only
	Username          string      // username
	Password          secret.Text // password
	OAuthRefreshToken secret.Text // oauth_refresh_token
	PasswordExpiry    time.Time   // password_expiry_utc, to the second; zero is never

	WWWAuth  []string // wwwauth[]: the WWW-Authenticate headers git was answered with
	Continue bool     // continue: another round of a multistage authentication follows
	State    []string // state[]: opaque, handed back to the helper that said it
	Quit     bool     // quit: ask no other helper and no person
}

// Has reports whether the writer of c announced capability.
func (c *Credential) Has(capability string) bool {
	return slices.Contains(c.Capabilities, capability)
}

// Proactive reports whether c is a question that git asks by itself, before a server
// has answered anything, as http.proactiveAuth=basic makes it (git 2.46 and later).
// git puts the name of the scheme where the challenge would be; a server's has a realm
// as well (RFC 7617 section 2), and git-lfs, which may ask first too, says nothing.
func (c *Credential) Proactive() bool {
	return c.Has(CapabilityAuthType) && len(c.WWWAuth) == 1 && c.WWWAuth[0] == "Basic"
}

// Anonymous reports whether c is what [AnswerAnonymous] returns, as git hands it back
// with an erase.
func (c *Credential) Anonymous() bool { return c.AuthType == blank && c.Encoded.Reveal() == blank }

// Login returns the user name and the password c carries, whether as username
// and password or encoded for HTTP's Basic scheme (RFC 7617). What c does not
// carry is empty. A helper compares the password of an erase with what it holds.
func (c *Credential) Login() (username string, password secret.Text) {
	if c.Encoded.IsZero() || !strings.EqualFold(c.AuthType, "Basic") {
		return c.Username, c.Password
	}
	login, err := base64.StdEncoding.DecodeString(c.Encoded.Reveal())
	if err != nil {
		return c.Username, c.Password
	}
	username, text, _ := strings.Cut(string(login), ":")
	return username, secret.New(text)
}
