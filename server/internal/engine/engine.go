// Package engine is what the replicas of ghapp-server share: tokens, so that one mints for
// all; limits, in shares; orders of an operator's, such as to revoke; who else is there. It is
// NATS JetStream, in this process and in memory, with no port open, or a cluster elsewhere.
//
// It only saves work. Who may have what is decided before it is asked, values come back sealed
// or not at all, and where it is away, slow or empty each replica goes on alone, within its
// share of the limits, and says so.
package engine

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/secret"
)

// Options says where the engine is.
type Options struct {
	// URL is that of a NATS server, or several with commas between them:
	// tls://nats-0:4222,tls://nats-1:4222. Empty: a server in this process, alone.
	URL string
	// TLS has the certificate that is shown and the authorities that are believed. It is
	// needed but on this machine.
	TLS *tls.Config
	// Credentials is the path of a file with the user's JWT and seed (.creds); may be empty.
	Credentials string
	// SealKeys are of 32 bytes and more each. The first seals, all open, so that one can be
	// replaced while replicas run. They are needed with a URL, and made at random without.
	SealKeys []secret.Text
	// Prefix begins the names of the buckets. Empty: ghapp.
	Prefix string
	// Copies is in how many servers of a cluster each bucket is. 0: three, or one where there is
	// no cluster.
	Copies int
	// Patience is how long one operation may take before the engine counts as away. 0: 250ms.
	Patience time.Duration
	// Log is told when the engine goes and comes. Nil: nothing is logged.
	Log *slog.Logger
}

// Times of the engine.
const (
	patience   = 250 * time.Millisecond // for one operation, where nothing else is asked for
	setUp      = 5 * time.Second        // for what is made at a start
	probePause = 250 * time.Millisecond // between two looks whether it is back
)

// Engine is one replica's way to what all share. It is safe for concurrent use.
type Engine struct {
	id       string // of this replica
	log      *slog.Logger
	options  Options
	embedded *embedded // nil with a URL
	conn     *nats.Conn
	js       jetstream.JetStream
	keys     sealKeys
	work     bucket // in memory: what may be lost
	kept     bucket // on disk, where that outlasts this process: orders, and which tokens are out

	away   atomic.Pointer[AwayError] // nil: it is there
	wake   chan struct{}             // somebody found that it is away
	turns  turns
	shares shares
	others replicas
	orders orders
	served served
	minted minted // by any of the transports
	stop   context.CancelFunc
	group  sync.WaitGroup
}

// bucket is a key-value bucket.
type bucket struct {
	name    string
	storage jetstream.StorageType
	kv      atomic.Pointer[jetstream.KeyValue]
	stream  atomic.Pointer[jetstream.Stream]
}

// AwayError says that the engine cannot be used at present.
type AwayError struct {
	Err   error
	Since time.Time
}

func (e *AwayError) Error() string { return "the engine (NATS) is away: " + e.Err.Error() }

// Unwrap returns why.
func (e *AwayError) Unwrap() error { return e.Err }

// Open connects, or starts a server in this process. A server elsewhere that is not there is
// no error: it is waited for while the replica goes on alone.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Prefix == "" {
		o.Prefix = "ghapp"
	}
	if o.Patience <= 0 {
		o.Patience = patience
	}
	e := &Engine{id: rand.Text()[:16], log: o.Log, options: o, wake: make(chan struct{}, 1)}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.work = bucket{name: o.Prefix + "_work", storage: jetstream.MemoryStorage}
	e.kept = bucket{name: o.Prefix + "_kept", storage: jetstream.FileStorage}
	var err error
	if o.URL == "" {
		e.kept.storage = jetstream.MemoryStorage
		o.SealKeys = []secret.Text{secret.New(rand.Text() + rand.Text())}
		if e.embedded, err = startEmbedded(); err != nil {
			return nil, fmt.Errorf("start the engine: %w", err)
		}
	}
	if e.keys, err = newSealKeys(o.SealKeys); err == nil {
		e.conn, err = nats.Connect(o.URL, e.connection()...)
	}
	if err == nil {
		e.js, err = jetstream.New(e.conn)
	}
	if err != nil {
		e.end()
		return nil, fmt.Errorf("connect to the engine: %w", err)
	}
	e.begin(ctx)
	return e, nil
}

