package mirror

import (
	"context"
	"errors"
	"strings"
	"sync"

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
