package githubtest

import (
	"net/http"
)

// ServeHTTP answers a request as GitHub would, or as a [Fault] says.
func (gh *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, isGit := gitPath(r.URL.EscapedPath())
	request, fault, closed := gh.arrive(r)
	var body []byte
	if keep := !isGit || path.lfs() && !path.object(); keep || fault.Delay > 0 {
		// Only when a body is read to its end does the server notice that the client has gone away.
		body, r.Body = peek(r.Body)
		if keep {
			gh.mu.Lock()
			request.Body = string(body)
			gh.mu.Unlock()
		}
	}
	out := &responder{ResponseWriter: w, extra: fault.Header, left: fault.CutAfter, cut: fault.CutAfter > 0}
	out.begin = func(status int) {
		gh.mu.Lock()
		request.Status = status
		gh.mu.Unlock()
	}
	if fault.Delay > 0 && !wait(r.Context(), fault.Delay) || fault.Reset {
		panic(http.ErrAbortHandler)
	}
	switch {
	case closed:
		http.Error(out, "githubtest: closed", http.StatusServiceUnavailable)
	case fault.Handler != nil:
		fault.Handler.ServeHTTP(out, r)
	case fault.answers():
		gh.write(out, r, gh.faulty(r, fault, isGit, isGit && !path.lfs()))
	case isGit && path.lfs():
		gh.serveLFS(out, r, path, body)
	case isGit:
		gh.serveGit(out, r, path)
	case isPage(r):
		gh.write(out, r, gh.page(r))
	default:
		gh.write(out, r, gh.rest(r, body, fault.Overgrant))
	}
	if out.cutOff {
		panic(http.ErrAbortHandler)
	}
}
