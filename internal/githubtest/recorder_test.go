package githubtest_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestRecorderAnswers(t *testing.T) {
	rec := githubtest.NewRecorder()
	server := httptest.NewServer(rec)
	defer server.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func() *http.Response {
		res := testkit.Must(client.Get(server.URL + "/a/b?c=d"))(t)
		res.Body.Close()
		return res
	}
	testkit.Equal(t, get().StatusCode, 200, "at first")
	rec.AskPassword()
	if res := get(); res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") != `Basic realm="GitHub"` {
		t.Errorf("AskPassword: %d %v", res.StatusCode, res.Header)
	}
	rec.RedirectTo("http://elsewhere.test/")
	if res := get(); res.StatusCode != 302 || res.Header.Get("Location") != "http://elsewhere.test/a/b?c=d" {
		t.Errorf("RedirectTo: %d %v", res.StatusCode, res.Header)
	}
	gh := newGitHub(t)
	commit(t, gh.AddRepository("acme/open", githubtest.RepositoryOptions{Public: true}),
		"main", map[string]string{"a": "b"})
	rec.Serve(gh)
	mustGit(t, ".", "clone", "-q", server.URL+"/acme/open.git", filepath.Join(t.TempDir(), "clone"))
	list := rec.Requests()
	if len(list) < 5 || list[0].Path != "/a/b" || list[0].Query != "c=d" ||
		list[1].Status != 401 || list[2].Status != 302 {
		t.Errorf("requests: %+v", list)
	}
}

func TestRecorderFindsASecret(t *testing.T) {
	const secret = "ghs_+a/b.c-d_e"
	for name, set := range map[string]func(*http.Request){
		"bearer":         func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secret) },
		"basic":          func(r *http.Request) { r.SetBasicAuth("x", secret) },
		"basic username": func(r *http.Request) { r.SetBasicAuth(secret, "") },
		"base64, 0":      func(r *http.Request) { r.Header.Set("X", base64.StdEncoding.EncodeToString([]byte(secret+"x"))) },
		"base64, 1": func(r *http.Request) {
			r.Header.Set("X", base64.StdEncoding.EncodeToString([]byte("1"+secret+"xy")))
		},
		"base64, 2": func(r *http.Request) { r.Header.Set("X", base64.StdEncoding.EncodeToString([]byte("12"+secret))) },
		"base64 for URLs": func(r *http.Request) {
			r.Header.Set("X", base64.URLEncoding.EncodeToString([]byte("?\xff1"+secret)))
		},
		"query": func(r *http.Request) { r.URL.RawQuery = url.Values{"t": {secret}}.Encode() },
		"path":  func(r *http.Request) { r.URL.Path = "/" + secret },
		"cookie": func(r *http.Request) {
			r.AddCookie(&http.Cookie{Name: "t", Value: url.QueryEscape(secret)})
		},
	} {
		rec := githubtest.NewRecorder()
		r := httptest.NewRequest("POST", "/", strings.NewReader("nothing"))
		set(r)
		rec.ServeHTTP(httptest.NewRecorder(), r)
		leaks := rec.Leaks(secret)
		if len(leaks) == 0 {
			t.Errorf("%s: the secret was not found", name)
		}
		if strings.Contains(fmt.Sprint(leaks), secret) {
			t.Errorf("%s: the report holds the secret: %v", name, leaks)
		}
	}
	rec := githubtest.NewRecorder()
	rec.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader("body: "+secret)))
	if leaks := rec.Leaks(secret); len(leaks) != 1 || leaks[0] != "request 1, POST: body" {
		t.Errorf("body: %v", leaks)
	}
	if leaks := rec.Leaks("ghs_another_one"); leaks != nil {
		t.Errorf("what was never sent was found: %v", leaks)
	}
	if leaks := rec.Leaks(""); leaks != nil {
		t.Errorf("nothing was found: %v", leaks)
	}
}
