//go:build unix

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/hook"
	"github.com/ghapp-dev/ghapp/internal/notify"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// syncLog is the log of a process that keeps directories: what was published and what
// failed, and nothing of passes that found nothing.
func (c *command) syncLog(o config.SyncProcess) (*slog.Logger, error) {
	level := slog.LevelInfo
	switch {
	case c.quiet:
		level = slog.LevelError
	case c.verbose:
		level = slog.LevelDebug
	case !o.Watch:
		level = slog.LevelWarn
	}
	format := o.LogFormat
	switch {
	case format != "":
	case c.json && o.Watch:
		format = "json"
	case o.Watch && !term.Is(c.Stderr):
		format = "text"
	}
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "":
		return newLogger(c.Stderr, level), nil
	case "text":
		return slog.New(slog.NewTextHandler(scrubbed{c.Stderr}, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(scrubbed{c.Stderr}, options)), nil
	}
	return nil, &diag.UsageError{Err: fmt.Errorf("--log-format is text or json, not %q", format)}
}

// scrubbed takes tokens out of each record that a log writes: a server can repeat one in
// what it answers.
type scrubbed struct{ w io.Writer }

// Write implements [io.Writer].
func (s scrubbed) Write(record []byte) (int, error) {
	var secrets scrub.Scrubber
	// Both formats leave some characters as they are that a terminal obeys.
	if _, err := io.WriteString(s.w, text.JSON(secrets.String(string(record)))); err != nil {
		return 0, err
	}
	return len(record), nil
}

// watch goes on until ctx ends, which is no failure.
func (k *keeper) watch(ctx context.Context, o config.SyncProcess) error {
	c := k.command
	notifier, err := c.notifier(o, k.log)
	if err != nil {
		return err
	}
	handler, err := k.hook(ctx, o)
	if err != nil {
		return err
	}
	metrics := newSyncMetrics(k, c.release())
	servers, err := k.serve(ctx, o, handler, metrics)
	if err != nil {
		return err
	}
	defer servers.close()

	told := make(chan notify.Event, 100)
	tell := &teller{keeper: k, told: told, failing: map[*kept]bool{}, execTold: map[*kept]string{}}
	manager := k.manager()
	k.watcher.Jobs = o.Jobs
	k.watcher.Passed = func(p watch.Pass) {
		t := k.of[p.Target]
		metrics.passed(t, p)
		tell.passed(t, p, notifier != nil)
		manager.passed(t, p)
	}
	var beside sync.WaitGroup
	defer beside.Wait()
	watching, end := context.WithCancel(ctx)
	defer end()
	beside.Go(func() { k.watchdog(watching) })
	beside.Go(func() { sendEvents(watching, notifier, told, k.log) })
	defer close(told)
	k.log.Info("watching", "directories", len(k.kept), "webhook", servers.webhook, "status", servers.status)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		k.watcher.Run(watching)
	}()
	select {
	case <-ctx.Done():
		c.notify("STOPPING=1")
	case err = <-servers.failed:
		end()
	}
	<-stopped
	return err
}

// unready are the directories that show nothing yet.
func (k *keeper) unready() []string {
	var names []string
	for _, t := range k.kept {
		if r, err := t.deploy.Published(); err != nil || r == nil {
			names = append(names, t.entry.Name)
		}
	}
	return names
}

// manager tells the service manager, where there is one, how it stands. It looks at the
// directories as little as it can: passes are many.
type manager struct {
	keeper  *keeper
	waiting map[*kept]bool // that may show nothing yet
	failing map[*kept]bool
	ready   bool
	line    string // that it was told last
}

func (k *keeper) manager() *manager {
	m := &manager{keeper: k, waiting: map[*kept]bool{}, failing: map[*kept]bool{}}
	for _, t := range k.kept {
		m.waiting[t] = true
	}
	return m
}

