package door

import (
	"context"
	"errors"
	"net/http"

	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
)

// obtain finds out who asks, and has the exchanger decide. It works within the limits.
func (v *visit) obtain(r *http.Request, proof secret.Text, asked exchange.Request) (exchange.Answer, error) {
	d := v.door
	if !d.limits.enter() {
		return exchange.Answer{}, busy
	}
	defer d.limits.leave()
	c, err := v.verify(r, proof)
	if err != nil {
		return exchange.Answer{}, err
	}
	if wait := d.limits.identity(c); wait > 0 {
		return exchange.Answer{}, slowDown(wait)
	}
	asked.ID, asked.Caller = v.id, c
	if v.address.IsValid() {
		asked.Address = v.address.String()
	}
	return d.config.Exchanger.Token(r.Context(), asked)
}

// verify returns who asks: by the token, or, where there is none, by the certificate.
func (v *visit) verify(r *http.Request, proof secret.Text) (c caller.Caller, err error) {
	switch {
	case !proof.IsZero():
		c, err = v.door.config.Verifier.Verify(r.Context(), proof)
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		c, err = v.door.config.Verifier.VerifyCertificate(r.TLS.PeerCertificates)
	default:
		err = malformed("there is no proof of who asks: neither a token nor a certificate")
	}
	if err != nil {
		v.tell(r.Context(), err)
	}
	return c, err
}

// tell has the audit know why somebody was not believed.
func (v *visit) tell(ctx context.Context, err error) {
	if _, form := errors.AsType[*problem](err); form || v.door.config.Refusals == nil {
		return
	}
	v.door.config.Refusals.Refused(context.WithoutCancel(ctx),
		Refusal{ID: v.id, Address: v.address, Reason: err.Error()})
}
