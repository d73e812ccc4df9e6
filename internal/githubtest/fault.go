package githubtest

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is something going wrong with the requests that match. Delay comes first, then the first of Reset, Handler,
// RedirectTo and Status or Body that is set; without any of these the request is carried out and answered as always, as
// far as Header, CutAfter and Overgrant let it.
type Fault struct {
	// Match is "METHOD PATH", such as "POST /app/installations/*/access_tokens". In the path "*" stands for any
	// characters within a segment, "**" as a segment for any number of segments. Letter case, a leading /api/v3 and
	// the ".git" of a repository make no difference. The method may be "*" or left out. Empty matches every request.
	Match string

	Times int // how many matching requests are hit; 0 means all until ClearFaults
	Skip  int // how many matching requests go free first

	Delay      time.Duration // wait this long, or until the client goes away
	Reset      bool          // close the connection without an answer
	RedirectTo string        // answer with a Location: this; a bare "http://host" gets the path and query asked for
	Status     int           // answer with this status; 0 means 200, and 307 with RedirectTo
	Body       string        // and this body; empty means what GitHub says with this status

	Handler http.Handler // answers, such as a [GitServer]

	Header http.Header // sent with the answer, in place of GitHub's own where there are such

	CutAfter  int        // close the connection after so many bytes of the body; 0 means not
	Overgrant *Overgrant // a mint gives more than it was asked for
}

// Overgrant is what a mint gives beyond what it was asked for.
type Overgrant struct {
	Permissions     map[string]string // added to the token's, granted to the installation or not
	AllRepositories bool              // the token is not narrowed to the repositories asked for
}

// MintPattern is the [Fault.Match] of the requests that mint an installation access token.
const MintPattern = "POST /app/installations/*/access_tokens"

// HTML502 is the page GitHub's front end shows when what is behind it does not answer: not JSON.
func HTML502(match string) Fault {
	return Fault{Match: match, Status: http.StatusBadGateway,
		Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body: "<!DOCTYPE html>\n<html>\n<head><title>Unicorn! &middot; GitHub</title></head>\n" +
			"<body><p><strong>This page is taking too long to load.</strong></p></body>\n</html>\n"}
}

// SecondaryLimit is the answer over a secondary rate limit: 403, the text that tells it from a missing permission,
// and Retry-After in whole seconds; none for 0.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
func SecondaryLimit(match string, retryAfter time.Duration) Fault {
	f := Fault{Match: match, Status: http.StatusForbidden, Body: `{"message":"You have exceeded a secondary rate limit. ` +
		`Please wait a few minutes before you try again.","documentation_url":` +
		`"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits","status":"403"}`}
	if retryAfter > 0 {
		f.Header = http.Header{"Retry-After": {strconv.Itoa(int(retryAfter / time.Second))}}
	}
	return f
}

// NoToken is a mint answered with 201 and JSON that holds no token.
func NoToken() Fault {
	return Fault{Match: MintPattern, Status: http.StatusCreated, Body: `{"expires_at":null,"permissions":{}}`}
}

// Fault makes requests go wrong until it has hit [Fault.Times] of them or [GitHub.ClearFaults] is called. Of several
// faults that match a request the oldest hits. It is an error if Match is not of its form or nothing is set to happen.
func (gh *GitHub) Fault(f Fault) error {
	method, pattern, err := splitMatch(f.Match)
	if err != nil {
		return err
	}
	if f.Delay <= 0 && !f.Reset && !f.answers() && f.Header == nil && f.CutAfter <= 0 && f.Overgrant == nil &&
		f.Handler == nil {
		return fmt.Errorf("githubtest: fault %q does nothing", f.Match)
	}
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.faults = append(gh.faults, &fault{Fault: f, method: method, pattern: segments(pattern)})
	return nil
}

// ClearFaults ends all faults.
func (gh *GitHub) ClearFaults() {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.faults = nil
}

// fault is a Fault and how often it matched.
type fault struct {
	Fault
	method  string // "*" for any
	pattern []string
	seen    int
}

