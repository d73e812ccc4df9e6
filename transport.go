package ghapp

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// Transport is an [http.RoundTripper] that authorizes requests to the API of its
// tokens' own host, and to no other, on no hop of a redirect. A request that has
// an Authorization header of its own is sent as it is.
//
// A refusal (401, 403, 404) of a token in its first seconds is waited out with the
// same token; the 401 of an older one makes the source drop it, and the request is
// sent once more with the next. Both only where the request's body can be sent
// again ([http.Request.GetBody]). What GitHub says in the end is what the caller
// gets.
type Transport struct {
	// Source gives the tokens. Required.
	Source TokenSource
	// Base sends the requests. Nil: net/http's, with the environment's proxy.
	Base http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if req.Header.Get("Authorization") != "" {
		return base.RoundTrip(req)
	}
	token, err := t.Source.Token(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	if !isAPI(req.URL, token.API) {
		return base.RoundTrip(req)
	}
	answer, err := send(base, req, token)
	if err != nil || !replayable(req) {
		return answer, err
	}
	if answer, err = t.waitOut(base, req, token, answer); err != nil {
		return nil, err
	}
	source, told := t.Source.(Invalidator)
	if answer.StatusCode != http.StatusUnauthorized || !told || token.Propagating() {
		return answer, nil
	}
	// An error is the store's. The source's next token shows what it did.
	_ = source.Invalidate(req.Context(), token)
	next, err := t.Source.Token(req.Context())
	if err != nil || next.Secret.Reveal() == token.Secret.Reveal() {
		return answer, nil // the refusal is the truer answer
	}
	discard(answer)
	again, err := rewound(req)
	if err != nil {
		return nil, err
	}
	if answer, err = send(base, again, next); err != nil {
		return nil, err
	}
	return t.waitOut(base, req, next, answer)
}

// waitOut repeats a request that was refused because the token is too new.
func (t *Transport) waitOut(base http.RoundTripper, req *http.Request, token *Token,
	answer *http.Response) (*http.Response, error) {
	for pause := range api.PropagationPauses(propagationTries) {
		limited := answer.Header.Get("Retry-After") != "" || answer.Header.Get("X-RateLimit-Remaining") == "0"
		if !token.Propagating() || !mayPropagate(answer.StatusCode, limited) {
			break
		}
		discard(answer)
		if err := sleep(req.Context(), pause); err != nil {
			return nil, err
		}
		again, err := rewound(req)
		if err != nil {
			return nil, err
		}
		if answer, err = send(base, again, token); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

// isAPI reports whether u is on the host of the API.
func isAPI(u *url.URL, root string) bool {
	base, err := url.Parse(root)
	return err == nil && u.Scheme == base.Scheme && u.Host == base.Host &&
		(u.Scheme == "https" || api.IsLoopback(u.Hostname()))
}

// send leaves the caller's request as it was, as RoundTripper demands: net/http
// copies the headers of a request to the next hop.
func send(base http.RoundTripper, req *http.Request, token *Token) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Header.Set("Authorization", "token "+token.Secret.Reveal())
	return base.RoundTrip(out)
}

func replayable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// rewound is the request with its body at the start again.
func rewound(req *http.Request) (*http.Request, error) {
	again := req.Clone(req.Context())
	if req.GetBody == nil {
		return again, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, fmt.Errorf("the request's body cannot be sent again: %w", err)
	}
	again.Body = body
	return again, nil
}

// discard reads the rest of a short answer so that its connection can be used
// again.
func discard(answer *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	_ = answer.Body.Close()
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
