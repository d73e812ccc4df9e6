// Package door is where callers come in: RFC 8693 token exchange at POST /token, git's own
// credential protocol at POST /git-credentials, and what a client needs to know at GET
// /.well-known/ghapp. It decides nothing but whether a request is one: who asks is a [Verifier]'s
// to say, and what for an [Exchanger]'s.
//
// Whoever is refused is told the same, whatever the reason, in the same class of time.
package door

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
)

// Verifier finds out who a caller is.
type Verifier interface {
	// Verify takes an issuer's token. Its error is a [*caller.Refused], or there was no answer.
	Verify(ctx context.Context, token secret.Text) (caller.Caller, error)
	// VerifyCertificate takes a certificate and what comes with it, whose key TLS has proved.
	VerifyCertificate(chain []*x509.Certificate) (caller.Caller, error)
}

// Exchanger decides what a caller gets, and gets it.
type Exchanger interface {
	// Token returns a token, or an error of which the caller is told the outcome; see
	// [exchange.Error]. Any other error is a failure of ours.
	Token(ctx context.Context, r exchange.Request) (exchange.Answer, error)
}

// Refusals is told of requests that never came to an [Exchanger], which tells of its own.
type Refusals interface {
	Refused(ctx context.Context, r Refusal)
}

// Refusal is a request that was refused before anything was decided.
type Refusal struct {
	ID      string
	Address netip.Addr
	Reason  string // one line, without any part of the proof
}

// Config says what a [Door] is. Verifier, Exchanger, Audience and Hosts are required.
type Config struct {
	Verifier  Verifier
	Exchanger Exchanger
	Refusals  Refusals // nil: nobody is told

	Audience string   // of callers' tokens
	Issuers  []string // that are taken, for clients to know
	Version  string   // of the program
	Hosts    []string // GitHub's, as origins: https://github.com

	// Names are the hosts that a request may be for. None: that of the audience, and this
	// machine's own names. They keep out pages in a browser whose host's name leads here.
	Names []string
	// Proxies are those before us. Where there are any, a request from elsewhere is refused, and
	// the last address in X-Forwarded-For that is none of theirs is the caller's.
	Proxies []netip.Prefix

	Limits Limits
	// Log is told of panics and of what the network does. Nil: nothing is logged.
	Log *slog.Logger
}

// Door answers callers. Make one with [New]; it is safe for concurrent use.
type Door struct {
	config    Config
	names     map[string]bool
	limits    *limits
	log       *slog.Logger
	mux       *http.ServeMux
	wellKnown []byte
}

// New makes a Door.
func New(c Config) (*Door, error) {
	d := &Door{config: c, limits: newLimits(c.Limits), log: c.Log, names: map[string]bool{}}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if c.Verifier == nil || c.Exchanger == nil || c.Audience == "" || len(c.Hosts) == 0 {
		return nil, errors.New("door: there is nobody to ask, or nothing to answer for")
	}
	for _, host := range c.Hosts {
		if u, err := url.Parse(host); err != nil || u.Scheme+"://"+u.Host != host {
			return nil, fmt.Errorf("door: %q is not of the form https://host", host)
		}
	}
	names := c.Names
	if len(names) == 0 {
		names = []string{"localhost", "127.0.0.1", "::1"}
		if u, err := url.Parse(c.Audience); err == nil && u.Hostname() != "" {
			names = append(names, u.Hostname())
		}
	}
	for _, name := range names {
		d.names[strings.ToLower(name)] = true
	}
	d.wellKnown = wellKnown(c)
	d.mux = http.NewServeMux()
	d.mux.HandleFunc("POST /token", d.serveToken)
	d.mux.HandleFunc("POST /git-credentials", d.serveGit)
	d.mux.HandleFunc("GET /.well-known/ghapp", d.serveWellKnown)
	return d, nil
}

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{door: d, id: rand.Text(), began: time.Now()}
	defer v.recover(w)
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	var why *problem
	if v.address, why = d.admit(r); why != nil {
		why.write(w, v.id)
		return
	}
	if wait := d.limits.address(v.address); wait > 0 {
		slowDown(wait).write(w, v.id)
		return
	}
	d.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
}

// visit is one request under way.
type visit struct {
	door    *Door
	id      string
	began   time.Time
	address netip.Addr
}

type visitKey struct{}

func visitOf(r *http.Request) *visit { return r.Context().Value(visitKey{}).(*visit) }

// recover answers a panic, and logs where it was. What the panic says may have a secret in it.
func (v *visit) recover(w http.ResponseWriter) {
	what := recover()
	if what == nil {
		return
	}
	if err, ok := what.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(what)
	}
	v.door.log.Error("a request ended in a panic", "id", v.id, "type", fmt.Sprintf("%T", what),
		"stack", string(debug.Stack()))
	failed.write(w, v.id)
}
