package ghapp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// Identity is who the App is in commits: with its name and address GitHub shows a commit as
// the App's own.
type Identity struct {
	// Name is SLUG[bot], the login of the App's user.
	Name string
	// UserID is that user's. It is not the App's ID.
	UserID int64
	// Email is ID+SLUG[bot]@users.noreply.HOST, which reaches nobody.
	Email string
}

// Identity asks GitHub who the App is in commits: two requests. They are sent with a token
// where one is given: a GitHub Enterprise Server may tell nobody else, and github.com tells
// others only so often. The error is an [*Error].
func (a *App) Identity(ctx context.Context, t *Token) (*Identity, error) {
	info, err := a.Info(ctx)
	if err != nil {
		return nil, err
	}
	login := info.Slug + "[bot]"
	op := "find the user " + login
	var auth api.Authorization
	var user *api.User
	ask := func() (err error) {
		user, err = a.api.User(ctx, auth, login)
		return err
	}
	if t != nil {
		auth = api.WithToken(t.Secret)
		err = t.waitOut(ctx, ask)
	} else {
		err = ask()
	}
	if err != nil {
		return nil, explain(op, err)
	}
	if user.Type != "Bot" || !strings.EqualFold(user.Login, login) || info.Slug == "" || !consistsOf(info.Slug, "-_") {
		return nil, &Error{Kind: ErrUnreachable, Op: op, Err: errors.New("what answers names another user")}
	}
	return &Identity{
		Name: login, UserID: user.ID,
		Email: fmt.Sprintf("%s+%s@users.noreply.%s", strconv.FormatInt(user.ID, 10), login, hostWithoutPort(a.host.Origin)),
	}, nil
}

func hostWithoutPort(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
