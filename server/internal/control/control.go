// Package control is how an operator gives orders to a ghapp-server that runs: by a socket of this
// machine that only its own user reaches. What one replica is told, all know by the engine.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
)

// Orders are given and taken back; an [engine.Engine] is one.
type Orders interface {
	Give(ctx context.Context, t engine.Target, revoke bool, reason string) (engine.Order, error)
	TakeBack(ctx context.Context, id string) error
	Orders() []engine.Order
}

// Audit keeps records.
type Audit interface {
	Append(ctx context.Context, r audit.Record) error
}

// Server answers operators.
type Server struct {
	Orders Orders       // Required.
	Audit  Audit        // Required.
	Log    *slog.Logger // Nil: nothing is logged.
}

// Answer is what an operator is told.
type Answer struct {
	Orders []engine.Order `json:"orders"`
	// Warning is what did not go as it should, although the order holds.
	Warning string `json:"warning,omitempty"`
	// Error is why nothing was done.
	Error string `json:"error,omitempty"`
}

// request is an order that is to be given.
type request struct {
	Target engine.Target `json:"target"`
	Revoke bool          `json:"revoke"`
	Reason string        `json:"reason"`
}

const (
	maxRequest = 16 << 10
	maxAnswer  = 4 << 20
	answerTime = time.Minute // in which tokens are revoked
	lastWords  = 5 * time.Second
)

// Serve listens at a path and answers until ctx ends. Its directory is made with mode 0700.
func (s *Server) Serve(ctx context.Context, path string) error {
	l, err := agent.ListenAt(path)
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	server := &http.Server{
		Handler: s.handler(), ReadTimeout: lastWords, WriteTimeout: answerTime, MaxHeaderBytes: maxRequest,
		ErrorLog: slog.NewLogLogger(s.log().Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		_ = server.Shutdown(ending)
	})
	defer stop()
	err = server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errors.Join(err, l.Close())
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, Answer{Orders: s.Orders.Orders()})
	})
	mux.HandleFunc("POST /orders", s.give)
	mux.HandleFunc("DELETE /orders/{id}", s.takeBack)
	return mux
}

func answer(w http.ResponseWriter, status int, a Answer) {
	if a.Orders == nil {
		a.Orders = []engine.Order{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(a)
}

// give gives an order first, and records it then: a door that is to be shut does not wait for the audit.
func (s *Server) give(w http.ResponseWriter, r *http.Request) {
	var asked request
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		answer(w, http.StatusBadRequest, Answer{Error: "the order cannot be read"})
		return
	}
	// Tokens are ended although whoever has ordered it may not wait.
	order, err := s.Orders.Give(context.WithoutCancel(r.Context()), asked.Target, asked.Revoke, asked.Reason)
	if order.ID == "" {
		answer(w, http.StatusBadRequest, Answer{Error: err.Error()})
		return
	}
	verb := "suspend"
	if order.Revoke {
		verb = "revoke"
	}
	err = errors.Join(err, s.note(r.Context(), order.ID, verb+" "+order.Target.String()+": "+order.Reason))
	a := Answer{Orders: []engine.Order{order}}
	if err != nil {
		a.Warning = err.Error()
	}
	answer(w, http.StatusOK, a)
}

func (s *Server) takeBack(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	err := s.Orders.TakeBack(r.Context(), id)
	if errors.Is(err, engine.ErrNoOrder) {
		answer(w, http.StatusNotFound, Answer{Error: err.Error()})
		return
	}
	a := Answer{}
	if err = errors.Join(err, s.note(r.Context(), id, "resume")); err != nil {
		a.Warning = err.Error()
	}
	answer(w, http.StatusOK, a)
}

// note records what an operator has ordered.
func (s *Server) note(ctx context.Context, id, what string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := s.Audit.Append(ctx, audit.Record{Event: audit.Ordered, ID: id, Reason: what}); err != nil {
		s.log().Error("an order is not in the audit", "order", id, "error", err)
		return fmt.Errorf("the order is not in the audit: %w", err)
	}
	return nil
}

// Client gives orders to the server behind a socket.
type Client struct{ Path string }

// Give gives an order.
func (c Client) Give(ctx context.Context, t engine.Target, revoke bool, reason string) (Answer, error) {
	body, err := json.Marshal(request{t, revoke, reason})
	if err != nil {
		return Answer{}, err
	}
	return c.do(ctx, http.MethodPost, "/orders", body)
}

// TakeBack takes an order back.
func (c Client) TakeBack(ctx context.Context, id string) (Answer, error) {
	return c.do(ctx, http.MethodDelete, "/orders/"+id, nil)
}

// Orders are those that hold.
func (c Client) Orders(ctx context.Context) (Answer, error) {
	return c.do(ctx, http.MethodGet, "/orders", nil)
}

func (c Client) do(ctx context.Context, method, path string, body []byte) (a Answer, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://ghapp-server"+path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", c.Path)
	}}
	defer transport.CloseIdleConnections()
	answered, err := transport.RoundTrip(req)
	if err != nil {
		return a, c.explain(err)
	}
	defer answered.Body.Close()
	if err := json.NewDecoder(io.LimitReader(answered.Body, maxAnswer)).Decode(&a); err != nil {
		return a, fmt.Errorf("the server at %s answers what is none: %w", c.Path, err)
	}
	if a.Error != "" {
		return a, errors.New(text.OneLine(a.Error))
	}
	return a, nil
}

// explain says who has to do what where the server cannot be reached.
func (c Client) explain(err error) error {
	hint := ""
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		hint = "start it, or name its settings with --config: control: there says where it listens"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		hint = "give the order as the user that ghapp-server runs as"
	}
	return &fault.ExitError{
		Code: fault.Unreachable, Err: fmt.Errorf("no ghapp-server takes orders at %s: %w", c.Path, err), Hint: hint,
	}
}