func (m *manager) passed(t *kept, p watch.Pass) {
	if p.Outcome == watch.Failed || p.Outcome == watch.Waiting {
		m.failing[t] = true
	} else {
		delete(m.failing, t)
	}
	if !m.ready && m.shown() {
		m.ready = true
		m.keeper.command.notify("READY=1")
	}
	if line := m.text(); line != m.line {
		m.line = line
		m.keeper.command.notify("STATUS=" + line)
	}
}

// shown reports whether every directory shows something.
func (m *manager) shown() bool {
	for t := range m.waiting {
		if r, err := t.deploy.Published(); err != nil || r == nil {
			return false
		}
		delete(m.waiting, t)
	}
	return true
}

// text is the state of all in a few words, for systemctl status.
func (m *manager) text() string {
	text := fmt.Sprintf("%d directories are kept", len(m.keeper.kept))
	if !m.ready {
		text += "; not all show something yet"
	}
	if n := len(m.failing); n > 0 {
		text += fmt.Sprintf("; %d fail", n)
	}
	return text
}

// watchdog tells the service manager, as often as that wants it, that the loop answers
// (sd_watchdog_enabled(3)).
func (k *keeper) watchdog(ctx context.Context) {
	text, _ := k.command.lookup("WATCHDOG_USEC")
	pid, given := k.command.lookup("WATCHDOG_PID")
	usec, err := strconv.ParseInt(text, 10, 64)
	const longest = int64(24 * time.Hour / time.Microsecond) // more is as good as none
	if err != nil || usec <= 0 || usec > longest || given && pid != strconv.Itoa(os.Getpid()) {
		return
	}
	half := time.Duration(usec) * time.Microsecond / 2
	for tick := time.NewTicker(half); ; {
		asked, cancel := context.WithTimeout(ctx, half)
		if k.watcher.Alive(asked) {
			k.command.notify("WATCHDOG=1")
		}
		cancel()
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// teller tells the log, and a receiver, of what is new.
type teller struct {
	keeper  *keeper
	told    chan<- notify.Event
	failing map[*kept]bool
	// execTold are the commits after whose release a command has failed, and of which the
	// receiver knows that.
	execTold map[*kept]string
}

func (l *teller) passed(t *kept, p watch.Pass, send bool) {
	log := l.keeper.log.With("name", t.entry.Name, "repository", t.presently().String(), "wanted", t.want.String())
	e := notify.Event{
		Target: t.entry.Name, Repository: t.presently().String(), Ref: t.want.String(), Commit: p.Commit, Directory: t.entry.To, At: time.Now().UTC().Truncate(time.Second),
	}
	was := l.failing[t]
	l.failing[t] = p.Outcome == watch.Failed || p.Outcome == watch.Waiting && was
	switch p.Outcome {
	case watch.Failed:
		report := diag.Explain(p.Err)
		e.What, e.Error = notify.Failed, &report
		message := "failed; the directory stays as it was"
		after := errors.Is(p.Err, deploy.ErrExec)
		if after {
			e.What, message = notify.ExecFailed, "published, but the command after it failed"
		}
		log.Error(message, "commit", p.Commit, "error", report.Message, "hint", report.Hint, "kind", report.Kind, "again", p.Retry.Format(time.TimeOnly))
		if was && !after || after && l.execTold[t] == p.Commit { // it was told
			return
		}
		if after {
			l.execTold[t] = p.Commit
		}
	case watch.Published:
		if r, err := t.deploy.Published(); send && err == nil && r != nil && r.Commit == p.Commit {
			e.Previous = r.Previous
		}
		log.Info("up to date", "commit", p.Commit, "bytes", p.Bytes, "took", p.Took.Round(time.Millisecond))
		e.What = notify.Published
	default:
		log.Debug("nothing to do", "outcome", string(p.Outcome), "commit", p.Commit, "took", p.Took.Round(time.Millisecond))
		if !was || l.failing[t] {
			return
		}
		delete(l.execTold, t)
		log.Info("well again", "commit", p.Commit)
		e.What = notify.Recovered
	}
	if !send {
		return
	}
	select {
	case l.told <- e:
	default:
		log.Warn("the receiver of notices does not keep up; one is left out", "event", string(e.What))
	}
}

// lastNotices is how long what was told before the end may still take to be sent.
const lastNotices = 5 * time.Second

// sendEvents sends what is told, one after the other, until there is no more.
func sendEvents(ctx context.Context, n *notify.Notifier, told <-chan notify.Event, log *slog.Logger) {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// The bound is for all of them: whoever ends this waits for it.
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastNotices, cancel) })()
	for e := range told {
		if err := n.Send(sending, e); err != nil {
			log.Warn("the notice was not delivered", "event", string(e.What), "name", e.Target, "error", err)
		}
	}
}

