package doctor

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/cache"
	"github.com/ghapp-dev/ghapp/internal/diag"
)

func (x *examination) checkCache(context.Context) Finding {
	store, dir, err := x.Cache()
	switch {
	case err != nil:
		closed := &diag.TroubleError{Trouble: diag.CacheClosed, Text: err.Error()}
		if e, ok := errors.AsType[*cache.DirError](err); ok {
			closed.Text, closed.Hint = e.Why, e.Hint()
		}
		return warn(closed, "%s", cmp.Or(dir, "there is no place for it"))
	case store == nil:
		return ok("not used")
	}
	x.store = store
	return ok("%s", dir)
}

// kept is a [ghapp.Store] to look at: what is in it can be read and dropped, and nothing
// is added.
type kept struct{ ghapp.Store }

// Update implements [ghapp.Store].
func (k kept) Update(ctx context.Context, key string, fn func(ctx context.Context, old []byte) ([]byte, error)) error {
	return k.Store.Update(ctx, key, func(ctx context.Context, old []byte) ([]byte, error) {
		entry, err := fn(ctx, old)
		if entry != nil {
			entry = old
		}
		return entry, err
	})
}

// mintless lets an App have the tokens that there are, and no others.
type mintless struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (m mintless) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		return nil, errMintless
	}
	return m.RoundTripper.RoundTrip(r)
}

var errMintless = errors.New("nothing is minted to look at the cache")
