// Package notify tells a webhook what became of a target of ghapp sync, or of a mirror.
package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/secret"
)

const (
	// maxTries is how often an event is sent at most.
	maxTries = 3
	// tryFor is how long a receiver may take to answer one of them.
	tryFor = 10 * time.Second
	// maxWait is how long is waited before another, at most: a receiver that wants more (Retry-After) is left alone.
	maxWait = 10 * time.Second
	// maxAnswer is how much of an answer is read, in bytes, so that its connection can be used again.
	maxAnswer = 64 << 10
)

// Notifier sends events to one receiver. It is safe for concurrent use, and its fields must not be changed once it is
// in use.
type Notifier struct {
	// URL is the receiver's. It is a secret: the URLs of chat services let everybody post who knows them. Nothing but
	// its host is ever told.
	URL secret.Text
	// Secret, if there is one, signs each event as GitHub signs a delivery: X-Hub-Signature-256.
	// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
	Secret secret.Text
	// Transport sends the events. Nil: net/http's own, with the proxy of the environment.
	Transport http.RoundTripper
	// Version is ghapp's.
	Version string
	// Log is told of every try after the first. Nil means nobody is.
	Log *slog.Logger
}

// StatusError is a receiver that did not take an event.
type StatusError struct {
	Host   string
	Status int
}

func (e *StatusError) Error() string {
	if e.Status >= 300 && e.Status < 400 {
		return fmt.Sprintf("%s answered %d: it sends us elsewhere, where an event is not sent", e.Host, e.Status)
	}
	return fmt.Sprintf("%s answered %d %s", e.Host, e.Status, http.StatusText(e.Status))
}

// Check returns what is wrong with the URL: it has to be https, or http to this machine. The error tells nothing of it
// but its host.
func (n *Notifier) Check() error {
	_, err := n.target()
	return err
}

func (n *Notifier) target() (*url.URL, error) {
	u, err := url.Parse(n.URL.Reveal())
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("the address to notify is not a URL; write https://HOST/PATH")
	case u.Scheme == "https", u.Scheme == "http" && api.IsLoopback(u.Hostname()):
		u.Fragment, u.RawFragment = "", ""
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf(
			"the address to notify, at %s, is http://, which would send its secret unencrypted; use https://", u.Host)
	}
	return nil, fmt.Errorf("the address to notify, at %s, is not https://", u.Host)
}

// Send sends an event, and again, twice at most, where the receiver was not reached, had a fault of its own, or wants
// it later. That takes less than a minute. An event may arrive more than once, under the same X-Ghapp-Delivery. The
// error, a *[StatusError], an *[api.NetworkError] or that of ctx, tells nothing of the URL but its host. The target has
// not failed because of it: a caller should log it and go on.
func (n *Notifier) Send(ctx context.Context, e Event) error {
	u, err := n.target()
	if err != nil {
		return err
	}
	text, err := e.encode(n.Version)
	if err != nil {
		return err
	}
	log := n.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	delivery := rand.Text()
	waits := &waits{ExponentialBackOff: backoff.NewExponentialBackOff()}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		err := n.post(ctx, u, e.What, delivery, text, waits)
		if !waits.again {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(waits), backoff.WithMaxTries(maxTries), backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, next time.Duration) {
			log.Info("waiting to notify again", "wait", next.Round(time.Millisecond), "error", err)
		}))
	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		err = permanent.Err
	}
	if err != nil && ctx.Err() != nil {
		return api.Ended(ctx)
	}
	return err
}

// waits is the waiting between the tries: what the receiver told, or else growing.
type waits struct {
	*backoff.ExponentialBackOff
	again      bool          // another try makes sense
	retryAfter time.Duration // 0: nothing
}

// NextBackOff implements [backoff.BackOff].
func (w *waits) NextBackOff() time.Duration {
	switch next := w.ExponentialBackOff.NextBackOff(); {
	case w.retryAfter > maxWait:
		return backoff.Stop
	default:
		return max(next, w.retryAfter)
	}
}

// post sends an event a single time.
func (n *Notifier) post(ctx context.Context, u *url.URL, what What, delivery string, text []byte, w *waits) error {
	w.again, w.retryAfter = false, 0
	ctx, cancel := context.WithTimeoutCause(ctx, tryFor, errors.New("no answer within "+tryFor.String()))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(text))
	if err != nil {
		return errors.New("the address to notify is not usable") // the error would quote it
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ghapp/"+n.Version)
	req.Header.Set("X-Ghapp-Event", string(what))
	req.Header.Set("X-Ghapp-Delivery", delivery)
	if !n.Secret.IsZero() {
		mac := hmac.New(sha256.New, []byte(n.Secret.Reveal()))
		mac.Write(text)
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	client := &http.Client{Transport: n.Transport, CheckRedirect: sameOriginOnly}
	if n.Transport == nil {
		client.Transport = http.DefaultTransport
	}
	answer, err := client.Do(req)
	if err != nil {
		failure := &api.NetworkError{Host: u.Host, Err: n.withoutSecrets(ctx, u, err)}
		w.again = failure.Temporary()
		return failure
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	if answer.StatusCode/100 == 2 {
		return nil
	}
	w.again = answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= 500
	w.retryAfter, _ = api.RetryAfter(answer.Header.Get("Retry-After"), time.Now())
	return &StatusError{Host: u.Host, Status: answer.StatusCode}
}

// sameOriginOnly lets a redirect pass that stays at the receiver and keeps the method; any other is the answer.
func sameOriginOnly(next *http.Request, via []*http.Request) error {
	from := via[0]
	sameOrigin := next.URL.Scheme == from.URL.Scheme && next.URL.Host == from.URL.Host
	if !sameOrigin || next.Method != from.Method || len(via) >= 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// withoutSecrets is the error of a request without what is secret of its URL. net/http wraps the whole of it around,
// and quotes what it cannot read of an answer, in which the receiver may have told it back.
func (n *Notifier) withoutSecrets(ctx context.Context, u *url.URL, err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	secrets := scrub.New(n.URL, n.Secret, secret.New(u.RequestURI()))
	separator := func(r rune) bool { return strings.ContainsRune("/?&=;", r) }
	for part := range strings.FieldsFuncSeq(u.RequestURI(), separator) {
		secrets.Add(secret.New(part))
	}
	password, _ := u.User.Password()
	secrets.Add(secret.New(password))
	secrets.Add(secret.New(u.User.Username()))
	if text := err.Error(); secrets.String(text) != text {
		return errors.New(secrets.String(text))
	}
	return err
}

// encode writes the body of an event.
func (e Event) encode(version string) ([]byte, error) {
	e.At = e.At.UTC().Truncate(time.Second)
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		Text string `json:"text"`
		Event
		Version string `json:"ghapp_version"`
	}{e.String(), e, version})
	return b.Bytes(), err
}
