package cli

import (
	"context"
	"errors"

	"github.com/ghapp-dev/ghapp/agent"
)

// serving answers on the listener while work runs. A question that is still open then
// is one of a helper whose git is gone.
func serving(ctx context.Context, listener *agent.Listener, h agent.Handler, work func() error) error {
	asked, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- agent.Serve(asked, listener, h) }()
	err := work()
	stop()
	return errors.Join(err, listener.Close(), <-served)
}
