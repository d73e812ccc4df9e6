package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/agent"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/ghtoken"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/secret"
)

// maxRevoke bounds what revoke reads: GitHub's longest token is about 520 characters and
// may grow, and there may be something around it.
const maxRevoke = 16 << 10

func (c *command) revoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke",
		Short: "End a token, read from standard input",
		Long: `Ends an installation access token at once, at GitHub, in the cache and in the agent. It
is read from standard input, so that it stands in no command line: as it is, or in any
form that ghapp token and git's credential protocol have for it (NAME=TOKEN, JSON, in
quotes). No key is needed: a token is revoked by presenting it.`,
		Example: `  ghapp revoke < token.txt`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if term.Is(c.Stdin) {
				c.progress("Paste the token, then press Ctrl-D.")
			}
			text, err := io.ReadAll(io.LimitReader(term.Reader(cmd.Context(), c.Stdin), maxRevoke+1))
			if err != nil {
				return fmt.Errorf("read the token: %w", err)
			}
			token, err := installationToken(string(text))
			if err != nil {
				return &diag.UsageError{Err: err}
			}
			reach, err := c.apps().Reach(ghapp.RepositoryName{})
			if err != nil {
				return err
			}
			// Before GitHub is told, so that nobody is given a dead one meanwhile.
			if err := ghapp.Purge(cmd.Context(), c.apps().Store(), token); err != nil {
				c.log().Warn("a revoked token stays in the cache", "error", err)
			}
			c.tellAgents(cmd.Context(), token)
			if err := reach.Client.Revoke(cmd.Context(), token); err != nil {
				return err
			}
			if c.json {
				return term.JSON(c.Stdout, map[string]bool{"revoked": true})
			}
			c.progress("The token is revoked.")
			return nil
		},
	}
}

// tellAgents has the agents that git asks hand out a token no more.
func (c *command) tellAgents(ctx context.Context, token secret.Text) {
	named, _ := c.lookup("GHAPP_AGENT_SOCK")
	sockets := []string{named, agent.SocketPath(c.lookup)}
	for _, socket := range slices.Compact(sockets) {
		if socket == "" {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, agentAnswers)
		client, err := agent.Dial(socket)
		if err == nil {
			err = client.Forget(ctx, token)
		}
		cancel()
		if refused, ok := errors.AsType[*agent.RefusedError](err); ok && socket == named {
			// A command that answers for itself, such as exec, finds out when it uses it.
			c.log().Debug("the agent does not forget the token", "error", refused)
		} else if err != nil && !errors.Is(err, agent.ErrUnavailable) {
			c.log().Warn("an agent may hand out the revoked token once more", "socket", socket, "error", err)
		}
	}
}

// installationToken finds the one installation access token in a text. Its errors repeat
// nothing of the text, which may be a secret of another kind.
func installationToken(text string) (secret.Text, error) {
	none := secret.Text{}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return none, errors.New("there is no token on standard input")
	case len(text) > maxRevoke:
		return none, errors.New("what is on standard input is not one token")
	}
	var object struct {
		Token string `json:"token"`
	}
	if json.Unmarshal([]byte(text), &object) == nil && object.Token != "" {
		text = object.Token
	}
	token := ""
	for line := range strings.Lines(text) {
		found, err := tokenInLine(line)
		switch {
		case err != nil:
			return none, err
		case token != "" && found != "" && found != token:
			return none, errors.New("what is on standard input is not one token, but several")
		case found != "":
			token = found
		}
	}
	if token == "" {
		return none, errors.New("there is no token on standard input")
	}
	return secret.New(token), nil
}

// besides are the names of the lines that stand with a token, in the forms that have
// several, and that hold none.
var besides = []string{"GH_HOST", "protocol", "host", "path", "username", "password_expiry_utc"}

// tokenInLine is the token in a line, without what may stand around it: "" where the line
// is one that has none.
func tokenInLine(line string) (string, error) {
	word := strings.TrimSpace(line)
	if name, value, ok := strings.Cut(strings.TrimPrefix(word, "export "), "="); ok && variableName(name) {
		if slices.Contains(besides, name) {
			return "", nil
		}
		word = value
	}
	word = unquoted(word)
	word = strings.TrimPrefix(word, "x-access-token:")
	switch {
	case word == "":
		return "", nil
	case strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' }):
		return "", errors.New("what is on standard input is not one token")
	case !ghtoken.Valid(word):
		return "", errors.New("what is on standard input is no token: it has other characters than GitHub's have")
	}
	if kind, other := otherSecret(word); other {
		return "", fmt.Errorf("what is on standard input is %s, and no installation access token; only such a one is revoked", kind)
	}
	// v1. begins those of an old GitHub Enterprise Server.
	if !strings.HasPrefix(word, "ghs_") && !strings.HasPrefix(word, "v1.") {
		return "", errors.New("what is on standard input is no installation access token: those begin with ghs_")
	}
	return word, nil
}

// unquoted is a word without the quotes of JSON or of a shell around it.
func unquoted(word string) string {
	for _, quote := range []string{`"`, "'"} {
		if len(word) > 1 && strings.HasPrefix(word, quote) && strings.HasSuffix(word, quote) {
			return strings.TrimSpace(word[1 : len(word)-1])
		}
	}
	return word
}

// variableName reports whether text can be what stands before the = of a variable.
func variableName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// otherSecret names the secrets of GitHub's that are something else, by their beginning
// (https://github.blog/engineering/behind-githubs-new-authentication-token-formats/).
func otherSecret(word string) (kind string, ok bool) {
	for prefix, kind := range map[string]string{
		"ghp_": "a personal access token", "github_pat_": "a personal access token", "gho_": "an OAuth access token",
		"ghu_": "a user access token", "ghr_": "a refresh token",
		"eyJ": "a JSON Web Token, which ends by itself within ten minutes",
	} {
		if strings.HasPrefix(word, prefix) {
			return kind, true
		}
	}
	return "", false
}