// notifier is who is told, or nil.
func (c *command) notifier(o config.SyncProcess, log *slog.Logger) (*notify.Notifier, error) {
	address := o.Notify
	if address == "" {
		address, _ = c.lookup("GHAPP_SYNC_NOTIFY_URL")
	}
	if address == "" {
		return nil, nil
	}
	n := &notify.Notifier{URL: ghapp.NewSecret(address), Version: c.release(), Log: log}
	if err := n.Check(); err != nil {
		return nil, &diag.SettingError{Err: err, Hint: "give an https URL with --notify or GHAPP_SYNC_NOTIFY_URL"}
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

// secrets are those of files, or else of a variable. None is no secret at all, and never
// an open door.
func (c *command) secrets(files []string, variable string) ([]ghapp.Secret, error) {
	var list []ghapp.Secret
	for _, file := range files {
		secret, err := readSecret(file)
		if err != nil {
			return nil, err
		}
		list = append(list, secret)
	}
	if text, _ := c.lookup(variable); len(files) == 0 && strings.TrimSpace(text) != "" {
		list = append(list, ghapp.NewSecret(strings.TrimSpace(text)))
	}
	return list, nil
}

// mostSecret bounds the file of a secret, in bytes.
const mostSecret = 4 << 10

func readSecret(name string) (ghapp.Secret, error) {
	file, err := os.Open(name)
	if err != nil {
		return ghapp.Secret{}, &diag.SettingError{Err: fmt.Errorf("read a secret: %w", err), Hint: "name a file that this user can read"}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, mostSecret+1))
	switch trimmed := strings.TrimSpace(string(text)); {
	case err != nil:
		return ghapp.Secret{}, &diag.SettingError{Err: fmt.Errorf("read a secret: %w", err)}
	case trimmed == "":
		return ghapp.Secret{}, &diag.SettingError{Err: fmt.Errorf("%s is empty, and holds no secret", name), Hint: "openssl rand -hex 32 makes one; GitHub's page of the webhook takes the same"}
	case len(text) > mostSecret:
		return ghapp.Secret{}, &diag.SettingError{Err: fmt.Errorf("%s has more than %d bytes, and is no secret of a webhook", name, mostSecret)}
	default:
		return ghapp.NewSecret(trimmed), nil
	}
}

// hook is what answers GitHub's webhook and POST /sync; nil where nobody is to.
func (k *keeper) hook(ctx context.Context, o config.SyncProcess) (http.Handler, error) {
	c := k.command
	webhook, err := c.secrets(o.WebhookSecretFiles, "GHAPP_WEBHOOK_SECRET")
	if err != nil {
		return nil, err
	}
	wishes, err := c.secrets(o.SyncSecretFiles, "GHAPP_SYNC_SECRET")
	if err != nil {
		return nil, err
	}
	switch {
	case o.Webhook == "":
		return nil, nil
	case len(webhook) == 0 && len(wishes) == 0:
		return nil, &diag.SettingError{
			Err:  errors.New("--webhook has no secret, and would believe everybody"),
			Hint: "openssl rand -hex 32 > FILE, give that with --webhook-secret-file, and enter the same text as the webhook's secret at GitHub",
		}
	}
	return &hook.Handler{
		Secrets: webhook, SyncSecrets: wishes, Log: k.log,
		Pushed: func(p hook.Push, done func(error)) bool { return k.pushed(ctx, p, done) },
		Sync: func(names []string, all bool, done func(error)) []string {
			return k.wished(ctx, names, all, done)
		},
	}, nil
}

// pushed has those directories brought up to date that follow a ref, and reports whether
// there are any.
func (k *keeper) pushed(ctx context.Context, p hook.Push, done func(error)) bool {
	var list []*watch.Target
	for target, t := range k.of {
		r := t.presently()
		_, host, _ := strings.Cut(t.asker.Origin, "://")
		if strings.EqualFold(r.String(), p.Repository.String()) && strings.EqualFold(p.Repository.Host, host) && t.want.Matches(p.Ref) {
			list = append(list, target)
		}
	}
	if len(list) == 0 {
		return false
	}
	k.trigger(ctx, list, done)
	return true
}

// wished has the named directories brought up to date, and returns the names that none
// has.
func (k *keeper) wished(ctx context.Context, names []string, all bool, done func(error)) (unknown []string) {
	list := k.watcher.All()
	if !all {
		list = nil
		for _, name := range names {
			if t := k.watcher.Find(name); t != nil {
				list = append(list, t)
			} else {
				unknown = append(unknown, name)
			}
		}
	}
	if len(unknown) == 0 {
		k.trigger(ctx, list, done)
	}
	return unknown
}

// trigger asks for passes, and calls done once, when all have ended.
func (k *keeper) trigger(ctx context.Context, list []*watch.Target, done func(error)) {
	var mu sync.Mutex
	var failed []error
	left := len(list)
	for _, t := range list {
		k.watcher.Trigger(ctx, t, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
			if left--; left == 0 {
				done(errors.Join(failed...))
			}
		})
	}
}

