package gitauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/scrub"
)

const (
	// settleFor bounds the wait for GitHub's git servers to know a new token.
	// GitHub's support advises to try again after 3 and 10 seconds.
	settleFor = 15 * time.Second
	// settleText bounds what is read of a refusal.
	settleText = 4 << 10
)

// settle asks GitHub's git service itself whether it takes a token that has just
// been minted, and waits with that same token while it does not. git asks for a
// credential once and gives up on the first refusal, which for a token that has
// not spread yet reads "Repository not found".
func (a *Answerer) settle(ctx context.Context, t *ghapp.Token, r ghapp.Repository) error {
	op := fmt.Sprintf("use the new token for %s", r)
	for pause := time.Second; ; pause += time.Second {
		status, message, err := a.try(ctx, t, r)
		switch {
		case err != nil:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			// git goes there next and says what is wrong with the network.
			a.log().Debug("the git service was not asked whether it knows the token", "error", err)
			return nil
		case status != http.StatusUnauthorized && status != http.StatusForbidden && status != http.StatusNotFound:
			return nil
		case strings.Contains(message, "IP allow list"):
			return &ghapp.Error{Kind: ghapp.ErrIPAllowList, Op: op, Status: status, Message: message}
		case strings.Contains(message, "SAML"):
			return &ghapp.Error{Kind: ghapp.ErrSAML, Op: op, Status: status, Message: message}
		case t.Age()+pause > settleFor:
			return &ghapp.Error{Kind: ghapp.ErrTokenUnknown, Op: op, Status: status, Message: message,
				Err: fmt.Errorf("GitHub's git service still refuses it %s after it was minted", t.Age().Round(time.Second))}
		}
		a.log().Info("GitHub's git service does not know the new token yet", "repository", r.String(), "status", status, "wait", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// try makes git's first request. Protocol version 2 keeps the answer to a few
// lines where version 0 lists every branch.
func (a *Answerer) try(ctx context.Context, t *ghapp.Token, r ghapp.Repository) (int, string, error) {
	url := fmt.Sprintf("%s/%s/%s.git/info/refs?service=git-upload-pack", a.Origin, r.Owner, r.Name)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	pair := username + ":" + t.Secret.Reveal()
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	req.Header.Set("Git-Protocol", "version=2")
	req.Header.Set("User-Agent", "git/ghapp")
	client := http.Client{Transport: a.Transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if next.URL.Scheme != via[0].URL.Scheme || next.URL.Host != via[0].URL.Host || len(via) > 5 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	answer, err := client.Do(req)
	if err != nil {
		return 0, "", errors.Unwrap(err) // without the URL
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, settleText))
	// A proxy that shows the request it was sent shows the credential.
	return answer.StatusCode, firstLine(scrub.New(t.Secret).String(string(text))), nil
}

// firstLine is a refusal's text, made printable.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 {
			return -1
		}
		return r
	}, line)
}
