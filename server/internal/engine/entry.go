package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxEntry is the most bytes of a value.
const maxEntry = 512 << 10

// errTaken says that an entry is not as it was, or that it is there already.
var errTaken = errors.New("the entry is another's by now")

// entry is a value in a bucket.
type entry struct {
	value    []byte
	revision uint64 // 0: there is none
}

// get reads an entry.
func (e *Engine) get(ctx context.Context, b *bucket, key string) (found entry, err error) {
	err = e.do(ctx, func(ctx context.Context) error {
		got, err := (*b.kv.Load()).Get(ctx, key)
		if err == nil {
			found = entry{got.Value(), got.Revision()}
		}
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, nil
	}
	return found, err
}

// put writes an entry, whatever stands there.
func (e *Engine) put(ctx context.Context, b *bucket, key string, value []byte, life time.Duration) error {
	_, err := e.publish(ctx, b, key, value, life)
	return err
}

// replace writes an entry where the one there has this revision, 0 where there is none; else the
// error is [errTaken].
func (e *Engine) replace(ctx context.Context, b *bucket, key string, value []byte, revision uint64,
	life time.Duration) (uint64, error) {
	return e.publish(ctx, b, key, value, life, jetstream.WithExpectLastSequencePerSubject(revision))
}

// publish writes an entry that ends by itself after its life; 0: it does not. NATS counts lives in
// seconds.
func (e *Engine) publish(ctx context.Context, b *bucket, key string, value []byte, life time.Duration,
	options ...jetstream.PublishOpt) (revision uint64, err error) {
	if life > 0 {
		options = append(options, jetstream.WithMsgTTL(max(life.Round(time.Second), time.Second)))
	}
	options = append(options, jetstream.WithRetryAttempts(1))
	err = e.do(ctx, func(ctx context.Context) error {
		ack, err := e.js.PublishMsg(ctx, &nats.Msg{Subject: b.subject(key), Data: value, Header: nats.Header{}}, options...)
		if isTaken(err) {
			return errTaken
		}
		if err == nil {
			revision = ack.Sequence
		}
		return err
	})
	return revision, err
}

// isTaken reports whether NATS has refused a write because of what is there. A cluster has a code of
// its own for it.
func isTaken(err error) bool {
	return isError(err, jetstream.JSErrCodeStreamWrongLastSequence) ||
		isError(err, jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// drop removes an entry of this revision, and none that has come since.
func (e *Engine) drop(ctx context.Context, b *bucket, revision uint64) error {
	return e.do(ctx, func(ctx context.Context) error {
		err := (*b.stream.Load()).DeleteMsg(ctx, revision)
		if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return nil // it has gone
		}
		return err
	})
}

// scan calls fn for each entry below a key, such as "token.*", as they are now.
func (e *Engine) scan(ctx context.Context, b *bucket, below string, fn func(key string, found entry)) error {
	if away := e.away.Load(); away != nil {
		return away
	}
	ctx, cancel := context.WithTimeout(ctx, setUp)
	defer cancel()
	watcher, err := (*b.kv.Load()).Watch(ctx, below, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case got := <-watcher.Updates():
			if got == nil {
				return nil // that was all
			}
			fn(got.Key(), entry{got.Value(), got.Revision()})
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
