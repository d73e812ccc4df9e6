// Package status tells how ghapp-server gets on: a monitoring system by /metrics, those who start
// and end it by /healthz and /readyz, and a person by a page.
//
// Who can connect to its address sees numbers, the names of rules, and what is not as it should
// be. Who asked and why there was no token is shown at /refusals alone, to who has the token of the
// status and asks from this machine, by ssh -L or kubectl port-forward for one: so the token crosses
// no network in the open. Without such a token it is shown to nobody.
package status

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
)

// Engine is what several servers share.
type Engine interface {
	Status() engine.Status
	// Ready returns why another of its servers may not be stopped: a copy is not current.
	Ready(ctx context.Context) error
	// Budgets are those of the installations that this server has got tokens of.
	Budgets(ctx context.Context) []engine.InstallationBudget
}

// Server is one that is watched.
type Server struct {
	Version string
	Records *Records            // required
	Audit   func() audit.Status // required
	Engine  Engine              // required
	// Policy returns why the file of the policy cannot be used; the one before is in force. Required.
	Policy func() error
	// Apps returns why no App can be opened. Nil: they were all opened at the start.
	Apps func(ctx context.Context) error
	// Token is what is needed to see refusals. Empty: nobody sees them.
	Token secret.Text
	// Hosts are more names by which it may be asked than localhost, this machine's and addresses.
	Hosts []string
	Log   *slog.Logger // nil: nothing is logged
}

// minToken is the length of the shortest token that is taken.
const minToken = 20

// Handler answers. The error says that the token is none.
func (s *Server) Handler() (http.Handler, error) {
	if n := len(s.Token.Reveal()); n > 0 && n < minToken {
		return nil, fmt.Errorf("the token of the status has %d characters, and %d are needed", n, minToken)
	}
	names := slices.Clone(s.Hosts)
	if name, err := os.Hostname(); err == nil && name != "" {
		names = append(names, name)
	}
	mux := http.NewServeMux()
	handle := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, hook.OnlyTo(names, h)) }
	handle("GET /{$}", page.Handler(func(ctx context.Context) (page.Page, error) { return s.page(ctx), nil }).ServeHTTP)
	handle("GET /refusals", s.handleRefusals)
	handle("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	handle("GET /readyz", s.handleReady)
	handle("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(s.exposition(r.Context()))
	})
	return mux, nil
}

// Serve answers at a listener until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h, err := s.Handler()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := hook.NewServer(h, s.Log)
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// checks looks at everything that is needed to hand out tokens.
func (s *Server) checks(ctx context.Context) []page.Check {
	why := func(err error) string {
		if err == nil {
			return ""
		}
		return text.Shorten(text.OneLine(err.Error()), maxText)
	}
	policy := page.Check{Name: "policy", Ready: true}
	if s.Policy() != nil { // its lines are not for everybody who can connect
		policy.Trouble = "its file cannot be used, and the one before is in force; the log says why"
	}
	shared := page.Check{Name: "engine", Trouble: why(s.Engine.Ready(ctx)), Ready: true}
	apps := page.Check{Name: "Apps"}
	if s.Apps != nil {
		apps.Trouble = why(s.Apps(ctx))
	}
	return []page.Check{{Name: "audit", Trouble: why(s.Audit().Err)}, policy, shared, apps}
}

// checkTime is what everything that is needed has to be looked at in.
const checkTime = 3 * time.Second

// handleReady says whether this server hands out tokens. It does so without the engine, and where every
// server went out of service as soon as the engine is away, nobody would get any. Who wants to know
// whether everything is well, as before the next part of it is stopped, asks for /readyz?all.
func (s *Server) handleReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	all := r.URL.Query().Has("all")
	var why []string
	for _, c := range s.checks(ctx) {
		if c.Trouble != "" && (all || !c.Ready) {
			why = append(why, c.Name+": "+c.Trouble)
		}
	}
	if len(why) > 0 {
		http.Error(w, strings.Join(why, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// page is what everybody sees who can connect.
func (s *Server) page(ctx context.Context) page.Server {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	r := s.Records
	p := page.Server{
		Version: s.Version, Checks: s.checks(ctx), LastMinute: r.lastMinute.sum(),
		Shared: r.shared.Counts(), Minted: r.minted.Counts(), Refused: r.refused.Counts(), Failed: r.failed.Counts(),
		Servers: s.Engine.Status().Replicas,
	}
	for _, b := range s.Engine.Budgets(ctx) {
		p.Budgets = append(p.Budgets, page.InstallationBudget{
			App: b.App, Installation: b.Installation, Limit: int64(b.Limit), Left: int64(b.Remaining), Reset: b.Reset,
		})
	}
	if !s.Token.IsZero() {
		p.RefusalsAt = "refusals"
	}
	return p
}

func (s *Server) handleRefusals(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.Token.IsZero():
		http.NotFound(w, r)
	case !fromHere(r):
		http.Error(w, "this is told on this machine alone: by ssh -L, or kubectl port-forward", http.StatusForbidden)
	case !s.mayRead(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="the token of the status, as the password", charset="UTF-8"`)
		http.Error(w, "give the token of the status as the password, with any name", http.StatusUnauthorized)
	default:
		page.Handler(func(ctx context.Context) (page.Page, error) {
			p := s.page(ctx)
			p.Refusals = s.Records.last()
			return p, nil
		}).ServeHTTP(w, r)
	}
}

// fromHere reports whether a request came from this machine, and was not handed on by a proxy.
func fromHere(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	forwarded := r.Header.Get("Forwarded") + r.Header.Get("X-Forwarded-For")
	return err == nil && peer.Addr().Unmap().IsLoopback() && forwarded == ""
}

// mayRead reports whether a request has the token, in a time that tells nothing of it.
func (s *Server) mayRead(r *http.Request) bool {
	_, given, ok := r.BasicAuth()
	if !ok {
		given, ok = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	got, want := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s.Token.Reveal()))
	return ok && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
