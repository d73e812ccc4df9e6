// Package serve is ghapp-server while it runs: the door, what stands behind it, and what tells
// how it gets on.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/control"
	"github.com/ghapp-dev/ghapp/server/internal/door"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
	"github.com/ghapp-dev/ghapp/server/internal/settings"
	"github.com/ghapp-dev/ghapp/server/internal/status"
)

// Options are what a server has of the process around it.
type Options struct {
	Settings *settings.Settings
	Environ  []string  // as os.Environ
	Stdout   io.Writer // for an audit that goes there
	Version  string
	// Log is told of what is not as it should be, and of changes. Required.
	Log *slog.Logger
	// Observe wraps what sends requests to GitHub. Nil: nobody looks on.
	Observe func(http.RoundTripper) http.RoundTripper
	// Listening is told the address of the door, once it can be connected to. Nil: nobody is.
	Listening func(net.Addr)
}

// server is everything that runs.
type server struct {
	Options
	verifier *caller.Verifier
	policy   *followed
	audit    *audit.Log
	records  *status.Records // what comes to the audit, counted
	engine   *engine.Engine
	exchange *exchange.Exchange
	hosts    []string
}

// Run serves until ctx ends.
func Run(ctx context.Context, o Options) (err error) {
	s := &server{Options: o, records: &status.Records{}}
	for _, open := range []func(context.Context) error{
		s.openVerifier, s.openPolicy, s.openEngine, s.openApps, s.openAudit,
	} {
		if err := open(ctx); err != nil {
			return errors.Join(err, s.close())
		}
	}
	err = s.serve(ctx)
	return errors.Join(err, s.close())
}

func (s *server) openVerifier(context.Context) (err error) {
	s.verifier, err = caller.New(caller.Config{
		Audience: s.Settings.Audience, Issuers: s.Settings.Issuers, TrustDomains: s.Settings.TrustDomains,
	})
	if err != nil {
		return &fault.SettingError{Err: err}
	}
	return nil
}

func (s *server) openPolicy(context.Context) (err error) {
	s.policy, err = follow(s.Settings.Policy, s.Settings.Audience, s.Log)
	return err
}

func (s *server) openEngine(ctx context.Context) error {
	n := s.Settings.NATS
	options := engine.Options{URL: n.URL, Credentials: n.Credentials, Log: s.Log}
	if n.URL != "" {
		var err error
		if options.TLS, err = natsTLS(n); err != nil {
			return err
		}
		if options.SealKeys, err = engine.ReadSealKeys(n.SealKey); err != nil {
			return err
		}
	}
	opened, err := engine.Open(ctx, options)
	if err != nil {
		return err
	}
	s.engine = opened
	if err := s.engine.Announce(ctx, s.policy.Get().Generation()); err != nil {
		s.Log.Warn("the other servers are not told which policy is here", "error", err)
	}
	return nil
}

// callerLimit is how many tokens an identity may have in a minute, of all servers together.
const callerLimit = 1200

// openApps opens the keys of all Apps, so that one that cannot be used is told at the start.
func (s *server) openApps(ctx context.Context) error {
	options := apps.Options{
		Environ: s.Environ, UserAgent: "ghapp-server/" + s.Version, Log: s.Log, Configuration: s.Settings.Apps,
		NoCache: true, Observe: s.observe,
		Tell: func(format string, args ...any) { s.Log.Info(fmt.Sprintf(format, args...)) },
	}
	opened, err := apps.New(options).All(ctx)
	if err != nil {
		return err
	}
	for _, app := range opened {
		if origin := app.Current().App.Status().Origin; !slices.Contains(s.hosts, origin) {
			s.hosts = append(s.hosts, origin)
		}
	}
	s.exchange = &exchange.Exchange{
		Policy: s.policy.Get,
		Apps: &exchange.Apps{
			Options: options,
			Store:   func(generation string) ghapp.Store { return s.engine.Store(generation) },
		},
		AuditedClaims: s.Settings.Audit.Claims,
		Once:          s.engine, Orders: s.engine, Ledger: s.engine,
		Budget: engine.Callers{Engine: s.engine, PerMinute: callerLimit},
		Log:    s.Log,
	}
	return nil
}

// observe has the engine count what is asked of GitHub.
func (s *server) observe(base http.RoundTripper) http.RoundTripper {
	if s.Observe != nil {
		base = s.Observe(base)
	}
	return s.engine.Transport(s.records.Observe(base))
}

func (s *server) openAudit(ctx context.Context) error {
	a := s.Settings.Audit
	options := audit.Options{File: a.File, Syslog: a.Syslog, Log: s.Log}
	if a.Stdout {
		options.Writer = s.Stdout
	}
	if a.Receiver != "" {
		options.Receiver = &audit.Receiver{URL: a.Receiver}
		if a.BearerFile != "" {
			bearer, err := readSecret(a.BearerFile)
			if err != nil {
				return err
			}
			options.Receiver.Bearer = bearer
		}
	}
	log, err := audit.Open(ctx, options)
	if err != nil {
		return err
	}
	s.audit, s.records.Audit = log, log
	s.exchange.Audit = s.records
	s.engine.OnRevoke(func(ctx context.Context, token secret.Text, u engine.Use) error {
		record := audit.Record{
			Rule: u.Rule, Installation: u.Installation,
			Granted: &audit.Scope{Owner: u.Owner, Repositories: u.Repositories, All: u.All},
		}
		record.Issuer, record.Subject, _ = strings.Cut(u.Identity, " ")
		return s.exchange.End(ctx, token, u.Owner, record)
	})
	return nil
}

