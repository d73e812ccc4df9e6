package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// ForeignError is an answer that is not the API's: the page of a proxy, of a network that
// wants a sign-in, of another server, or of GitHub's own website. Its status means nothing.
type ForeignError struct {
	Host   string // that was asked
	Status int
	Media  string // of the answer, made printable; "" where it did not say
	// Message is that of an answer in JSON, made printable, such as a gateway's.
	Message string
	// Website says that it is GitHub's, but a page for people: the address lacks the
	// API's path.
	Website bool
	// Plain says that the port speaks TLS and was asked without.
	Plain bool
}

func (e *ForeignError) Error() string {
	media := "of no known type"
	if e.Media != "" {
		media = e.Media
	}
	if e.Message != "" {
		media = fmt.Sprintf("%s, %q", media, e.Message)
	}
	switch {
	case e.Plain:
		return fmt.Sprintf("%s speaks TLS there, and was asked without", e.Host)
	case e.Website:
		return fmt.Sprintf("%s answers %d (%s), as GitHub's website does and not its API", e.Host, e.Status, media)
	}
	return fmt.Sprintf("%s answers %d (%s), and not as GitHub does", e.Host, e.Status, media)
}

// Foreign returns what an answer of the API's address is, if it is not the API's, and else
// nil. body may have been cut off where the status is 300 or more.
//
// GitHub answers in JSON and names the request. What a proxy has taken the name from is
// still known by its form. A server's failure (500 and above) is never foreign, even from a
// proxy, and neither is a limit: those are waited for.
func Foreign(answer *http.Response, body []byte) *ForeignError {
	named := answer.Header.Get("X-GitHub-Request-Id") != ""
	body = bytes.TrimSpace(body)
	isJSON := json.Valid(body) || len(body) > 0 && (body[0] == '{' || body[0] == '[') // it may be cut off
	switch status := answer.StatusCode; {
	case status >= 500, answer.Header.Get("X-RateLimit-Remaining") == "0", answer.Header.Get("Retry-After") != "",
		status == http.StatusTooManyRequests:
		return nil
	case status < 300:
		if isJSON || named && len(body) == 0 {
			return nil
		}
	case named && (isJSON || len(body) == 0), documented(body):
		return nil
	}
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	e := &ForeignError{Status: answer.StatusCode, Media: printable(media, 80), Website: named}
	if answer.Request != nil {
		e.Host = answer.Request.URL.Host
		e.Plain = answer.Request.URL.Scheme == "http" && e.Status == http.StatusBadRequest && wantsTLS(body)
	}
	return e
}

// ForeignPage is Foreign for the git service, which refuses in plain text.
func ForeignPage(answer *http.Response) *ForeignError {
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	named := answer.Header.Get("X-GitHub-Request-Id") != ""
	if named || media != "text/html" || answer.StatusCode < 400 || answer.StatusCode >= 500 ||
		answer.Header.Get("Retry-After") != "" {
		return nil
	}
	e := &ForeignError{Status: answer.StatusCode, Media: media}
	if answer.Request != nil {
		e.Host = answer.Request.URL.Host
	}
	return e
}

// documented reports whether a refusal has the form of GitHub's
// (https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api).
func documented(body []byte) bool {
	var refusal struct {
		Message string `json:"message"`
		URL     string `json:"documentation_url"`
	}
	return json.Unmarshal(body, &refusal) == nil && refusal.Message != "" && refusal.URL != ""
}

// wantsTLS knows what the usual servers say to HTTP on the port of HTTPS.
func wantsTLS(body []byte) bool {
	text := string(body)
	return strings.Contains(text, "HTTP request to an HTTPS server") || // net/http
		strings.Contains(text, "plain HTTP request was sent to HTTPS port") || // nginx
		strings.Contains(text, "speaking plain HTTP to an SSL-enabled server") // Apache
}
