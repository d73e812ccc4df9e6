package refs_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// real are answers of git's own server.
func real(f *testing.F, version0 bool) [][]byte {
	f.Helper()
	var answers [][]byte
	for _, options := range [][]string{nil, {"--object-format=sha256"}} {
		dir, _ := place(f, options...)
		service := testkit.GitBackend(f, dir)
		a, _ := serve(f, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if version0 {
				r.Header.Del("Git-Protocol")
			}
			service.ServeHTTP(w, r)
		}))
		base := a.Transport
		a.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := base.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			text, err := io.ReadAll(answer.Body)
			answer.Body = io.NopCloser(bytes.NewReader(text))
			answers = append(answers, text)
			return answer, err
		})
		for _, want := range []refs.Revision{{}, {Branch: "main"}, {Version: "*"}} {
			testkit.Must(a.Ask(f.Context(), site, want))(f)
		}
	}
	return answers
}

// check is what must be true of whatever is read from a server.
func check(t *testing.T, want refs.Revision, found refs.Found, err error) {
	t.Helper()
	if err != nil {
		if text := err.Error(); len(text) > 700 ||
			strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("error %q", text)
		}
		return
	}
	if found.Ref == "" {
		return
	}
	if (refs.Revision{Commit: found.Commit}).Validate() != nil || found.Commit != strings.ToLower(found.Commit) {
		t.Errorf("%q is not a commit", found.Commit)
	}
	branch, isBranch := strings.CutPrefix(found.Ref, "refs/heads/")
	switch {
	case want.Branch != "" && branch != want.Branch,
		want == refs.Revision{} && found.Ref != "HEAD" && (!isBranch || (refs.Revision{Branch: branch}).Validate() != nil),
		want.Version != "" && !want.Matches(found.Ref):
		t.Errorf("%s was wanted, %q is found", want, found.Ref)
	}
}

func FuzzListing(f *testing.F) {
	for _, text := range real(f, false) {
		f.Add(text)
	}
	f.Add([]byte(lines(oid1 + " refs/tags/v1.0.0-a+b peeled:" + oid2)))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, want := range []refs.Revision{{}, {Branch: "main"}, {Version: "*"}} {
			found, err := refs.ReadListing(text, want)
			check(t, want, found, err)
		}
	})
}

func FuzzAdvertisement(f *testing.F) {
	for _, version0 := range []bool{false, true} {
		for _, text := range real(f, version0) {
			f.Add(text)
		}
	}
	f.Add([]byte("001e# service=git-upload-pack\n00000000"))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, want := range []refs.Revision{{}, {Branch: "main"}, {Version: "*"}} {
			found, err := refs.ReadAdvertisement(text, want)
			check(t, want, found, err)
		}
	})
}
