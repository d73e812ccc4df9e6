package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/secret"
)

// Receiver takes records by HTTP: POST with a line each (application/x-ndjson). It answers with
// a status of 2xx when it keeps them. What it has not acknowledged it is sent once more, so
// that it may see a record twice, which it tells by seq, chain and hash.
type Receiver struct {
	// URL is https, or http on this machine.
	URL string
	// Bearer goes into the Authorization header; may be empty.
	Bearer secret.Text
	// Transport sends the requests. Nil: net/http's.
	Transport http.RoundTripper
}

// receiver is the sink of a [Receiver].
type receiver struct {
	Receiver
	client *http.Client
}

func newReceiver(r Receiver) (*receiver, error) {
	u, err := url.Parse(r.URL)
	local := err == nil && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1")
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return nil, &fault.SettingError{
			Err:  errors.New("what receives the audit is not named by an https address"),
			Hint: "name it as https://HOST/PATH, and what it wants to be shown in a file of its own",
		}
	}
	return &receiver{r, &http.Client{
		Transport: r.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the records are for the one that was named
		},
	}}, nil
}

func (r *receiver) write(ctx context.Context, lines [][]byte, _ place) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(bytes.Join(lines, nil)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	if !r.Bearer.IsZero() {
		request.Header.Set("Authorization", "Bearer "+r.Bearer.Reveal())
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return fmt.Errorf("send the audit: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("send the audit: the receiver answers %d %s", answer.StatusCode, text.FirstLine(string(body)))
	}
	return err
}

func (r *receiver) reopen() error { return nil }

func (r *receiver) close() error {
	r.client.CloseIdleConnections()
	return nil
}
