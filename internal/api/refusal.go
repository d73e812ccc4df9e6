package api

import "strings"

// Refusal is what the text of a refusal says, whether of GitHub's REST API or of its
// git service. The texts are GitHub's own; what ghapp makes of them is the Kind in answerkind.go of
// package ghapp, the sentence in errors.go there, and the hint in internal/diag/github.go. One that
// changes is [Unexplained], and what is left to go by is the status.
type Refusal int

// What a refusal may say.
const (
	Unexplained           Refusal = iota
	ClockOff                      // a time in the JWT is not GitHub's
	KeyMismatch                   // the JWT is signed with a key that the App does not have
	AppUnknown                    // no App has the issuer of the JWT
	InstallationSuspended         // the owner has suspended it
	AccountSuspended              // GitHub has
	IPAllowList                   // the owner lets in listed addresses only
	SAML                          // the organization wants single sign-on
	NotPermitted                  // a permission is missing
	RepositoryNotSelected         // there is no such repository, or the installation does not have it
	Unavailable                   // GitHub keeps the repository from everybody
)

// Classify reads the text of a refusal.
func Classify(message string) Refusal {
	for _, known := range [...]struct {
		text    string
		refusal Refusal
	}{
		{"'Expiration time' claim ('exp') is too far in the future", ClockOff},
		// These two read as if a type were wrong.
		{"'Expiration time' claim ('exp') must be a numeric value representing the future time", ClockOff},
		{"'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued", ClockOff},
		{"JSON web token could not be decoded", KeyMismatch},
		{"must generate a public key", KeyMismatch},
		{"'Issuer' claim", AppUnknown},
		{"'issuer' claim", AppUnknown},
		{"Integration not found", AppUnknown},
		{"installation has been suspended", InstallationSuspended},
		{"IP allow list", IPAllowList},
		{"SAML", SAML},
		{"permissions requested are not granted", NotPermitted},
		{"Resource not accessible by integration", NotPermitted},
		{"Write access to repository not granted", NotPermitted},
		{"repository that does not exist or is not accessible", RepositoryNotSelected},
		{"disabled by GitHub staff", Unavailable},
		{"unavailable due to DMCA takedown", Unavailable},
		// The others may have the name of an account in them, and so this word.
		{"suspended", AccountSuspended},
	} {
		if strings.Contains(message, known.text) {
			return known.refusal
		}
	}
	return Unexplained
}
