package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/text"
)

// Limit says which of GitHub's limits an answer reports
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
type Limit int

// What an answer may report.
const (
	NoLimit        Limit = iota // the answer is about something else
	PrimaryLimit                // the hourly budget is used up; it is refilled at [Error.Until]
	SecondaryLimit              // too much at once; wait and go on more slowly
)

// Error is an answer of GitHub with a status of 300 or more.
type Error struct {
	Method string
	Path   string // of the request, without query
	Status int

	Message          string // GitHub's own, made printable, at most 500 bytes
	DocumentationURL string
	RequestID        string // X-GitHub-Request-Id, what GitHub's support asks for

	// AcceptedPermissions is X-Accepted-GitHub-Permissions: what would have done.
	AcceptedPermissions string

	Limit Limit
	// Until is when to come back, on this machine's clock, at most [LongestWait] from now;
	// zero where GitHub does not say.
	Until time.Time

	// Offset is what has to be added to this machine's clock to get the one that the
	// answer was dated by. It may be beyond [MaxOffset].
	Offset time.Duration
}

// LongestWait bounds what an answer says of when to come back: no limit of GitHub's is
// refilled later than that
// (https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
const LongestWait = time.Hour

// unknownWait is waited where a limit does not say for how long, or names a time that has
// passed. GitHub: "wait for at least one minute".
const unknownWait = time.Minute

func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: %d", e.Method, e.Path, e.Status)
	if e.Message != "" {
		text += fmt.Sprintf(" %q", e.Message)
	}
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// retryable reports whether the same request may succeed later: a server's
// failure or a limit, never a refusal.
func (e *Error) retryable() bool {
	switch e.Status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.Limit != NoLimit
}

// NewError reads the class of an answer from its headers and its bounded body. It
// came at now, on the local clock, which offset turns into the server's. What was
// asked is for the caller to fill in.
func NewError(r *http.Response, body []byte, now time.Time, offset time.Duration) *Error {
	e := &Error{
		Status:              r.StatusCode,
		RequestID:           printable(r.Header.Get("X-GitHub-Request-Id"), 80),
		AcceptedPermissions: printable(r.Header.Get("X-Accepted-GitHub-Permissions"), 200),
	}
	var answer struct {
		Message          string `json:"message"`
		DocumentationURL string `json:"documentation_url"`
		Errors           []json.RawMessage
	}
	if json.Unmarshal(body, &answer) == nil {
		e.Message = printable(strings.Join(append([]string{answer.Message}, details(answer.Errors)...), "; "), 500)
		e.DocumentationURL = printable(answer.DocumentationURL, 300)
	}
	e.limits(r.Header, now, offset)
	return e
}

// details flattens the errors array, whose members are strings or objects.
func details(raw []json.RawMessage) []string {
	var texts []string
	for _, r := range raw {
		var text string
		var object struct{ Message, Resource, Field, Code string }
		switch {
		case json.Unmarshal(r, &text) == nil:
		case json.Unmarshal(r, &object) == nil && object.Message != "":
			text = object.Message
		case object.Field != "":
			text = strings.TrimSpace(object.Resource + " " + object.Field + " " + object.Code)
		}
		if text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// limits tells a limit from a refusal. Both may come as 403; a refusal for want
// of permission carries rate limit headers too, with budget left, and must never
// be waited for.
func (e *Error) limits(h http.Header, now time.Time, offset time.Duration) {
	if e.Status != http.StatusForbidden && e.Status != http.StatusTooManyRequests &&
		e.Status != http.StatusServiceUnavailable {
		return
	}
	wait, hasWait := RetryAfter(h.Get("Retry-After"), now.Add(offset))
	exhausted := h.Get("X-RateLimit-Remaining") == "0"
	secondary := strings.Contains(strings.ToLower(e.Message), "secondary rate limit") ||
		strings.Contains(strings.ToLower(e.Message), "abuse detection")
	switch {
	case secondary || hasWait:
		if e.Status == http.StatusServiceUnavailable && !secondary {
			e.Until = now.Add(wait)
			return
		}
		e.Limit = SecondaryLimit
		if !hasWait {
			wait = unknownWait
		}
		e.Until = now.Add(wait)
	case exhausted:
		e.Limit = PrimaryLimit
		if reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			e.Until = now.Add(untilReset(reset, now.Add(offset)))
		}
	case e.Status == http.StatusTooManyRequests:
		e.Limit = SecondaryLimit
		e.Until = now.Add(unknownWait)
	}
}

// untilReset is how long to wait for a time in seconds since 1970, at most [LongestWait].
// now is by the same clock. A time that has passed, but for the second that it is rounded
// to, is none to go by.
func untilReset(seconds int64, now time.Time) time.Duration {
	wait := time.Unix(min(max(seconds, 0), now.Add(LongestWait).Unix()), 0).Sub(now)
	if wait < -time.Second {
		return unknownWait
	}
	return min(max(wait, 0), LongestWait)
}

// RetryAfter reads Retry-After (RFC 9110 section 10.2.3): seconds, or a date, which
// is compared with now on the same clock. It returns [LongestWait] at most, and reports
// false for what is neither, such as a number below zero.
func RetryAfter(value string, now time.Time) (time.Duration, bool) {
	if value != "" && digits(value) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(LongestWait/time.Second) {
			return LongestWait, true // it has more digits than a number may have, at worst
		}
		return time.Duration(seconds) * time.Second, true
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), LongestWait), true
	}
	return 0, false
}

func digits(text string) bool { return strings.Trim(text, "0123456789") == "" }

// printable makes a server's text fit for a terminal and a log line (CVE-2024-52005 is
// the case in git): one line of at most limit bytes.
func printable(s string, limit int) string { return text.Shorten(text.OneLine(s), limit) }

// RedirectError is a redirect that was not followed: to another host, or, where From
// and To are the same, one that would turn a POST into a GET, or one too many.
type RedirectError struct {
	From, To string // scheme and host
	Status   int
}

func (e *RedirectError) Error() string {
	if e.From == e.To {
		return fmt.Sprintf("%s redirects (%d) within itself: not followed, "+
			"since it goes in circles or would lose the request's body", e.From, e.Status)
	}
	return fmt.Sprintf("%s redirects (%d) to %s: not followed, since the credential is for the first host only",
		e.From, e.Status, e.To)
}
