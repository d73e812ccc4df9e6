package gitauth

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/ghapp-dev/ghapp"
)

// UserAgent is sent to the git service, which takes a client for git by its beginning.
const UserAgent = "git/ghapp"

// Authorize puts a token into a request to the git service, as git itself would send it.
func Authorize(req *http.Request, t *ghapp.Token) {
	pair := username + ":" + t.Secret.Reveal()
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
}

// RefusedBy reads a refusal of the git service, whose texts are those that git shows.
func RefusedBy(status int, message string) ghapp.Kind {
	says := func(text string) bool { return strings.Contains(message, text) }
	switch {
	case says("IP allow list"):
		return ghapp.ErrIPAllowList
	case says("SAML"):
		return ghapp.ErrSAML
	case says("suspended"):
		return ghapp.ErrSuspended
	case status == http.StatusUnauthorized:
		return ghapp.ErrTokenRefused
	case status == http.StatusForbidden && says("not granted"):
		return ghapp.ErrPermission
	case status == http.StatusNotFound:
		return ghapp.ErrRepositoryNotSelected
	case status == http.StatusTooManyRequests:
		return ghapp.ErrRateLimited
	case status >= 500:
		return ghapp.ErrUnreachable
	}
	return ghapp.ErrRefused
}
