package agentserver

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/agent"
)

// maxListed is how many tokens a status lists: it has to fit into one answer of the
// agent's protocol.
const maxListed = 1000

// Status is what an agent tells of itself. It holds no secret.
type Status struct {
	PID          int           `json:"pid"`
	Version      string        `json:"version"`
	Socket       string        `json:"socket"`
	Since        time.Time     `json:"since"`
	ConfiguredAt time.Time     `json:"configured_at"`
	Apps         []AppStatus   `json:"apps"`
	Tokens       []TokenStatus `json:"tokens"` // the most lately used come first
	TokensHeld   int           `json:"tokens_held"`
	Requests     RequestCounts `json:"requests"`
}

// AppStatus is an App and its key.
type AppStatus struct {
	Name        string `json:"name"` // in the config file; empty for one of flags or variables
	App         string `json:"app"`
	Host        string `json:"host"`
	Fingerprint string `json:"key_fingerprint"`
	// Next is the key that the file has now, until GitHub has taken it.
	Next string `json:"next_key_fingerprint,omitempty"`
}

// TokenStatus is a token that was handed out and still lives.
type TokenStatus struct {
	Repository  string            `json:"repository"`
	Host        string            `json:"host"`
	App         string            `json:"app"`
	Permissions ghapp.Permissions `json:"permissions"`
	ExpiresAt   time.Time         `json:"expires_at"` // on GitHub's clock
	Left        int64             `json:"seconds_left"`
	LastUsed    time.Time         `json:"last_used"`
	Uses        int64             `json:"uses"`
}

// RequestCounts are the questions of git that were answered since the agent was started.
type RequestCounts struct {
	Answered int64 `json:"answered"` // with a token
	Refused  int64 `json:"refused"`
	Others   int64 `json:"other_hosts"` // left to other helpers
	Erased   int64 `json:"erased"`      // tokens that git said were refused
	Minted   int64 `json:"minted"`      // tokens, at GitHub
}

// AskStatus asks the agent that listens on a socket.
func AskStatus(ctx context.Context, socket string) (*Status, error) {
	client, err := agent.Dial(socket)
	if err != nil {
		return nil, err
	}
	text, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	var status Status
	if err := json.Unmarshal(text, &status); err != nil {
		return nil, fmt.Errorf("read the agent's status: %w", err)
	}
	return &status, nil
}

// String is one line.
func (s *Status) String() string {
	return fmt.Sprintf("process %d since %s, %d tokens held, %d requests answered", s.PID,
		s.Since.Local().Format(time.DateTime), s.TokensHeld, s.Requests.Answered)
}

// Status implements [agent.Controller].
func (s *Server) Status(ctx context.Context) ([]byte, error) {
	s.follow(ctx)
	now := s.now.Load()
	tokens := now.tokens.list()
	slices.SortFunc(tokens, func(a, b TokenStatus) int {
		return cmp.Or(b.LastUsed.Compare(a.LastUsed), cmp.Compare(a.Repository, b.Repository))
	})
	return json.Marshal(Status{
		PID: os.Getpid(), Version: s.options.Version, Socket: s.listener.Path(), Since: s.since, ConfiguredAt: now.since,
		Apps: now.list(), Tokens: tokens[:min(len(tokens), maxListed)], TokensHeld: len(tokens),
		Requests: RequestCounts{s.answered.Load(), s.refused.Load(), s.others.Load(), s.erased.Load(), s.minted.Load()},
	})
}
