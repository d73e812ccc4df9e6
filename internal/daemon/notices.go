package daemon

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/notify"
	"github.com/ghapp-dev/ghapp/secret"
)

const (
	// maxNotices is how many wait to be sent; one more is left out, and the log says so.
	maxNotices = 100
	// lastNotices is how long what was told before the end may still take to be sent.
	lastNotices = 5 * time.Second
)

// Notices go to a receiver, one after the other, and nobody waits for it.
type Notices struct {
	log      *slog.Logger
	receiver atomic.Pointer[notify.Notifier] // nil: nobody
	events   chan notify.Event
}

func newNotices(log *slog.Logger, receiver *notify.Notifier) *Notices {
	n := &Notices{log: log, events: make(chan notify.Event, maxNotices)}
	n.receiver.Store(receiver)
	return n
}

// Wanted reports whether there is a receiver.
func (n *Notices) Wanted() bool { return n.receiver.Load() != nil }

// Send has an event sent, where somebody wants it. The log is told where there are too many.
func (n *Notices) Send(e notify.Event, log *slog.Logger) {
	if !n.Wanted() {
		return
	}
	select {
	case n.events <- e:
	default:
		log.Warn("the receiver of notices does not keep up; one is left out", "event", string(e.What))
	}
}

// SendAll sends events until [Notices.Close], and then what is left.
func (n *Notices) SendAll(ctx context.Context) {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// The bound is for all of them: the end of the process waits for it.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastNotices, cancel) })()
	for e := range n.events {
		receiver := n.receiver.Load()
		if receiver == nil {
			continue // there is none any more
		}
		if err := receiver.Send(sending, e); err != nil {
			n.log.Warn("the notice was not delivered", "event", string(e.What), "name", e.Target, "error", err)
		}
	}
}

// Close says that there are no more.
func (n *Notices) Close() { close(n.events) }

// Receiver is who is told, as it is configured now, or nil.
func (o Options) Receiver() (*notify.Notifier, error) {
	address := o.Notify
	if address == "" {
		address, _ = o.LookupEnv(o.variable("NOTIFY_URL"))
	}
	if address == "" {
		return nil, nil
	}
	n := &notify.Notifier{
		URL: secret.New(address), Transport: api.NewTransport(nil), Version: o.Version, Log: o.Log,
	}
	if err := n.Check(); err != nil {
		return nil, &fault.SettingError{Err: err,
			Hint: "give an https URL with --notify or " + o.variable("NOTIFY_URL")}
	}
	if file := o.NotifySecretFile; file != "" {
		secret, err := readSecret(file)
		if err != nil {
			return nil, err
		}
		n.Secret = secret
	}
	return n, nil
}