// check looks at what is asked for.
func (o Options) check() error {
	if o.URL == "" {
		return nil
	}
	for one := range strings.SplitSeq(o.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		switch {
		case err != nil || u.Host == "" || u.Scheme != "nats" && u.Scheme != "tls":
			return &fault.SettingError{
				Err:  errors.New("the address of NATS cannot be read"),
				Hint: "write tls://HOST:PORT, with commas between several",
			}
		case u.User != nil:
			return &fault.SettingError{
				Err:  errors.New("the address of NATS has a user or a password in it, which others could see"),
				Hint: "put them into a credentials file, or use a client certificate",
			}
		case o.TLS == nil && !isLocal(u.Hostname()):
			return &fault.SettingError{
				Err:  fmt.Errorf("NATS at %s would be spoken to in the clear", u.Host),
				Hint: "give a certificate and a certificate authority for it",
			}
		}
	}
	if len(o.SealKeys) == 0 {
		return &fault.SettingError{
			Err:  errors.New("there is no key to seal what NATS keeps"),
			Hint: "make one for all replicas: openssl rand -base64 32 > seal.key; chmod 600 seal.key",
		}
	}
	return nil
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// connection is how the client behaves: it goes on trying without end, and what cannot be
// sent at once is not kept for later.
func (e *Engine) connection() []nats.Option {
	options := []nats.Option{
		nats.Name("ghapp-server " + e.id), nats.MaxReconnects(-1), nats.ReconnectWait(probePause),
		nats.RetryOnFailedConnect(true), nats.ReconnectBufSize(-1), nats.Timeout(2 * time.Second),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err == nil {
				err = nats.ErrDisconnected
			}
			e.goAway(&AwayError{err, time.Now()})
		}),
		nats.ReconnectHandler(func(*nats.Conn) { e.look() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			e.log.Debug("NATS reports", "error", err)
		}),
	}
	if e.embedded != nil {
		return append(options, nats.InProcessServer(e.embedded.server))
	}
	if e.options.TLS != nil {
		options = append(options, nats.Secure(e.options.TLS))
	}
	if e.options.Credentials != "" {
		options = append(options, nats.UserCredentials(e.options.Credentials))
	}
	return options
}

// begin makes the buckets, or leaves that to later, and starts what goes on.
func (e *Engine) begin(ctx context.Context) {
	if err := e.ensure(ctx); err != nil {
		e.goAway(&AwayError{err, time.Now()})
	}
	going, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.stop = stop
	for _, run := range []func(context.Context){e.probe, e.heartbeat, e.follow} {
		e.group.Go(func() { run(going) })
	}
}

// Close leaves.
func (e *Engine) Close() {
	e.stop()
	e.group.Wait()
	e.leave(context.Background())
	e.end()
}

func (e *Engine) end() {
	if e.conn != nil {
		e.conn.Close()
	}
	if e.embedded != nil {
		e.embedded.stop()
	}
}

// ensure makes the buckets, and puts those right that are other than they are to be.
func (e *Engine) ensure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, setUp)
	defer cancel()
	for _, b := range []*bucket{&e.work, &e.kept} {
		copies := e.options.Copies
		if copies == 0 && e.embedded == nil {
			copies = 3
		}
		stream, err := e.js.CreateOrUpdateStream(ctx, b.config(max(copies, 1)))
		if isError(err, jsErrReplicasNotSupported) && e.options.Copies == 0 {
			stream, err = e.js.CreateOrUpdateStream(ctx, b.config(1))
		}
		if err != nil {
			return fmt.Errorf("make the bucket %s: %w", b.name, err)
		}
		kv, err := e.js.KeyValue(ctx, b.name)
		if err != nil {
			return fmt.Errorf("open the bucket %s: %w", b.name, err)
		}
		b.stream.Store(&stream)
		b.kv.Store(&kv)
	}
	return nil
}

