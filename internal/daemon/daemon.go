package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/notify"
)

// Options are what was said of a process that goes on.
type Options struct {
	Command string // sync or mirror: the names of its metrics and variables have it
	Version string // ghapp's

	Webhook, Status    string   // addresses, HOST:PORT; "": nobody is answered
	StatusHosts        []string // more names by which the status may be asked
	WebhookSecretFiles []string
	Notify             string // a URL that is told of what is new; "": that of the variable, or nobody
	NotifySecretFile   string

	LookupEnv func(name string) (value string, set bool)
	Log       *slog.Logger
}

// variable is the name of a variable of the command's.
func (o Options) variable(name string) string {
	return "GHAPP_" + strings.ToUpper(o.Command) + "_" + name
}

// Daemon is a process that goes on. [New] makes one, and Close ends it.
type Daemon struct {
	Options
	Counters *Counters
	Notices  *Notices
	Manager  *Manager

	webhook atomic.Pointer[hook.Handler]
	signals chan os.Signal
	servers *servers
}

// New makes a Daemon. From here on, SIGHUP and SIGUSR1 are requests, and not the end. The limits
// are those that its command's requests are counted against.
func New(o Options, limits *RateLimits) (*Daemon, error) {
	d := &Daemon{Options: o, signals: make(chan os.Signal, 1), servers: &servers{failed: make(chan error, 2)}}
	requested(d.signals)
	receiver, err := d.Receiver()
	if err != nil {
		signal.Stop(d.signals)
		return nil, err
	}
	d.Notices = newNotices(o.Log, receiver)
	d.Counters = newCounters(o, limits)
	d.Manager = &Manager{log: o.Log, lookupEnv: o.LookupEnv}
	return d, nil
}

// Close ends it. What was to be told is told by [Notices.Close].
func (d *Daemon) Close() {
	d.servers.close()
	signal.Stop(d.signals)
}

// Answer has requests to the webhook's address answered by a handler from now on.
func (d *Daemon) Answer(h *hook.Handler) { d.webhook.Store(h) }

// Requests are what somebody may want of a process that goes on. None may be nil.
type Requests struct {
	// Now looks at everything now (SIGUSR1).
	Now func(ctx context.Context)
	// Reload reads the configuration anew (SIGHUP). An error changes nothing.
	Reload func(ctx context.Context) error
	// Busy is what the end has to wait for, in words; "": nothing.
	Busy func() string
}

// Wait does what signals want until ctx ends, which is no failure, or a server fails.
func (d *Daemon) Wait(ctx context.Context, r Requests) error {
	for {
		select {
		case s := <-d.signals:
			if isReload(s) {
				d.reload(ctx, r.Reload)
			} else {
				r.Now(ctx)
			}
		case <-ctx.Done():
			d.Manager.Notify("STOPPING=1")
			waitsFor := r.Busy()
			if waitsFor == "" {
				waitsFor = "nothing"
			}
			d.Log.Info("ending after a signal", "waits_for", waitsFor)
			return nil
		case err := <-d.servers.failed:
			return err
		}
	}
}

// reload reads the configuration anew. What cannot be used is told, and changes nothing.
func (d *Daemon) reload(ctx context.Context, reload func(context.Context) error) {
	if d.Manager.IsReady() { // else it would be told that it is, in the end
		d.Manager.Notify("RELOADING=1")
		defer d.Manager.Notify("READY=1")
	}
	err := reload(ctx)
	if ctx.Err() != nil {
		return // the end came meanwhile, and is no fault of the configuration
	}
	d.Counters.onReload(err == nil)
	if err != nil {
		report := diag.Explain(err)
		d.Log.Error("the configuration cannot be used, and is used on as it was",
			"error", report.Message, "hint", report.Hint)
	}
}

// Use has notices go to a receiver, nil being nobody, and requests answered by a handler: what
// was read anew is used as a whole.
func (d *Daemon) Use(receiver *notify.Notifier, h *hook.Handler) {
	d.Notices.receiver.Store(receiver)
	d.Answer(h)
}
