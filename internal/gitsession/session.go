// Package gitsession runs git that asks this process for its credentials: for a clone, for
// a pass of sync, for the proof of a new App, and for whatever a command of the user's
// starts. git finds the credential helper by name and this process by a socket, both for as
// long as the process runs; what is to stay in git's configuration is named here too.
package gitsession

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// Session is a socket on which this process answers git. [Listen] makes one.
type Session struct {
	// Tokens are those that git was given, which are kept out of what it prints.
	Tokens   *scrub.Scrubber
	opener   *apps.Opener
	listener *agent.Listener
}

// Listen makes a Session with a socket that only this user can reach.
func Listen(o *apps.Opener) (*Session, error) {
	dir, _ := o.LookupEnv("XDG_RUNTIME_DIR")
	listener, err := agent.Listen(dir, os.TempDir())
	if err != nil {
		return nil, err
	}
	return &Session{Tokens: scrub.New(), opener: o, listener: listener}, nil
}

// Close takes the socket away. It may be called twice.
func (s *Session) Close() error { return s.listener.Close() }

// Output is where git prints to. Of the zero value nothing is shown.
type Output struct {
	Stdout, Stderr io.Writer
	Progress       bool // git reports its progress; see [gitcmd.Runner]
}

// Git runs git that finds this Session in its environment, and has tokens taken out of what
// it prints.
func (s *Session) Git(to Output) *gitcmd.Runner {
	return &gitcmd.Runner{
		Environ:  s.environ(),
		Own:      s.opener.Own(),
		Stdout:   to.Stdout,
		Stderr:   to.Stderr,
		Progress: to.Progress,
		Filter:   func(w io.Writer) io.Writer { return s.Tokens.Writer(w) },
	}
}

func (s *Session) environ() []string {
	environ := s.opener.Environ
	return append(environ[:len(environ):len(environ)], "GHAPP_AGENT_SOCK="+s.listener.Path())
}

// Serve answers git by h while work runs, and closes the Session. A question that is still
// open then is one of a helper whose git is gone.
func (s *Session) Serve(ctx context.Context, h agent.Handler, work func() error) error {
	asked, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- agent.Serve(asked, s.listener, h) }()
	err := work()
	stop()
	return errors.Join(err, s.listener.Close(), <-served)
}
