// Package caller is who asks for a token: what an issuer's token, or a certificate, proves.
package caller

import "time"

// Caller is somebody whose proof has been verified. Its fields are claims of an issuer that
// the configuration lists, and nothing that the caller could choose.
type Caller struct {
	// Issuer is the iss claim, an address, or the trust domain, spiffe://…, of a certificate.
	Issuer string
	// Subject is the sub claim, or the SPIFFE ID of a certificate.
	Subject string
	// Claims are all claims of the token, by name, as JSON has them: string, float64, bool,
	// []any, map[string]any. Nil for a certificate.
	Claims map[string]any
	// ID is the jti claim; empty where there is none.
	ID string
	// Expires is when the proof ends, on the issuer's clock.
	Expires time.Time
}