// config is that of the stream which a bucket is. It is read from its leader, since a copy that lags
// behind would have a token minted twice. What ends by its time to live, or is deleted, leaves no
// marker behind.
func (b *bucket) config(copies int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "KV_" + b.name, Subjects: []string{b.subject(">")}, Description: "ghapp-server",
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: maxEntry + 4<<10, Discard: jetstream.DiscardNew,
		Storage: b.storage, Replicas: copies, AllowRollup: true, AllowMsgTTL: true, Duplicates: time.Second,
	}
}

func (b *bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// Codes of NATS's that its client has no name for.
const (
	jsErrReplicasNotSupported = 10074 // there is no cluster
	jsErrTooLarge             = 10054 // of a message
)

// isError reports whether an error is one of NATS's.
func isError(err error, code jetstream.ErrorCode) bool {
	e, ok := errors.AsType[*jetstream.APIError](err)
	return ok && e.ErrorCode == code
}

// do runs one operation, and not longer than an operation may take. An error that tells of the
// engine, and not of the entry, has the next ones fail at once until it is back.
func (e *Engine) do(ctx context.Context, operation func(context.Context) error) error {
	if away := e.away.Load(); away != nil {
		return away
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	bounded, cancel := context.WithTimeout(ctx, e.options.Patience)
	defer cancel()
	err := operation(bounded)
	if err == nil || errors.Is(err, errTaken) || errors.Is(err, jetstream.ErrKeyNotFound) ||
		errors.Is(err, nats.ErrMaxPayload) || isError(err, jsErrTooLarge) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // the caller's own end says nothing of the engine
	}
	away := &AwayError{err, time.Now()}
	e.goAway(away)
	return away
}

// goAway notes that the engine is away.
func (e *Engine) goAway(away *AwayError) {
	if e.away.CompareAndSwap(nil, away) {
		e.log.Warn("the engine is away: each replica mints for itself, within its share of the limits", "error", away.Err)
	}
	e.look()
}

// look has the engine looked for.
func (e *Engine) look() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// probe brings the engine back when it is there again, with all that it should have.
func (e *Engine) probe(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		}
		for e.away.Load() != nil && ctx.Err() == nil {
			if e.conn.IsConnected() && e.ensure(ctx) == nil {
				if before := e.away.Swap(nil); before != nil {
					e.log.Info("the engine is back", "after", time.Since(before.Since).Round(time.Millisecond))
				}
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(probePause):
			}
		}
	}
}

// Ready returns nil where every server that is to have a copy has all of it, so that another may be
// stopped, and else why not.
func (e *Engine) Ready(ctx context.Context) error {
	if away := e.away.Load(); away != nil {
		return away
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, b := range []*bucket{&e.work, &e.kept} {
		info, err := (*b.stream.Load()).Info(ctx)
		if err != nil {
			return fmt.Errorf("look at the bucket %s: %w", b.name, err)
		}
		if info.Cluster == nil || info.Config.Replicas <= 1 {
			continue
		}
		current := 1
		for _, peer := range info.Cluster.Replicas {
			if peer.Current && !peer.Offline {
				current++
			}
		}
		if info.Cluster.Leader == "" || current < info.Config.Replicas {
			return fmt.Errorf("the bucket %s has %d copies that are current, of %d", b.name, current, info.Config.Replicas)
		}
	}
	return nil
}

// Status is how the engine gets on.
type Status struct {
	Embedded bool
	// Away is why it cannot be used, nil while it can.
	Away error
	// Replicas is how many of ghapp-server are there, and Known how many were of late, by which a
	// limit is shared while the engine is away.
	Replicas, Known int
	// Generations are the policies' that replicas have; more than one means that they differ.
	Generations []string
}

// Status tells how the engine gets on, without asking it.
func (e *Engine) Status() Status {
	s := e.others.status()
	s.Embedded = e.embedded != nil
	if away := e.away.Load(); away != nil {
		s.Away = away
	}
	return s
}
