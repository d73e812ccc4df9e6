package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// mintLimit is how many tokens of an App are asked for.
func mintLimit(app string) limit {
	return limit{name: "mint/" + app, most: mints, window: mintWindow}
}

// Transport sends the requests of Apps to GitHub. Those for a token queue, over all replicas, below
// GitHub's secondary limit. Those by a token are counted in its installation's budget, which the
// answers correct. Where the end of a request's context comes before there is room, the error is a
// [*BusyError].
func (e *Engine) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{e, base}
}

type transport struct {
	engine *Engine
	base   http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	_, credential, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	before, isMint := strings.CutSuffix(req.URL.Path, "/access_tokens")
	if isMint && req.Method == http.MethodPost {
		return t.mint(req, req.URL.Host+"/"+issuer(credential), before[strings.LastIndexByte(before, '/')+1:])
	}
	of, known := t.engine.minted.of(credential)
	if !known || req.Method != http.MethodGet {
		return t.base.RoundTrip(req)
	}
	if err := t.engine.spend(req.Context(), of.app, of.installation); err != nil {
		return nil, refuse(req, err)
	}
	answer, err := t.base.RoundTrip(req)
	if err == nil {
		// A budget that cannot be corrected is corrected by the next answer.
		_ = t.engine.observe(req.Context(), of.app, of.installation, answer.Header)
	}
	return answer, err
}

// refuse ends a request that is not sent.
func refuse(req *http.Request, err error) error {
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return err
}

// mint sends a request for a token when it is its turn. The headers of its answer are of the App's own
// budget, and not of an installation's.
func (t *transport) mint(req *http.Request, app, installation string) (*http.Response, error) {
	if err := t.engine.queue(req.Context(), mintLimit(app), "mint a token"); err != nil {
		return nil, refuse(req, err)
	}
	answer, err := t.base.RoundTrip(req)
	if err != nil || answer.StatusCode != http.StatusCreated {
		return answer, err
	}
	const most = 1 << 20 // what is longer is read by whom it is for, and remembered by nobody
	head, err := io.ReadAll(io.LimitReader(answer.Body, most))
	rest := answer.Body
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), failing{err}, rest), rest}
	var body struct {
		Token string `json:"token"`
	}
	id, idErr := strconv.ParseInt(installation, 10, 64)
	if json.Unmarshal(head, &body) == nil && body.Token != "" && idErr == nil {
		t.engine.minted.add(body.Token, tokenOf{app, id, time.Now().Add(tokenLife)})
		t.engine.served.add(app, id)
	}
	return answer, nil
}

// failing is a reader that has nothing but an error; nil: not even that.
type failing struct{ err error }

// Read implements [io.Reader].
func (f failing) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

// issuer is the App of a JSON Web Token of ours; empty where it is none.
func issuer(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		Issuer json.RawMessage `json:"iss"` // a number of old
	}
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return strings.Trim(string(claims.Issuer), `"`)
}

// minted are the tokens that this process has asked for, by their hashes. The zero value is ready.
type minted struct {
	mu     sync.Mutex
	tokens map[[sha256.Size]byte]tokenOf
}

type tokenOf struct {
	app          string
	installation int64
	until        time.Time
}

// add remembers a token, and forgets those that have ended.
func (m *minted) add(token string, of tokenOf) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens == nil {
		m.tokens = map[[sha256.Size]byte]tokenOf{}
	}
	m.tokens[sha256.Sum256([]byte(token))] = of
	if len(m.tokens)%100 == 0 {
		now := time.Now()
		for hash, t := range m.tokens {
			if t.until.Before(now) {
				delete(m.tokens, hash)
			}
		}
	}
}

func (m *minted) of(token string) (tokenOf, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of, ok := m.tokens[sha256.Sum256([]byte(token))]
	return of, ok
}
