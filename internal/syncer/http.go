//go:build unix

package syncer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/page"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// webhooks answers GitHub's webhook and POST /sync, with the secrets that their files have
// by now.
type webhooks struct {
	service *service
	now     atomic.Pointer[hook.Handler]
}

// newWebhooks reads the secrets.
func (w *service) newWebhooks(ctx context.Context) (*webhooks, error) {
	h := &webhooks{service: w}
	handler, err := h.handler(ctx)
	if err != nil {
		return nil, err
	}
	h.now.Store(handler)
	return h, nil
}

// handler reads the secrets, and is nil where nobody is to be answered.
func (h *webhooks) handler(ctx context.Context) (*hook.Handler, error) {
	w := h.service
	if w.Process.Webhook == "" {
		return nil, nil
	}
	webhook, err := w.secrets(w.Process.WebhookSecretFiles, "GHAPP_WEBHOOK_SECRET")
	if err != nil {
		return nil, err
	}
	requests, err := w.secrets(w.Process.SyncSecretFiles, "GHAPP_SYNC_SECRET")
	if err != nil {
		return nil, err
	}
	if len(webhook) == 0 && len(requests) == 0 {
		return nil, &fault.SettingError{
			Err: errors.New("--webhook has no secret, and would believe everybody"),
			Hint: "openssl rand -hex 32 > FILE, give that with --webhook-secret-file, " +
				"and enter the same text as the webhook's secret at GitHub",
		}
	}
	return &hook.Handler{
		Secrets: webhook, SyncSecrets: requests, Log: w.log, OnAnswer: w.metrics.onAnswer,
		OnPush: func(p hook.Push, done func(error)) bool { return w.now.Load().onPush(ctx, p, done) },
		OnSync: func(names []string, all bool, done func(error)) []string {
			return w.now.Load().onRequest(ctx, names, all, done)
		},
	}, nil
}

// ServeHTTP implements [http.Handler].
func (h *webhooks) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.now.Load().ServeHTTP(w, r) }

// onPush has those directories brought up to date that follow a ref, and reports whether
// there are any.
func (s *Syncer) onPush(ctx context.Context, p hook.Push, done func(error)) bool {
	var list []*watch.Target
	for target, d := range s.of {
		r := d.currentName()
		_, host, _ := strings.Cut(d.asker.Origin, "://")
		here := strings.EqualFold(r.String(), p.Repository.String()) && strings.EqualFold(p.Repository.Host, host)
		if here && d.revision.Matches(p.Ref) {
			list = append(list, target)
		}
	}
	if len(list) == 0 {
		return false
	}
	s.trigger(ctx, list, done)
	return true
}

// onRequest has the named directories brought up to date, and returns the names that none
// has.
func (s *Syncer) onRequest(ctx context.Context, names []string, all bool, done func(error)) (unknown []string) {
	list := s.watcher.All()
	if !all {
		list = nil
		for _, name := range names {
			if t := s.watcher.Find(name); t != nil {
				list = append(list, t)
			} else {
				unknown = append(unknown, name)
			}
		}
	}
	if len(unknown) == 0 {
		s.trigger(ctx, list, done)
	}
	return unknown
}

// trigger asks for passes, and calls done once, when all have ended.
func (s *Syncer) trigger(ctx context.Context, list []*watch.Target, done func(error)) {
	var mu sync.Mutex
	var failed []error
	left := len(list)
	for _, t := range list {
		s.watcher.Trigger(ctx, t, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
			if left--; left == 0 {
				done(errors.Join(failed...))
			}
		})
	}
}

// servers are those of a process that watches.
type servers struct {
	webhook, status string // their addresses; "" is none
	list            []*http.Server
	failed          chan error
}

// serve begins to answer, or says why it cannot.
func (w *service) serve(ctx context.Context) (*servers, error) {
	s, o := &servers{failed: make(chan error, 2)}, w.Process
	muxes := map[string]*http.ServeMux{}
	mux := func(address string) *http.ServeMux {
		if muxes[address] == nil {
			muxes[address] = http.NewServeMux()
		}
		return muxes[address]
	}
	if o.Webhook != "" {
		mux(o.Webhook).Handle("/", w.hook)
	}
	if o.Status != "" {
		m := mux(o.Status)
		ours := w.statusNames()
		m.Handle("GET /{$}", hook.OnlyTo(ours, page.Handler(w.page)))
		m.Handle("GET /healthz", hook.OnlyTo(ours, http.HandlerFunc(w.healthz)))
		m.Handle("GET /readyz", hook.OnlyTo(ours, http.HandlerFunc(w.readyz)))
		m.Handle("GET /metrics", hook.OnlyTo(ours, http.HandlerFunc(w.metrics.serveHTTP)))
	}
	for address, m := range muxes {
		var listening net.ListenConfig
		listener, err := listening.Listen(ctx, "tcp", address)
		if err != nil {
			s.close()
			return nil, cannotListen(address, err)
		}
		if address == o.Webhook {
			s.webhook = listener.Addr().String()
		}
		if address == o.Status {
			s.status = listener.Addr().String()
		}
		server := hook.NewServer(m, w.log)
		s.list = append(s.list, server)
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- err
			}
		}()
	}
	return s, nil
}

// statusNames are the names by which the status may be asked.
func (w *service) statusNames() []string {
	names := slices.Clone(w.Process.StatusHosts)
	if host, _, err := net.SplitHostPort(w.Process.Status); err == nil && host != "" {
		names = append(names, host)
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		names = append(names, name)
	}
	return names
}

func (s *servers) close() {
	for _, server := range s.list {
		_ = server.Close()
	}
}

// healthz answers 200 while the loop does.
func (w *service) healthz(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	if !w.watcher.Alive(ctx) {
		http.Error(rw, "the loop does not answer", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(rw, "ok")
}

// cannotListen is the error of an address that cannot be listened at. One that is taken, or
// that this machine has not got yet, can be had later: a service manager may try again.
func cannotListen(address string, err error) error {
	failed := fmt.Errorf("listen at %s: %w", address, err)
	const hint = "give an address such as 127.0.0.1:8080 or :8080 that is free"
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
		return &fault.ExitError{Code: fault.Unreachable, Err: failed, Hint: hint}
	}
	return &fault.SettingError{Err: failed, Hint: hint}
}

// readyz answers 200 once every directory shows something. That it is old is no reason
// to take it away from those who use it.
func (w *service) readyz(rw http.ResponseWriter, _ *http.Request) {
	if names := w.now.Load().unready(); len(names) > 0 {
		http.Error(rw, "nothing is published yet: "+strings.Join(names, ", "), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(rw, "ok")
}
