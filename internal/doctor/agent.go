package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/ghapp-dev/ghapp/internal/agentproto"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/signer"
)

// AgentReport is what the user's agent tells of itself.
type AgentReport struct {
	Socket string // where it is looked for
	Text   string // one line
	Keys   []AgentKey
}

// AgentKey is the key with which the agent signs for an App.
type AgentKey struct {
	App         string // client ID or App ID
	Host        string
	Fingerprint string
	Next        string // of the key in the file, where GitHub has not taken that yet
}

func (x *examination) checkAgent(ctx context.Context) Finding {
	report, err := x.Agent(ctx)
	switch {
	case errors.Is(err, agentproto.ErrUnavailable):
		return ok("none on %s; git works without", report.Socket)
	case err != nil && report.Socket == "":
		return ok("there is no place for its socket; git works without")
	case err != nil:
		return broken(&diag.TroubleError{Trouble: diag.AgentUnreachable, Text: err.Error()}, "%s", report.Socket)
	}
	for _, held := range report.Keys {
		for _, a := range x.apps {
			if a.key == nil || a.host.host.Name != held.Host || a.settings.App.Text != held.App ||
				a.key.Fingerprint() == held.Fingerprint {
				continue
			}
			if before, ok := a.signs.(signer.Signer); ok && before.Fingerprint() == held.Fingerprint {
				continue // as every command does while GitHub refuses the newest one
			}
			return warn(&diag.TroubleError{Trouble: diag.AgentKey,
				Text: fmt.Sprintf("it signs for %s with %s, and the configuration has %s", held.App, held.Fingerprint,
					a.key.Fingerprint())}, "%s", report.Socket)
		}
	}
	return ok("%s: %s", report.Socket, report.Text)
}
