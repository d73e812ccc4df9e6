package agent

import (
	"bytes"
	"context"
	"errors"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/secret"
)

// Controller is a [Handler] that also answers questions about itself. A Handler
// without these methods refuses them.
type Controller interface {
	Handler
	// Status describes the agent, in JSON. It holds no secret: whatever asks for it
	// may show it.
	Status(ctx context.Context) ([]byte, error)
	// Stop closes the listener, so that another agent can take its place, and has
	// the process end once the exchanges that run are finished. It does not wait for
	// that.
	Stop(ctx context.Context) error
	// Forget has nobody given a token any more, which somebody revokes.
	Forget(ctx context.Context, token secret.Text) error
}

// control answers the requests that are none of git's.
func control(ctx context.Context, question agentproto.Frame, h Handler) agentproto.Frame {
	c, ok := h.(Controller)
	var answer agentproto.Frame
	var err error
	switch {
	case ok && question.Word == wordStatus:
		answer.Body, err = c.Status(ctx)
	case ok && question.Word == wordStop:
		err = c.Stop(ctx)
	case ok && question.Word == wordForget:
		var named *credential.Credential
		if named, err = credential.Parse(bytes.NewReader(question.Body)); err == nil {
			err = c.Forget(ctx, named.Password)
		}
	default:
		err = errors.New("unknown operation")
	}
	if err != nil {
		return refusal(err)
	}
	answer.Word = agentproto.OK
	return answer
}

// Status asks the agent to describe itself; the answer is JSON. Errors are those of
// [Client.Ask]. It closes c.
func (c *Client) Status(ctx context.Context) ([]byte, error) {
	answer, err := c.exchange(ctx, agentproto.Frame{Word: wordStatus})
	return answer.Body, err
}

// Stop asks the agent to end. When it returns without an error, the agent listens no
// more, and another one can be started; it still finishes what it is doing. Errors
// are those of [Client.Ask]. It closes c.
func (c *Client) Stop(ctx context.Context) error {
	_, err := c.exchange(ctx, agentproto.Frame{Word: wordStop})
	return err
}

// Forget has the agent give a token to nobody any more, whatever it was for. Errors are
// those of [Client.Ask]; an agent from before there was this refuses. It closes c.
func (c *Client) Forget(ctx context.Context, token secret.Text) error {
	question, err := agentproto.Of(wordForget, &credential.Credential{Password: token})
	if err != nil {
		return errors.Join(err, c.Close())
	}
	_, err = c.exchange(ctx, question)
	return err
}
