package githubtest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TokenFormat is the form of an installation access token.
type TokenFormat int

// The two formats in use. GitHub.com changed from Classic to Stateless in 2026, GitHub Enterprise Server did not.
// https://github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header/
const (
	Classic   TokenFormat = iota // "ghs_" and 36 letters and digits
	Stateless                    // "ghs_APPID_JWT", about 520 characters, with dots, hyphens and underscores
)

// TokenInfo is an installation access token that was minted.
type TokenInfo struct {
	Token          string
	AppID          int64
	InstallationID int64
	Repositories   []string          // present full names of those it was narrowed to; nil means all of the installation
	Permissions    map[string]string // as granted
	Created        time.Time
	Expires        time.Time
	Revoked        bool
}

// Tokens returns every token minted, oldest first.
func (gh *GitHub) Tokens() []TokenInfo {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	list := make([]TokenInfo, len(gh.minted))
	for i, t := range gh.minted {
		list[i] = TokenInfo{
			Token: t.value, AppID: t.inst.app.ID, InstallationID: t.inst.ID,
			Permissions: maps.Clone(t.permissions), Created: t.created, Expires: t.expires, Revoked: t.revoked,
		}
		if t.repos != nil {
			list[i].Repositories = []string{}
			for _, r := range gh.numbered(t.repos) {
				list[i].Repositories = append(list[i].Repositories, r.fullName())
			}
		}
	}
	return list
}

// Mints returns how many tokens have been minted.
func (gh *GitHub) Mints() int {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	return len(gh.minted)
}

// RevokeTokens revokes every token minted so far, as if each had been sent to DELETE /installation/token.
func (gh *GitHub) RevokeTokens() {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	for _, t := range gh.minted {
		t.revoked = true
	}
}

// maxRepositories is how many repositories a mint may name.
const maxRepositories = 500

// What GitHub answers to a mint it does not make.
const (
	badCredentials     = "Bad credentials"
	notAccessible      = "Resource not accessible by integration"
	suspended          = "This installation has been suspended"
	permissionNotGiven = "The permissions requested are not granted to this installation."
	repositoryNotGiven = "There is at least one repository that does not exist or is not " +
		"accessible to the parent installation."
	bodyNotJSON      = "Problems parsing JSON"
	bodyInvalid      = "Invalid request.\n\n"
	allowListRefusal = "Although you appear to have the correct authorization credentials, " +
		"the `%s` organization has an IP allow list enabled, and your IP address is not permitted to access this resource."
	statelessTokenAsked = "X-GitHub-Stateless-S2S-Token"
)

type token struct {
	value       string
	inst        *Installation
	repos       map[int64]bool    // nil means all of the installation
	permissions map[string]string // as granted
	extra       map[string]string // of those, what an Overgrant added
	created     time.Time
	expires     time.Time
	revoked     bool
}

// alive finds a token that is neither revoked nor expired, and whose installation is there.
func (gh *GitHub) alive(value string) *token {
	t := gh.tokens[value]
	if t == nil || t.revoked || t.inst.gone || !gh.now().Before(t.expires) {
		return nil
	}
	return t
}

// barred says with which status and message an installation's tokens are refused, be they alive; 0 if they are not.
func (i *Installation) barred() (status int, message string) {
	switch {
	case !i.suspended.IsZero():
		return http.StatusForbidden, suspended
	case i.account.allowList:
		return http.StatusForbidden, fmt.Sprintf(allowListRefusal, i.account.Login)
	}
	return 0, ""
}

func (gh *GitHub) propagating(t *token) bool { return gh.now().Sub(t.created) < gh.propagation }

// covers reports whether the token reaches the repository now.
func (t *token) covers(r *Repository) bool {
	return t.inst.covers(r) && (t.repos == nil || t.repos[r.ID])
}

// may reports whether the token holds a permission now: as granted, and not taken from the installation since.
func (t *token) may(permission, value string) bool {
	now := t.inst.permissions[permission]
	if level(t.extra[permission]) > level(now) {
		now = t.extra[permission]
	}
	return min(level(t.permissions[permission]), level(now)) >= level(value)
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func newToken(f TokenFormat, inst *Installation, created, expires time.Time) string {
	if f == Classic {
		return classicToken()
	}
	// Only GitHub can check the signature, and clients must not look inside, so it is noise. It begins with every
	// character of base64url that is neither letter nor digit, to catch patterns which do not expect them.
	signature := make([]byte, 256)
	rand.Read(signature)
	copy(signature, []byte{0xfb, 0xff, 0xbf})
	parts := []string{
		base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"RS256"}`)),
		base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"iss":"githubtest","sub":"%d","iat":%d,"exp":%d,"jti":"%s"}`,
			inst.ID, created.Unix(), expires.Unix(), rand.Text())),
		base64.RawURLEncoding.EncodeToString(signature),
	}
	return "ghs_" + strconv.FormatInt(inst.app.ID, 10) + "_" + strings.Join(parts, ".")
}

// classicToken is 30 random characters and a checksum of six, as GitHub's scanners expect it.
// https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
func classicToken() string {
	text := []byte("ghs_")
	noise := make([]byte, 30)
	rand.Read(noise)
	for _, b := range noise {
		text = append(text, base62[int(b)%len(base62)])
	}
	sum := crc32.ChecksumIEEE(text[4:])
	check := make([]byte, 6)
	for i := range slices.Backward(check) {
		check[i] = base62[sum%62]
		sum /= 62
	}
	return string(append(text, check...))
}