// syncServers are those of a process that watches.
type syncServers struct {
	webhook, status string // their addresses; "" is none
	list            []*http.Server
	failed          chan error
}

// serve begins to answer, or says why it cannot.
func (k *keeper) serve(ctx context.Context, o config.SyncProcess, handler http.Handler, metrics *syncMetrics) (*syncServers, error) {
	s := &syncServers{failed: make(chan error, 2)}
	muxes := map[string]*http.ServeMux{}
	mux := func(address string) *http.ServeMux {
		if muxes[address] == nil {
			muxes[address] = http.NewServeMux()
		}
		return muxes[address]
	}
	if o.Webhook != "" {
		mux(o.Webhook).Handle("/", handler)
	}
	if o.Status != "" {
		m := mux(o.Status)
		m.HandleFunc("GET /healthz", k.healthz)
		m.HandleFunc("GET /readyz", k.readyz)
		m.HandleFunc("GET /metrics", metrics.serve)
	}
	for address, m := range muxes {
		var listening net.ListenConfig
		listener, err := listening.Listen(ctx, "tcp", address)
		if err != nil {
			s.close()
			return nil, &diag.SettingError{Err: fmt.Errorf("listen at %s: %w", address, err), Hint: "give an address such as 127.0.0.1:8080 or :8080 that is free"}
		}
		if address == o.Webhook {
			s.webhook = listener.Addr().String()
		}
		if address == o.Status {
			s.status = listener.Addr().String()
		}
		server := hook.NewServer(m, k.log)
		s.list = append(s.list, server)
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				s.failed <- err
			}
		}()
	}
	return s, nil
}

func (s *syncServers) close() {
	for _, server := range s.list {
		_ = server.Close()
	}
}

// healthz answers 200 while the loop does.
func (k *keeper) healthz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	if !k.watcher.Alive(ctx) {
		http.Error(w, "the loop does not answer", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// readyz answers 200 once every directory shows something. That it is old is no reason
// to take it away from those who use it.
func (k *keeper) readyz(w http.ResponseWriter, _ *http.Request) {
	if names := k.unready(); len(names) > 0 {
		http.Error(w, "nothing is published yet: "+strings.Join(names, ", "), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
