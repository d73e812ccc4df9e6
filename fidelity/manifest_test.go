package fidelity

import (
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func privateApp(_ *testing.T, w *world) {
	w.AddApp(githubtest.AppOptions{Name: "Secret", Private: true})
}

var pageToken = regexp.MustCompile(`name="authenticity_token" value="([^"]*)"`)

// fromManifest goes through the pages of the App Manifest flow, as a person does, up to
// the code. more is part of the manifest.
func fromManifest(more string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		t.Helper()
		client := *w.server.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		post := func(path string, form url.Values) (*http.Response, []byte) {
			answer := testkit.Must(client.PostForm(w.server.URL+path, form))(t)
			defer answer.Body.Close()
			text := testkit.Must(io.ReadAll(answer.Body))(t)
			return answer, text
		}
		manifest :=
			`{"name":"From a Manifest","url":"https://site.example","redirect_url":"https://site.example/back","default_permissions":{"contents":"read"}` +
				more + `}`
		_, page := post("/organizations/acme/settings/apps/new?state=s", url.Values{"manifest": {manifest}})
		token := pageToken.FindSubmatch(page)
		if token == nil {
			t.Fatalf("no form in\n%s", page)
		}
		answer, page := post("/settings/apps/manifest",
			url.Values{"authenticity_token": {html.UnescapeString(string(token[1]))}, "name": {"From a Manifest"}})
		back, err := answer.Location()
		if err != nil || back.Query().Get("state") != "s" {
			t.Fatalf("%v, %v\n%s", back, err, page)
		}
		w.code = back.Query().Get("code")
	}
}

// converted is a code that has been used.
func converted(t *testing.T, w *world) {
	fromManifest("")(t, w)
	if status, text := w.ask(t, http.MethodPost, w.fill("/app-manifests/{code}/conversions"), "", "",
		nil); status != http.StatusCreated {
		t.Fatalf("%d %s", status, text)
	}
}
