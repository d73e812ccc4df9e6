package githubtest

import "net/http"

// Request is a request as it came in.
type Request struct {
	Method  string
	Host    string
	Path    string // as sent, escaped, without the query
	Query   string
	Header  http.Header
	Body    string // of requests to the REST and LFS endpoints, up to 1 MiB; what git and LFS transfer is not kept
	Status  int    // of the answer; 0 if there was none, or none yet
	Faulted bool   // a Fault hit it
}

// Requests returns every request since the start or [GitHub.ResetRequests], in order of arrival.
func (g *GitHub) Requests() []Request {
	var list []Request
	for _, r := range g.gh.Requests() {
		list = append(list, Request{
			Method: r.Method, Host: r.Host, Path: r.Path, Query: r.Query,
			Header: r.Header, Body: r.Body, Status: r.Status, Faulted: r.Faulted,
		})
	}
	return list
}

// ResetRequests forgets the requests so far.
func (g *GitHub) ResetRequests() { g.gh.ResetRequests() }
