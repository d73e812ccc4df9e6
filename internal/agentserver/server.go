// Package agentserver is what `ghapp agent` runs: it answers the credential helpers of all
// git processes of a user, from keys that it has opened once and tokens that it renews
// before they are needed, and follows a configuration that changes.
package agentserver

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/secret"
)

// grace is how long an agent that ends lets the exchanges that run finish.
const grace = 5 * time.Second

// Server answers, counts, and changes its configuration. [New] makes one.
type Server struct {
	options  Options
	opener   *apps.Opener // of which each reading of the configuration is a fresh one
	since    time.Time
	listener *agent.Listener // once it runs
	stop     func()          // ends Run

	path        string                      // of the config file; empty: there is no place for one
	now         atomic.Pointer[configured]  // the configuration in use
	file        atomic.Pointer[fs.FileInfo] // as it was when it was read last, with or without success
	configuring sync.Mutex
	mu          sync.Mutex
	reading     *reading // nil: none is going on

	answered, refused, others, erased, minted atomic.Int64
}

// Options are what a [Server] is told. The zero value is usable.
type Options struct {
	// Version is the program's, for the status.
	Version string
	// Notify tells the service manager of a state (sd_notify(3)). Nil: nobody is told.
	Notify func(state string)
}

// New makes a Server, and reads the configuration. It fails where no App of it can be
// opened; one of several that cannot be is logged, and tried again when it is needed.
func New(ctx context.Context, o *apps.Opener, options Options) (*Server, error) {
	if options.Notify == nil {
		options.Notify = func(string) {}
	}
	s := &Server{options: options, since: time.Now()}
	s.opener = o.With(func(o *apps.Options) {
		o.Observe = s.countMints
		o.RefusalLife = apps.GitRefusalLife
	})
	if path, err := config.Path(o.ConfigOptions()); err == nil {
		s.path = path.Text // else the configuration cannot be read either
	}
	if err := s.configure(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends what goes on by itself. It may be called once Run has ended.
func (s *Server) Close() { s.now.Load().close() }

// Run answers on the listener until ctx ends, or somebody asks it to stop; what runs then
// has five seconds. For each signal on reload the configuration is read anew.
func (s *Server) Run(ctx context.Context, listener *agent.Listener, reload <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.listener, s.stop = listener, stop
	// What runs outlives the signal to end, by its grace.
	exchanges, breakOff := context.WithCancel(context.WithoutCancel(ctx))
	defer breakOff()
	served := make(chan error, 1)
	go func() { served <- agent.Serve(exchanges, listener, s) }()
	s.options.Notify("READY=1")
	for {
		select {
		case <-reload:
			s.reload(ctx)
		case <-ctx.Done():
			s.options.Notify("STOPPING=1")
			grace := time.AfterFunc(grace, breakOff)
			defer grace.Stop()
			return errors.Join(listener.Close(), <-served)
		case err := <-served:
			return err
		}
	}
}

// reload reads the configuration anew, since somebody wishes it.
func (s *Server) reload(ctx context.Context) {
	s.options.Notify("RELOADING=1")
	err := s.configure(ctx)
	if ctx.Err() != nil {
		return // the end came meanwhile, and is no fault of the configuration
	}
	if err != nil {
		s.opener.Log.Error("the configuration is used on as it was", "error", err)
	} else {
		s.opener.Tell("The configuration was read anew.")
	}
	s.options.Notify("READY=1")
}

// Credential implements [agent.Handler].
func (s *Server) Credential(ctx context.Context, op credential.Operation,
	asked *credential.Credential) (*credential.Credential, error) {
	s.follow(ctx)
	answer, err := s.now.Load().answer(ctx, op, asked)
	switch {
	case errors.Is(err, gitauth.ErrNotOurs):
		s.others.Add(1)
		return nil, nil
	case ctx.Err() != nil: // nobody listens to the answer
		return nil, err
	case err != nil:
		s.refused.Add(1)
		return nil, diag.OneLine(err)
	case op == credential.Erase:
		s.erased.Add(1)
	case answer != nil:
		s.answered.Add(1)
	}
	return answer, nil
}

// Stop implements [agent.Controller].
func (s *Server) Stop(context.Context) error {
	err := s.listener.Close()
	s.stop()
	return err
}

// Forget implements [agent.Controller].
func (s *Server) Forget(ctx context.Context, token secret.Text) error {
	return s.now.Load().forget(ctx, token)
}
