package gitsession

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
)

const (
	// revokeWait bounds the time in which tokens are revoked at the end.
	revokeWait = 15 * time.Second
	// revokeAtOnce is how many are revoked at the same time.
	revokeAtOnce = 8
)

// issuedTokens are tokens that end with the command. The zero value is ready for use, by
// several goroutines.
type issuedTokens struct {
	mu   sync.Mutex
	list []issuedToken
}

type issuedToken struct {
	app   *ghapp.App
	token *ghapp.Token
}

// add has a token end with the command. One of a broker's is not the command's alone: the
// broker gives it to others as well, so that it lives on.
func (l *issuedTokens) add(app *ghapp.App, token *ghapp.Token) {
	if app.Status().Broker != "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// Of those that have run out a command of many days would have ever more.
	l.list = slices.DeleteFunc(l.list, func(t issuedToken) bool {
		return t.token.Life() <= 0 || t.token.Secret.Reveal() == token.Secret.Reveal()
	})
	l.list = append(l.list, issuedToken{app, token})
}

// revoke ends the tokens. One that GitHub does not take any more has ended already.
func (l *issuedTokens) revoke(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), revokeWait)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	var running sync.WaitGroup
	free := make(chan struct{}, revokeAtOnce)
	for _, t := range l.list {
		if t.token.Life() <= 0 {
			continue
		}
		free <- struct{}{}
		running.Go(func() {
			defer func() { <-free }()
			if err := t.app.Revoke(ctx, t.token); err != nil && !errors.Is(err, ghapp.ErrTokenRefused) {
				log.Warn("a token could not be revoked; it lives on until "+
					t.token.ExpiresAt.Local().Format(time.TimeOnly), "error", err)
			}
		})
	}
	running.Wait()
}
