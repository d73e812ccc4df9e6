package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/page"
)

// Status is what is told at the status address. None may be nil.
type Status struct {
	// Page is what a person is shown at /.
	Page func(context.Context) (page.Page, error)
	// Metrics are what is served at /metrics besides those of the process, as Prometheus reads it.
	Metrics func() []byte
	// Alive reports whether the work's loop answers within the time of ctx, for /healthz.
	Alive func(ctx context.Context) bool
	// Unready is why /readyz is to say no; "": it is ready.
	Unready func() string
}

// servers are those of a process.
type servers struct {
	webhook, status string // their addresses; "" is none
	list            []*http.Server
	failed          chan error
}

// Serve begins to answer, or says why it cannot. It returns the addresses, which have the ports
// that were had where any was wanted; "" is none.
func (d *Daemon) Serve(ctx context.Context, status Status) (webhook, ofStatus string, err error) {
	muxes := map[string]*http.ServeMux{}
	mux := func(address string) *http.ServeMux {
		if muxes[address] == nil {
			muxes[address] = http.NewServeMux()
		}
		return muxes[address]
	}
	if d.Webhook != "" {
		mux(d.Webhook).HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { d.webhook.Load().ServeHTTP(w, r) })
	}
	if d.Status != "" {
		d.handleStatus(mux(d.Status), status)
	}
	for address, m := range muxes {
		if err := d.listen(ctx, address, m); err != nil {
			d.servers.close()
			return "", "", err
		}
	}
	return d.servers.webhook, d.servers.status, nil
}

// listen has requests to an address answered.
func (d *Daemon) listen(ctx context.Context, address string, h http.Handler) error {
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", address)
	if err != nil {
		return cannotListen(address, err)
	}
	s := d.servers
	if address == d.Webhook {
		s.webhook = listener.Addr().String()
	}
	if address == d.Status {
		s.status = listener.Addr().String()
	}
	server := hook.NewServer(h, d.Log)
	s.list = append(s.list, server)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()
	return nil
}

// handleStatus has requests to the status address answered.
func (d *Daemon) handleStatus(m *http.ServeMux, status Status) {
	ours := d.statusNames()
	handle := func(pattern string, h http.Handler) { m.Handle(pattern, hook.OnlyTo(ours, h)) }
	handle("GET /{$}", page.Handler(status.Page))
	handle("GET /healthz", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		if !status.Alive(ctx) {
			http.Error(w, "the loop does not answer", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}))
	handle("GET /readyz", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if why := status.Unready(); why != "" {
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}))
	handle("GET /metrics", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(append(status.Metrics(), d.Counters.exposition()...))
	}))
}

// statusNames are the names by which the status may be asked.
func (d *Daemon) statusNames() []string {
	names := slices.Clone(d.StatusHosts)
	if host, _, err := net.SplitHostPort(d.Status); err == nil && host != "" {
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
