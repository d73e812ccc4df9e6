package mirror

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
)

// mostPerToken is how many repositories a token may be for
// (https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app).
const mostPerToken = 500

// tokens are those that may read the code of some repositories, as few as that takes.
type tokens struct {
	source func(names []string) ghapp.TokenSource
	chunks map[string]*chunk // by the name of a repository, in lower case
}

// chunk is what one token is for. Where GitHub makes none for all of them, since one was renamed
// or taken away meanwhile, there are two for a half each.
type chunk struct {
	of    *tokens
	names []string

	mu     sync.Mutex
	source ghapp.TokenSource
	halves []*chunk // once it is split
}

func newTokens(names []string, source func([]string) ghapp.TokenSource) *tokens {
	t := &tokens{source: source, chunks: map[string]*chunk{}}
	for from := 0; from < len(names); from += mostPerToken {
		c := &chunk{of: t, names: names[from:min(from+mostPerToken, len(names))]}
		for _, name := range c.names {
			t.chunks[strings.ToLower(name)] = c
		}
	}
	return t
}

// token is one for a repository, owner/name.
func (t *tokens) token(ctx context.Context, name string) (*ghapp.Token, error) {
	c := t.chunks[strings.ToLower(name)]
	if c == nil {
		return t.source([]string{name}).Token(ctx)
	}
	return c.token(ctx, name)
}

func (c *chunk) token(ctx context.Context, name string) (*ghapp.Token, error) {
	if half := c.half(name); half != nil {
		return half.token(ctx, name)
	}
	token, err := c.tokens().Token(ctx)
	unmade := errors.Is(err, ghapp.ErrRepositoryNotSelected) || errors.Is(err, ghapp.ErrTooBroad)
	if !unmade || len(c.names) == 1 {
		return token, err
	}
	c.split()
	return c.half(name).token(ctx, name)
}

// tokens is where the chunk's token comes from.
func (c *chunk) tokens() ghapp.TokenSource {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.source == nil {
		c.source = c.of.source(c.names)
	}
	return c.source
}

func (c *chunk) split() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halves == nil {
		middle := len(c.names) / 2
		c.halves = []*chunk{{of: c.of, names: c.names[:middle]}, {of: c.of, names: c.names[middle:]}}
	}
}

// half is the chunk of a name in one that is split; nil where it is not.
func (c *chunk) half(name string) *chunk {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, half := range c.halves {
		for _, n := range half.names {
			if strings.EqualFold(n, name) {
				return half
			}
		}
	}
	return nil
}

// drop is told of a token that was refused.
func (t *tokens) drop(ctx context.Context, name string, refused *ghapp.Token) error {
	c := t.chunks[strings.ToLower(name)]
	if c == nil {
		return nil
	}
	for half := c.half(name); half != nil; half = c.half(name) {
		c = half
	}
	if source, ok := c.tokens().(ghapp.Invalidator); ok {
		return source.Invalidate(ctx, refused)
	}
	return nil
}

// renewed is a source that hands out no token from before a moment. A token is asked for by the
// names of repositories, and is for those that have them then: one that gets such a name later is
// not reached with it, and the git service says of it what it says to a token that is too new.
type renewed struct {
	ghapp.TokenSource // of an App, which keeps what it has
	app               *ghapp.App
	after             time.Time

	mu   sync.Mutex
	done bool
}

// Token implements [ghapp.TokenSource].
func (r *renewed) Token(ctx context.Context) (*ghapp.Token, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	token, err := r.TokenSource.Token(ctx)
	if err != nil || r.done {
		return token, err
	}
	r.done = true // once: the clocks may differ
	if age := token.ExpiresAt.Sub(token.MintedAt) - token.Life(); time.Now().Add(-age).After(r.after) {
		return token, nil
	}
	if err := r.app.Forget(ctx, token.Secret); err != nil {
		return nil, err
	}
	return r.TokenSource.Token(ctx)
}

// Invalidate implements [ghapp.Invalidator].
func (r *renewed) Invalidate(ctx context.Context, refused *ghapp.Token) error {
	if source, ok := r.TokenSource.(ghapp.Invalidator); ok {
		return source.Invalidate(ctx, refused)
	}
	return nil
}