// serve runs until ctx ends, or one part of it fails.
func (s *server) serve(ctx context.Context) error {
	front, err := door.New(door.Config{
		Verifier: s.verifier, Exchanger: s.exchange, Refusals: refusals{s.records, s.Log},
		Audience: s.Settings.Audience, Issuers: s.issuers(), Version: s.Version, Hosts: s.hosts,
		Proxies: s.Settings.TLS.Proxies, Log: s.Log,
	})
	if err != nil {
		return err
	}
	var tlsConfig *tls.Config
	if t := s.Settings.TLS; t.Certificate != "" {
		if tlsConfig, err = door.TLS(t.Certificate, t.Key, s.verifier.TakesCertificates()); err != nil {
			return &fault.SettingError{Err: fmt.Errorf("the certificate of the door: %w", err)}
		}
	}
	listener, err := s.listen(ctx)
	if err != nil {
		return err
	}
	// The door first: what has come through it is still answered, counted and recorded.
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return front.Serve(ctx, listener, tlsConfig) })
	orders := &control.Server{Orders: s.engine, Audit: s.records, Log: s.Log}
	group.Go(func() error { return orders.Serve(ctx, s.Settings.Control) })
	group.Go(func() error { return s.serveStatus(ctx) })
	group.Go(func() error { return s.watch(ctx) })
	s.Log.Info("ready", "door", s.Settings.Listen)
	if s.Listening != nil {
		s.Listening(listener.Addr())
	}
	if err := agent.Notify(childenv.Lookup(s.Environ), "READY=1"); err != nil {
		s.Log.Warn("the service manager is not told", "error", err)
	}
	return group.Wait()
}

// issuers are those that a client may come from.
func (s *server) issuers() []string {
	var list []string
	for _, issuer := range s.Settings.Issuers {
		list = append(list, issuer.URL)
	}
	for _, domain := range s.Settings.TrustDomains {
		list = append(list, "spiffe://"+domain.Name)
	}
	return list
}

// serveStatus tells how the server gets on, until ctx ends.
func (s *server) serveStatus(ctx context.Context) error {
	if s.Settings.Status == "" {
		return nil
	}
	told := &status.Server{
		Version: s.Version, Records: s.records, Audit: s.audit.Status, Engine: s.engine, Policy: s.policy.Err, Log: s.Log,
	}
	if path := s.Settings.StatusToken; path != "" {
		var err error
		if told.Token, err = readSecret(path); err != nil {
			return err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Settings.Status)
	if err != nil {
		return &fault.SettingError{Err: fmt.Errorf("listen at %s: %w", s.Settings.Status, err)}
	}
	s.Log.Info("the status is told", "at", "http://"+l.Addr().String()+"/")
	return told.Serve(ctx, l)
}

func (s *server) listen(ctx context.Context) (net.Listener, error) {
	const socketMode = 0o660 // for those whom its directory lets in
	if path, ok := strings.CutPrefix(s.Settings.Listen, "unix:"); ok {
		return door.ListenUnix(path, socketMode)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Settings.Listen)
	if err != nil {
		return nil, &fault.SettingError{Err: fmt.Errorf("listen at %s: %w", s.Settings.Listen, err)}
	}
	return l, nil
}

// watch follows the policy, and opens the audit anew when asked to by SIGHUP.
func (s *server) watch(ctx context.Context) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	defer signal.Stop(asked)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			if err := s.audit.Reopen(); err != nil {
				s.Log.Error("the audit cannot be opened anew", "error", err)
			}
		case <-tick.C:
		}
		if s.policy.look() {
			if err := s.engine.Announce(ctx, s.policy.Get().Generation()); err != nil {
				s.Log.Warn("the other servers are not told of the policy", "error", err)
			}
		}
	}
}

// endTime is what tokens that are to be revoked have in the end.
const endTime = 10 * time.Second

func (s *server) close() error {
	ctx, stop := context.WithTimeout(context.Background(), endTime)
	defer stop()
	var err error
	if s.exchange != nil {
		s.exchange.Close(ctx)
	}
	if s.audit != nil {
		err = s.audit.Close()
	}
	if s.engine != nil {
		s.engine.Close()
	}
	return err
}

// refusals has what the door refuses by itself recorded.
type refusals struct {
	audit exchange.Audit
	log   *slog.Logger
}

// Refused implements [door.Refusals].
func (r refusals) Refused(ctx context.Context, refusal door.Refusal) {
	record := audit.Record{
		Event: audit.Refused, ID: refusal.ID, Address: refusal.Address.String(), Reason: refusal.Reason,
	}
	if err := r.audit.Append(ctx, record); err != nil {
		r.log.Error("a refusal is not in the audit", "id", refusal.ID, "error", err)
	}
}
