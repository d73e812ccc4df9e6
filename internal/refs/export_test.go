package refs

import (
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/ghapp-dev/ghapp"
)

// ReadListing reads an answer to ls-refs, for tests.
func ReadListing(text []byte, w Revision) (Found, error) {
	return asked(w, map[string]string{http.MethodPost: string(text)}, false)
}

// ReadAdvertisement reads the answer to git's first request, for tests.
func ReadAdvertisement(text []byte, w Revision) (Found, error) {
	return asked(w, map[string]string{http.MethodGet: string(text), http.MethodPost: "0000"}, true)
}

// asked is what an Asker makes of the answers to its requests, by their method.
func asked(w Revision, answers map[string]string, discover bool) (Found, error) {
	site := ghapp.RepositoryName{Owner: "acme", Name: "site"}
	a := &Asker{Origin: "https://github.com", Transport: answering(answers)}
	if discover {
		a.Discover(site)
	}
	return a.Ask(context.Background(), site, w)
}

type answering map[string]string

// RoundTrip implements [http.RoundTripper].
func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	media := map[string]string{http.MethodGet: "advertisement", http.MethodPost: "result"}[r.Method]
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(a[r.Method])),
		Header: http.Header{"Content-Type": {"application/x-git-upload-pack-" + media}}}, nil
}
