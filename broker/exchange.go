package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/wait"
	"github.com/ghapp-dev/ghapp/secret"
)

// The names of RFC 8693.
const (
	grantType       = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

const (
	mostTries = 3
	// pause lies before the second attempt where the broker names no time, and grows.
	pause = 500 * time.Millisecond
	// githubLife is how long a token of GitHub's lives. From what is left of it follows when it
	// was minted, which a broker need not say.
	githubLife = time.Hour
)

// Token exchanges the identity's token for one of GitHub's that does what r asks, and compares
// what comes with r. A failing broker is asked again, with a new token of the identity: one may
// serve once.
//
// The Kinds of its errors: [ghapp.ErrInvalid], [ghapp.ErrIdentity], [ghapp.ErrBrokerRefused] and
// [ghapp.ErrBrokerUnreachable], which have a [RefusalError] where the broker has said so,
// [ghapp.ErrUntrusted], [ghapp.ErrRateLimited], [ghapp.ErrTooBroad], [ghapp.ErrPermission] and
// [ghapp.ErrRepositoryNotSelected].
func (c *Client) Token(ctx context.Context, r ghapp.TokenRequest) (*ghapp.Token, error) {
	form, err := c.form(r)
	if err != nil {
		return nil, err
	}
	op := "get a token from " + c.String()
	left, next := c.config.MaxWait, pause
	for try := 1; ; try++ {
		t, err := c.exchange(ctx, form, op)
		if err == nil {
			return c.checked(ctx, r, t)
		}
		told, again := later(err)
		if told < 0 {
			told, next = next, 2*next
		}
		if left -= told; !again || try == mostTries || left < 0 {
			return nil, err
		}
		if wait.Sleep(ctx, told) != nil {
			return nil, fmt.Errorf("cannot %s: %w", op, ctx.Err())
		}
	}
}

// checked is the token, if it does what was asked for and no more.
func (c *Client) checked(ctx context.Context, r ghapp.TokenRequest, t *ghapp.Token) (*ghapp.Token, error) {
	err := c.config.GitHub.CheckToken(r, t)
	if err == nil {
		return t, nil
	}
	if wide, ok := errors.AsType[*ghapp.Error](err); ok && wide.Kind == ghapp.ErrTooBroad {
		if revoked := c.config.GitHub.Revoke(ctx, t.Secret); revoked != nil {
			wide.Err = fmt.Errorf("%w; and it could not be revoked: %w", wide.Err, revoked)
		}
	}
	return nil, err
}

// form is the request, but for the identity's token.
func (c *Client) form(r ghapp.TokenRequest) (url.Values, error) {
	bad := func(why string) (url.Values, error) {
		return nil, &ghapp.Error{Kind: ghapp.ErrInvalid, Op: "ask a broker for a token", Err: errors.New(why)}
	}
	if r.AllPermissions {
		return bad("all permissions are asked for, which a broker does not give: name those that are needed")
	}
	if len(r.Permissions) == 0 {
		r.Permissions = ghapp.Permissions{"contents": "read"}
	}
	form := url.Values{
		"grant_type":           {grantType},
		"subject_token_type":   {typeJWT},
		"requested_token_type": {typeAccessToken},
		"scope":                {strings.ReplaceAll(r.Permissions.String(), ",", " ")},
	}
	switch {
	case len(r.RepositoryIDs) > 0:
		return bad("repositories are asked for by their IDs, and a broker by names: leave the IDs out")
	case r.AllRepositories == (len(r.Repositories) > 0):
		return bad("either repositories are to be named, or all are to be asked for")
	case r.AllRepositories && (r.Installation == "" || strings.ContainsAny(r.Installation, "/:")):
		return bad("all repositories are asked for, but not of whom: name the owner")
	case r.AllRepositories:
		form.Set("resource", c.host.Origin+"/"+r.Installation)
	}
	for _, name := range r.Repositories {
		if !strings.Contains(name, "/") && r.Installation != "" {
			name = r.Installation + "/" + name
		}
		repository, err := ghapp.ParseRepository(name)
		if err != nil {
			return nil, err
		}
		form.Add("resource", c.host.Origin+"/"+repository.String())
	}
	if r.MinLife > 0 {
		form.Set("min_life", strconv.Itoa(int((r.MinLife+time.Second-1)/time.Second)))
	}
	return form, nil
}

// exchange asks the broker once.
func (c *Client) exchange(ctx context.Context, form url.Values, op string) (*ghapp.Token, error) {
	proof, err := c.config.Identity.Token(ctx, c.Audience)
	switch {
	case ghapp.KindOf(err) != "":
		return nil, err // of the broker, which was asked for the audience
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("cannot %s: %w", op, ctx.Err())
	case err != nil:
		return nil, &ghapp.Error{Kind: ghapp.ErrIdentity, Op: "prove to the broker " + c.base.Host + " who asks (" +
			c.name() + ")", Err: err}
	}
	asked := maps.Clone(form)
	asked.Set("subject_token", proof.Reveal())
	var answer answer
	sent := request{method: http.MethodPost, path: "/token", form: asked, hidden: proof, op: op}
	if err := c.ask(ctx, sent, &answer); err != nil {
		return nil, err
	}
	return answer.token(op, c.host.API, time.Now())
}

// answer is that of RFC 8693 section 2.2.1, and what a broker of GitHub's tokens says besides.
type answer struct {
	AccessToken     string            `json:"access_token"`
	IssuedTokenType string            `json:"issued_token_type"`
	TokenType       string            `json:"token_type"`
	ExpiresIn       int64             `json:"expires_in"` // seconds
	Repositories    []repository      `json:"repositories"`
	Permissions     ghapp.Permissions `json:"permissions"`
	Installation    int64             `json:"installation"`
}

// repository is one that the token reaches.
type repository struct {
	ID       int64  `json:"id"`
	FullName string `json:"full_name"`
}

// token is the one in the answer, which came at now.
func (a answer) token(op, apiURL string, now time.Time) (*ghapp.Token, error) {
	var problem string
	switch {
	case a.AccessToken == "":
		problem = "it holds no token"
	case a.IssuedTokenType != typeAccessToken:
		problem = "its issued_token_type is another than was asked for"
	case !strings.EqualFold(a.TokenType, "bearer"):
		problem = "its token_type is not Bearer"
	case a.ExpiresIn <= 0 || a.ExpiresIn > int64(24*time.Hour/time.Second):
		problem = "it does not say how long the token lives"
	}
	if problem != "" {
		return nil, &ghapp.Error{Kind: ghapp.ErrBrokerUnreachable, Op: op,
			Err: errors.New("the answer is not that of a token exchange: " + problem)}
	}
	left := time.Duration(a.ExpiresIn) * time.Second
	t := &ghapp.Token{
		Secret: secret.New(a.AccessToken), ExpiresAt: now.Add(left), MintedAt: now.Add(min(left-githubLife, 0)),
		Permissions: a.Permissions, Installation: a.Installation, API: apiURL,
	}
	for _, r := range a.Repositories {
		t.Repositories = append(t.Repositories, r.FullName)
	}
	slices.Sort(t.Repositories)
	return t, nil
}

// later reports whether the same question may be answered later, and how long the broker told
// us to wait before; negative where it told nothing.
func later(err error) (told time.Duration, again bool) {
	e, ok := errors.AsType[*ghapp.Error](err)
	if !ok {
		return 0, false
	}
	if limit, ok := errors.AsType[*ghapp.RateLimitError](e); ok {
		return max(time.Until(limit.Until), 0), true
	}
	if refusal, ok := errors.AsType[*RefusalError](err); ok {
		return -1, refusal.Status >= http.StatusInternalServerError
	}
	lost, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](e.Err)
	return -1, ok && lost.Temporary()
}
