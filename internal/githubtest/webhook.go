package githubtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Webhook is where GitHub tells of an App's events.
// https://docs.github.com/en/apps/creating-github-apps/registering-a-github-app/using-webhooks-with-github-apps
type Webhook struct {
	URL    string
	Secret string // signs what is delivered; may be empty
	Form   bool   // deliver application/x-www-form-urlencoded, not application/json

	// Origin is scheme and host of GitHub's own addresses in what is delivered: the address of a server with this GitHub
	// as its handler. Default "https://github.com".
	Origin string

	// Transport delivers. Nil means net/http's own, without a proxy.
	Transport http.RoundTripper
}

// Delivery is an event that was sent to an App's webhook.
type Delivery struct {
	GUID       string // X-GitHub-Delivery
	Event      string // X-GitHub-Event
	Redelivery bool
	Header     http.Header // as it was sent
	Body       []byte      // the same: the payload, or a form with it
	Payload    []byte      // JSON
	Status     int         // of the answer; 0 without one
	Answer     string      // its body, up to 64 KiB
	Err        error       // why there was no answer
	Took       time.Duration
}

// OK reports whether GitHub takes the event for delivered.
func (d Delivery) OK() bool { return d.Status/100 == 2 }

// deliverFor is how long GitHub waits for an answer.
// https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks#respond-within-10-seconds
const deliverFor = 10 * time.Second

// The most refs of one push that GitHub tells of. https://docs.github.com/en/webhooks/webhook-events-and-payloads#push
const (
	maxBranchesTold = 5000
	maxTagsTold     = 3
)

// SetWebhook sets an App's webhook, and the events it is subscribed to in the place of those it had. An App that is
// subscribed to "push", "create" or "delete", and whose installation reaches the repository, is told of every ref that
// [Repository.Commit], another method, or a push over HTTP changes; one that is subscribed to "repository", what
// becomes of it; and each of what becomes of its installations, unasked: before the method returns, or before the push
// is answered to its end, so that a test knows what has happened when. GitHub tells of it later, and so may be
// overtaken.
//
// A Webhook without a URL takes it away.
func (a *App) SetWebhook(w Webhook, events ...string) {
	a.gh.mu.Lock()
	defer a.gh.mu.Unlock()
	a.webhook, a.events = w, slices.Clone(events)
	if a.hookID == 0 {
		a.hookID = a.gh.id("hook")
	}
}

// Deliveries returns all that was sent to the App's webhook, the oldest first.
func (a *App) Deliveries() []Delivery {
	a.gh.mu.Lock()
	defer a.gh.mu.Unlock()
	return slices.Clone(a.deliveries)
}

// Deliver sends an event to the App's webhook, whether it is subscribed to that or not. The payload is sent as JSON.
func (a *App) Deliver(event string, payload any) Delivery {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(payload); err != nil {
		return Delivery{Event: event, Err: fmt.Errorf("githubtest: %w", err)}
	}
	return a.deliver(Delivery{GUID: guid(), Event: event, Payload: bytes.TrimSpace(body.Bytes())})
}

// Ping sends what GitHub sends to a new webhook.
func (a *App) Ping() Delivery {
	a.gh.mu.Lock()
	w := a.webhook
	kind := "json"
	if w.Form {
		kind = "form"
	}
	config := map[string]any{"url": w.URL, "content_type": kind, "insecure_ssl": "0"}
	if w.Secret != "" {
		config["secret"] = "********"
	}
	payload := map[string]any{
		"zen":     "Keep it logically awesome.",
		"hook_id": a.hookID,
		"hook": map[string]any{
			"type": "App", "id": a.hookID, "name": "web", "active": true, "events": list(a.events), "config": config,
			"created_at": timestamp(a.created), "updated_at": timestamp(a.created), "app_id": a.ID,
			"deliveries_url": a.calls().api + "/app/hook/deliveries",
		},
	}
	a.gh.mu.Unlock()
	return a.Deliver("ping", payload)
}

// Redeliver sends what was delivered once more, under the same GUID, as the button "Redeliver" does. GitHub signs anew,
// with the secret of now. A GUID that was never delivered is an error.
func (a *App) Redeliver(guid string) (Delivery, error) {
	for _, d := range a.Deliveries() {
		if d.GUID == guid && !d.Redelivery {
			d.Redelivery = true
			return a.deliver(d), nil
		}
	}
	return Delivery{}, fmt.Errorf("githubtest: nothing was delivered as %s", guid)
}

// deliver sends a delivery whose GUID, event and payload are there.
func (a *App) deliver(d Delivery) Delivery {
	a.gh.mu.Lock()
	w, hookID := a.webhook, a.hookID
	a.gh.mu.Unlock()
	d.Header = http.Header{
		"User-Agent":                             {"GitHub-Hookshot/44a2f5c"},
		"Accept":                                 {"*/*"},
		"Content-Type":                           {"application/json"},
		"X-Github-Event":                         {d.Event},
		"X-Github-Delivery":                      {d.GUID},
		"X-Github-Hook-Id":                       {strconv.FormatInt(hookID, 10)},
		"X-Github-Hook-Installation-Target-Type": {"integration"},
		"X-Github-Hook-Installation-Target-Id":   {strconv.FormatInt(a.ID, 10)},
	}
	d.Body = d.Payload
	if w.Form {
		d.Body = []byte(url.Values{"payload": {string(d.Payload)}}.Encode())
		d.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if w.Secret != "" {
		d.Header.Set("X-Hub-Signature", "sha1="+sign(sha1.New, w.Secret, d.Body))
		d.Header.Set("X-Hub-Signature-256", "sha256="+sign(sha256.New, w.Secret, d.Body))
	}
	begun := time.Now()
	d.Status, d.Answer, d.Err = w.post(a.gh.ctx, d.Header, d.Body)
	d.Took = time.Since(begun)
	a.gh.mu.Lock()
	defer a.gh.mu.Unlock()
	a.deliveries = append(a.deliveries, d)
	return d
}

// post sends a delivery, and returns what was answered.
func (w Webhook) post(ctx context.Context, header http.Header, body []byte) (status int, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliverFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return 0, "", fmt.Errorf("githubtest: %w", err)
	}
	req.Header = header.Clone()
	client := &http.Client{
		Transport:     w.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if client.Transport == nil {
		client.Transport = &http.Transport{DisableKeepAlives: true}
	}
	answer, err := client.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("githubtest: %w", err)
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	return answer.StatusCode, string(said), nil
}

func sign(algorithm func() hash.Hash, secret string, body []byte) string {
	mac := hmac.New(algorithm, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// guid has the form of GitHub's.
func guid() string {
	b := make([]byte, 16)
	rand.Read(b)
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// calls makes the bodies of what is delivered. It is called with the lock held.
func (a *App) calls() *call {
	c := &call{gh: a.gh, web: cmp.Or(a.webhook.Origin, "https://github.com"), version: version2022}
	c.api = c.web + "/api/v3"
	if c.web == "https://github.com" {
		c.api = "https://api.github.com"
	}
	return c
}
