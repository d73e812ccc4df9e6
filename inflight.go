package ghapp

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// ceiling bounds work that runs detached from its callers: a minute of waiting
// for a limit, and the requests around it.
const ceiling = 2 * time.Minute

// merge runs fn once for all who ask under one key. fn outlives any one of them:
// it runs detached from the caller's cancellation, with a ceiling of its own, and
// a caller leaves when its own context ends.
func merge[T any](ctx context.Context, inflight *singleflight.Group, key string,
	fn func(context.Context) (T, error)) (T, error) {
	var none T
	if ctx.Err() != nil {
		return none, api.Ended(ctx)
	}
	result := inflight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ceiling)
		defer cancel()
		return fn(ctx)
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return none, api.Ended(ctx)
	}
}
