package gitauth

import (
	"encoding/base64"
	"net/http"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
)

// UserAgent is sent to the git service, which takes a client for git by its beginning.
const UserAgent = "git/ghapp"

// Authorize puts a token into a request to the git service, as git itself would send it.
func Authorize(req *http.Request, t *ghapp.Token) {
	pair := Username + ":" + t.Secret.Reveal()
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
}

// RefusedBy reads a refusal of the git service, whose texts are those that git shows.
func RefusedBy(status int, message string) ghapp.Kind {
	refusal := api.Classify(message)
	switch refusal {
	case api.IPAllowList:
		return ghapp.ErrIPAllowList
	case api.SAML:
		return ghapp.ErrSAML
	case api.InstallationSuspended, api.AccountSuspended:
		return ghapp.ErrSuspended
	}
	switch {
	case status == http.StatusUnauthorized:
		return ghapp.ErrTokenRefused
	case status == http.StatusForbidden && refusal == api.NotPermitted:
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
