package api_test

import (
	"testing"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// GitHub names the account in its refusals, whose name may be a word of another one.
func TestNameOfAnAccountIsNoReason(t *testing.T) {
	const allowList = "Although you appear to have the correct authorization credentials, the `suspended-SAML` " +
		"organization has an IP allow list enabled, and your IP address is not permitted to access this resource."
	for message, want := range map[string]api.Refusal{
		allowList: api.IPAllowList,
		"The `suspended` organization has enabled or enforced SAML SSO.": api.SAML,
		"Your account is suspended.":                                     api.AccountSuspended,
		"This installation has been suspended":                           api.InstallationSuspended,
		"Access to this repository has been disabled by GitHub staff.":   api.Unavailable,
		"Repository unavailable due to DMCA takedown.":                   api.Unavailable,
	} {
		if got := api.Classify(message); got != want {
			t.Errorf("%q is %d, want %d", message, got, want)
		}
	}
}
