package githubtest

import (
	"net/http"
	"time"

	standin "github.com/ghapp-dev/ghapp/internal/githubtest"
)

// MintPattern is the [Fault.Match] of the requests that mint an installation access token.
const MintPattern = standin.MintPattern

// Fault is something going wrong with the requests that match. Delay comes first, then the first of Reset, RedirectTo
// and Status or Body that is set; without any of these the request is carried out and answered as always, as far as
// Header lets it.
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

	Header http.Header // sent with the answer, in place of GitHub's own where there are such
}

// SecondaryLimit is the answer over a secondary rate limit: 403, the text that tells it from a missing permission,
// and Retry-After in whole seconds; none for 0.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
func SecondaryLimit(match string, retryAfter time.Duration) Fault {
	f := standin.SecondaryLimit(match, retryAfter)
	return Fault{Match: f.Match, Status: f.Status, Body: f.Body, Header: f.Header}
}

// Fault makes requests go wrong until it has hit [Fault.Times] of them or [GitHub.ClearFaults] is called. Of several
// faults that match a request the oldest hits. It is an error if Match is not of its form or nothing is set to happen.
func (g *GitHub) Fault(f Fault) error {
	return g.gh.Fault(standin.Fault{
		Match: f.Match, Times: f.Times, Skip: f.Skip, Delay: f.Delay, Reset: f.Reset,
		RedirectTo: f.RedirectTo, Status: f.Status, Body: f.Body, Header: f.Header,
	})
}

// ClearFaults ends all faults.
func (g *GitHub) ClearFaults() { g.gh.ClearFaults() }