func splitMatch(match string) (method, pattern string, err error) {
	fields := strings.Fields(match)
	switch len(fields) {
	case 0:
		return "*", "/**", nil
	case 1:
		fields = []string{"*", fields[0]}
	}
	method, pattern = strings.ToUpper(fields[0]), fields[1]
	if len(fields) > 2 || !strings.HasPrefix(pattern, "/") || strings.Contains(method, "/") {
		return "", "", fmt.Errorf("githubtest: fault matches %q, which is not of the form METHOD /PATH", match)
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return "", "", fmt.Errorf("githubtest: fault matches %q: %w", match, err)
	}
	return method, pattern, nil
}

// segments are those of a path, without what makes no difference to a match.
func segments(path string) []string {
	path = strings.TrimPrefix(strings.ToLower(path), "/api/v3/")
	list := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i := range list {
		list[i] = strings.TrimSuffix(list[i], ".git")
	}
	return list
}

func matches(pattern, list []string) bool {
	switch {
	case len(pattern) == 0:
		return len(list) == 0
	case pattern[0] == "**":
		return matches(pattern[1:], list) || len(list) > 0 && matches(pattern, list[1:])
	case len(list) == 0:
		return false
	}
	ok, _ := path.Match(pattern[0], list[0])
	return ok && matches(pattern[1:], list[1:])
}

func (f *fault) spent() bool { return f.Times > 0 && f.seen >= f.Skip+f.Times }

func (f *fault) matches(r *http.Request) bool {
	return !f.spent() && (f.method == "*" || f.method == r.Method) && matches(f.pattern, segments(r.URL.Path))
}

// strike finds the fault that hits a request, and counts.
func (gh *GitHub) strike(r *http.Request) (Fault, bool) {
	for _, f := range gh.faults {
		if !f.matches(r) {
			continue
		}
		if f.seen++; f.seen > f.Skip {
			gh.faults = slices.DeleteFunc(gh.faults, (*fault).spent)
			return f.Fault, true
		}
	}
	return Fault{}, false
}

// answers reports whether the fault answers in place of GitHub.
func (f Fault) answers() bool {
	return f.RedirectTo != "" || f.Status != 0 || f.Body != ""
}

// faulty is the answer of a fault to a request of git or git-lfs (isGit), which git shows as plain text, or of REST.
func (gh *GitHub) faulty(r *http.Request, f Fault, isGit, plain bool) answer {
	a := answer{status: f.Status, header: http.Header{}, body: f.Body}
	if f.RedirectTo != "" {
		if a.status == 0 {
			a.status = http.StatusTemporaryRedirect
		}
		target := f.RedirectTo
		if u, err := url.Parse(target); err == nil && u.Host != "" && u.Path == "" {
			target += r.URL.RequestURI()
		}
		a.header.Set("Location", target)
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if f.Body == "" {
		a.body = usual(a.status, plain)
	}
	if isGit && a.status == http.StatusUnauthorized {
		a.header.Set("WWW-Authenticate", gitChallenge)
	}
	if _, ok := a.body.(string); ok {
		a.header.Set("Content-Type", contentType(f.Body))
	}
	gh.mu.Lock()
	defer gh.mu.Unlock()
	a.header.Set("Date", gh.now().UTC().Format(http.TimeFormat))
	a.header.Set("X-GitHub-Request-Id", gh.requestID())
	return a
}

// usual is what GitHub says with a status when it says nothing in particular.
func usual(status int, plain bool) any {
	text := http.StatusText(status)
	switch {
	case plain:
		switch status {
		case http.StatusUnauthorized:
			text = gitBadCredentials
		case http.StatusForbidden:
			text = gitNoContents
		case http.StatusNotFound:
			text = gitNotFound
		}
		return text
	case status < 400:
		return map[string]any{}
	}
	docs := "https://docs.github.com/rest"
	switch status {
	case http.StatusUnauthorized:
		text = badCredentials
	case http.StatusForbidden:
		text = notAccessible
	case http.StatusUnprocessableEntity:
		text = "Validation Failed"
	case http.StatusTooManyRequests:
		text = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
		docs += "/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		text = "Server Error"
	}
	return map[string]any{"message": text, "documentation_url": docs, "status": strconv.Itoa(status)}
}

func contentType(body string) string {
	switch {
	case strings.HasPrefix(body, "{"), strings.HasPrefix(body, "["):
		return "application/json; charset=utf-8"
	case strings.HasPrefix(body, "<"):
		return "text/html; charset=utf-8"
	}
	return "text/plain; charset=utf-8"
}
