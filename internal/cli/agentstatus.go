package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/internal/term"
)

// maxListed is how many tokens a status lists: it has to fit into one answer of the
// agent's protocol.
const maxListed = 1000

// agentStatus is what an agent tells of itself. It holds no secret.
type agentStatus struct {
	PID          int           `json:"pid"`
	Version      string        `json:"version"`
	Socket       string        `json:"socket"`
	Since        time.Time     `json:"since"`
	ConfiguredAt time.Time     `json:"configured_at"`
	Apps         []appStatus   `json:"apps"`
	Tokens       []tokenStatus `json:"tokens"` // the most lately used come first
	TokensHeld   int           `json:"tokens_held"`
	Requests     requestCounts `json:"requests"`
}

// appStatus is an App and its key.
type appStatus struct {
	Name        string `json:"name"` // in the config file; empty for one of flags or variables
	App         string `json:"app"`
	Host        string `json:"host"`
	Fingerprint string `json:"key_fingerprint"`
	// Next is the key that the file has now, until GitHub has taken it.
	Next string `json:"next_key_fingerprint,omitempty"`
}

// tokenStatus is a token that was handed out and still lives.
type tokenStatus struct {
	Repository  string            `json:"repository"`
	Host        string            `json:"host"`
	App         string            `json:"app"`
	Permissions ghapp.Permissions `json:"permissions"`
	ExpiresAt   time.Time         `json:"expires_at"` // on GitHub's clock
	Left        int64             `json:"seconds_left"`
	LastUsed    time.Time         `json:"last_used"`
	Uses        int64             `json:"uses"`
}

type requestCounts struct {
	Answered int64 `json:"answered"` // with a token
	Refused  int64 `json:"refused"`
	Others   int64 `json:"other_hosts"` // left to other helpers
	Erased   int64 `json:"erased"`      // tokens that git said were refused
	Minted   int64 `json:"minted"`      // tokens, at GitHub
}

// askStatus asks the agent that listens on a socket.
func askStatus(ctx context.Context, socket string) (*agentStatus, error) {
	client, err := agent.Dial(socket)
	if err != nil {
		return nil, err
	}
	text, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	var status agentStatus
	if err := json.Unmarshal(text, &status); err != nil {
		return nil, fmt.Errorf("read the agent's status: %w", err)
	}
	return &status, nil
}

// String is one line.
func (s *agentStatus) String() string {
	return fmt.Sprintf("process %d since %s, %d tokens held, %d requests answered", s.PID, s.Since.Local().Format(time.DateTime), s.TokensHeld, s.Requests.Answered)
}

// print shows it to people.
func (s *agentStatus) print(w io.Writer) error {
	r := s.Requests
	facts := [][]string{
		{"agent", fmt.Sprintf("process %d since %s, ghapp %s", s.PID, s.Since.Local().Format(time.DateTime), s.Version)},
		{"socket", s.Socket},
		{"requests", fmt.Sprintf("%d answered, %d refused, %d for other hosts, %d tokens erased, %d minted", r.Answered, r.Refused, r.Others, r.Erased, r.Minted)},
	}
	if err := term.Table(w, facts); err != nil {
		return err
	}
	apps := [][]string{{"\nAPP", "ID", "HOST", "KEY"}}
	for _, a := range s.Apps {
		key := a.Fingerprint
		if a.Next != "" {
			key += " (next: " + a.Next + ")"
		}
		apps = append(apps, []string{term.OrDash(a.Name), a.App, a.Host, key})
	}
	if err := term.Table(w, apps); err != nil || len(s.Tokens) == 0 {
		return err
	}
	tokens := [][]string{{"\nREPOSITORY", "HOST", "PERMISSIONS", "LEFT", "LAST USED", "USES"}}
	for _, t := range s.Tokens {
		left := time.Duration(t.Left) * time.Second
		tokens = append(tokens, []string{t.Repository, t.Host, t.Permissions.String(), left.String(), t.LastUsed.Local().Format(time.TimeOnly), strconv.FormatInt(t.Uses, 10)})
	}
	if err := term.Table(w, tokens); err != nil {
		return err
	}
	if more := s.TokensHeld - len(s.Tokens); more > 0 {
		_, err := fmt.Fprintf(w, "and %d more\n", more)
		return err
	}
	return nil
}

// Status implements [agent.Controller].
func (h *holder) Status(ctx context.Context) ([]byte, error) {
	h.follow(ctx)
	apps := h.apps.Load()
	tokens := apps.tokens.list()
	slices.SortFunc(tokens, func(a, b tokenStatus) int {
		return cmp.Or(b.LastUsed.Compare(a.LastUsed), cmp.Compare(a.Repository, b.Repository))
	})
	return json.Marshal(agentStatus{
		PID: os.Getpid(), Version: h.command.release(), Socket: h.listener.Path(), Since: h.since, ConfiguredAt: apps.since,
		Apps: apps.list(), Tokens: tokens[:min(len(tokens), maxListed)], TokensHeld: len(tokens),
		Requests: requestCounts{h.answered.Load(), h.refused.Load(), h.others.Load(), h.erased.Load(), h.minted.Load()},
	})
}
