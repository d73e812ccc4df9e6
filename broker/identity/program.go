package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// inBuildkite looks for a job of Buildkite, whose agent asks for tokens
// (https://buildkite.com/docs/agent/v3/cli-oidc).
func inBuildkite(o opened) bool {
	return o.get("BUILDKITE") == "true" && o.get("BUILDKITE_JOB_ID") != ""
}

func openBuildkite(o opened, _ string) (*Identity, error) {
	return program(o, o.get("BUILDKITE_JOB_ID"), func(audience string) []string {
		return []string{"buildkite-agent", "oidc", "request-token", "--audience", audience}
	}), nil
}

// circleToken is for the audience of the organization
// (https://circleci.com/docs/openid-connect-tokens/).
const circleToken = "CIRCLE_OIDC_TOKEN_V2"

func inCircleCI(o opened) bool { return o.get("CIRCLECI") == "true" && o.get(circleToken) != "" }

// openCircleCI has the command of CircleCI make a token for the broker
// (https://circleci.com/docs/oidc-tokens-with-custom-claims/), where it is there.
func openCircleCI(o opened, _ string) (*Identity, error) {
	if _, err := exec.LookPath("circleci"); err != nil {
		return openVariable(o, circleToken)
	}
	return program(o, o.get("CIRCLE_WORKFLOW_JOB_ID"), func(audience string) []string {
		claims, _ := json.Marshal(map[string]string{"aud": audience})
		return []string{"circleci", "run", "oidc", "get", "--claims", string(claims)}
	}), nil
}

func openProgram(o opened, path string) (*Identity, error) {
	return program(o, path, func(string) []string { return []string{path} }), nil
}

const (
	// maxOutput bounds what a program may print, in bytes.
	maxOutput = 64 << 10
	// afterKill is how long what a program has started may hold its output open.
	afterKill = 2 * time.Second
)

// program is an identity whose token a program prints, alone or as JSON. What stands on its
// command line is no secret.
func program(o opened, subject string, line func(audience string) []string) *Identity {
	return &Identity{
		subject: func() string { return subject },
		token: func(ctx context.Context, whom audience) (string, error) {
			aud, err := whom(ctx)
			if err != nil {
				return "", err
			}
			words := line(aud)
			cmd := exec.CommandContext(ctx, words[0], words[1:]...)
			cmd.Env = append(childenv.Apart(o.Environ, childenv.Own{}), "GHAPP_AUDIENCE="+aud)
			cmd.WaitDelay = afterKill
			var printed, complaint bounded
			cmd.Stdout, cmd.Stderr = &printed, &complaint
			err = cmd.Run()
			switch {
			case ctx.Err() != nil:
				return "", context.Cause(ctx)
			case printed.full:
				return "", fmt.Errorf("%s prints more than a token", text.OneLine(words[0]))
			case err != nil:
				return "", failed(words[0], err, complaint.String())
			}
			return tokenIn(printed.String()), nil
		},
	}
}

// failed is the error of a program.
func failed(name string, err error, complaint string) error {
	if missing, ok := errors.AsType[*exec.Error](err); ok {
		err = missing.Err
	}
	if said := text.Shorten(text.FirstLine(complaint), 300); said != "" && !mayHoldToken(said) {
		return fmt.Errorf("%s failed: %w: %s", text.OneLine(name), err, said)
	}
	return fmt.Errorf("%s failed: %w", text.OneLine(name), err)
}

// mayHoldToken reports whether there may be a JSON Web Token in a line: each begins so.
func mayHoldToken(line string) bool { return strings.Contains(line, "eyJ") }

// tokenIn is the token in what a program has printed: all of it, or, of JSON, what has one of
// the names that such programs use.
func tokenIn(printed string) string {
	var object struct {
		Token       string `json:"token"`
		IDToken     string `json:"id_token"`
		Value       string `json:"value"`
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal([]byte(printed), &object) != nil {
		return printed
	}
	for _, text := range []string{object.Token, object.IDToken, object.Value, object.AccessToken} {
		if text != "" {
			return text
		}
	}
	return printed
}

// bounded keeps what is written, if that is not too much.
type bounded struct {
	text strings.Builder // not embedded: ReadFrom of a buffer would go round the bound
	full bool
}

func (b *bounded) String() string { return b.text.String() }

// Write implements [io.Writer]. Whoever writes more than there is room for finds the pipe
// closed.
func (b *bounded) Write(p []byte) (int, error) {
	if b.full = b.full || len(p) > maxOutput-b.text.Len(); b.full {
		return 0, io.ErrShortWrite
	}
	return b.text.Write(p)
}
