package refs_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/refs"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

func TestAWarmPassIsOneRequestOnAKeptConnection(t *testing.T) {
	w := newWorld(t)
	oid := w.commit(t, "deployment")
	w.commit(t, "deployment-2")
	w.ask(t, refs.Revision{Branch: "deployment"})
	w.github.ResetRequests()

	reused := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if i.Reused {
			reused++
		}
	}})
	found, err := w.asker.Ask(ctx, site, refs.Revision{Branch: "deployment"})
	if want := (refs.Found{Repository: site, Ref: "refs/heads/deployment", Commit: oid}); err != nil || found != want {
		t.Errorf("%+v, %v; want %+v", found, err, want)
	}
	requests := w.github.Requests()
	if len(requests) != 1 || requests[0].Method != http.MethodPost ||
		requests[0].Path != "/acme/site.git/git-upload-pack" {
		t.Errorf("requests: %+v", requests)
	}
	testkit.Equal(t, reused, 1, "of 1 requests went over a kept connection")
}

func TestEveryKindOfWantIsFoundInARealRepository(t *testing.T) {
	w := newWorld(t)
	first := w.commit(t, "main")
	second := w.commit(t, "main")
	other := w.commit(t, "other")
	w.git(t, "update-ref", "refs/tags/light", first)
	w.git(t, "tag", "-a", "-m", "x", "annotated", second)
	w.git(t, "tag", "-a", "-m", "x", "nested", "annotated")
	for tag, oid := range map[string]string{
		"1.4.0": first, "v1.4.2": first, "v1.10.0": second, "1.10.0": first, "v2.0.0-rc.1": other, "v1": other, "v9.9": other,
		"v01.99.0": other, "x1.99.0": other,
	} {
		w.git(t, "tag", "-a", "-m", "x", tag, oid)
	}
	for _, test := range []struct {
		want        refs.Revision
		ref, commit string
	}{
		{refs.Revision{}, "refs/heads/main", second},
		{refs.Revision{Branch: "other"}, "refs/heads/other", other},
		{refs.Revision{Tag: "light"}, "refs/tags/light", first},
		{refs.Revision{Tag: "annotated"}, "refs/tags/annotated", second},
		{refs.Revision{Tag: "nested"}, "refs/tags/nested", second},
		{refs.Revision{Commit: strings.ToUpper(first)}, "", first},
		{refs.Revision{Version: "*"}, "refs/tags/v1.10.0", second}, // of 1.10.0 and v1.10.0 always the same
		{refs.Revision{Version: "~1.4"}, "refs/tags/v1.4.2", first},
		{refs.Revision{Version: "^1.4.0 <1.4.2"}, "refs/tags/1.4.0", first},
		{refs.Revision{Version: ">=2.0.0-0"}, "refs/tags/v2.0.0-rc.1", other},
	} {
		if found := w.ask(t, test.want); found != (refs.Found{Repository: site, Ref: test.ref, Commit: test.commit}) {
			t.Errorf("%s: %+v, want %s at %s", test.want, found, test.ref, test.commit)
		}
	}
	w.git(t, "update-ref", "--no-deref", "HEAD", first) // on no branch
	if found := w.ask(t, refs.Revision{}); found.Ref != "HEAD" || found.Commit != first {
		t.Errorf("a HEAD on no branch: %+v", found)
	}
}

func TestACommitIsNotAskedFor(t *testing.T) {
	a := &refs.Asker{Origin: "https://github.com", Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("asked")
		return nil, errors.New("no")
	})}
	testkit.Equal(t, testkit.Must(a.Ask(t.Context(), site, refs.Revision{Commit: oid1}))(t).Commit, oid1)
}

func TestWhatIsMissingIsAnError(t *testing.T) {
	w := newWorld(t)
	missing := func(want refs.Revision, empty bool, requests int) {
		t.Helper()
		w.github.ResetRequests()
		found, err := w.asker.Ask(t.Context(), site, want)
		e, ok := errors.AsType[*refs.RefError](err)
		if !ok || e.Empty != empty || e.Revision != want || found != (refs.Found{}) {
			t.Errorf("%s: %+v, %v", want, found, err)
		}
		// That of the token beside.
		testkit.Equal(t, len(gitRequests(w.github)), requests, "%s", want)
	}
	wants := []refs.Revision{{Branch: "deploy"}, {Tag: "v1"}, {Version: "*"}, {}}
	for _, want := range wants {
		missing(want, true, 2)
	}
	w.commit(t, "other") // and HEAD is at main, which is not there
	missing(refs.Revision{}, false, 2)
	missing(refs.Revision{Branch: "deploy"}, false, 2)
	w.commit(t, "main")
	w.commit(t, "deploy-2")
	for _, want := range wants[:3] {
		missing(want, false, 1)
	}
	testkit.OK(t, w.repository.DeleteBranch("deploy-2"))
	missing(refs.Revision{Branch: "deploy-2"}, false, 1)
}

func gitRequests(github *githubtest.GitHub) []githubtest.Request {
	var list []githubtest.Request
	for _, r := range github.Requests() {
		if strings.HasSuffix(r.Path, "/git-upload-pack") || strings.HasSuffix(r.Path, "/info/refs") {
			list = append(list, r)
		}
	}
	return list
}

// place makes a bare repository acme/site.git with a commit on main, and an annotated tag.
func place(t testing.TB, options ...string) (dir, commit string) {
	t.Helper()
	dir = t.TempDir()
	at := filepath.Join(dir, "acme", "site.git")
	testkit.OK(t, os.MkdirAll(at, 0o700))
	git(t, at, append([]string{"init", "--quiet", "--bare", "--initial-branch=main"}, options...)...)
	tree := git(t, at, "hash-object", "-w", "-t", "tree", os.DevNull)
	commit = git(t, at, "commit-tree", "-m", "x", tree)
	git(t, at, "update-ref", "refs/heads/main", commit)
	git(t, at, "tag", "-a", "-m", "x", "v1.0.0", commit)
	return dir, commit
}

// TestEachFormOfServiceIsAskedInItsOwn has git's own server, and before it what makes it
// refuse a form.
func TestEachFormOfServiceIsAskedInItsOwn(t *testing.T) {
	testkit.Long(t)
	for name, test := range map[string]struct {
		options     []string
		before      func(w http.ResponseWriter, r *http.Request) (answered bool)
		first, warm int64
	}{
		"protocol 2": {nil, func(http.ResponseWriter, *http.Request) bool { return false }, 1, 1},
		"SHA-256": {[]string{"--object-format=sha256"},
			func(http.ResponseWriter, *http.Request) bool { return false }, 3, 1},
		"protocol 0": {nil, func(_ http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Git-Protocol")
			return false
		}, 2, 1},
		"protocol 0, SHA-256": {[]string{"--object-format=sha256"}, func(_ http.ResponseWriter, r *http.Request) bool {
			r.Header.Del("Git-Protocol")
			return false
		}, 2, 1},
		"discovery first": {nil, func() func(http.ResponseWriter, *http.Request) bool {
			var discovered atomic.Bool
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet {
					discovered.Store(true)
				} else if !discovered.Swap(false) {
					http.Error(w, "ask for info/refs first", http.StatusBadRequest)
					return true
				}
				return false
			}
		}(), 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir, commit := place(t, test.options...)
			service := testkit.GitBackend(t, dir)
			a, requests := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !test.before(w, r) {
					service.ServeHTTP(w, r)
				}
			}))
			for _, most := range []int64{test.first, test.warm, test.warm} {
				requests.requests.Store(0)
				for _, want := range []refs.Revision{{Branch: "main"}, {}, {Tag: "v1.0.0"}, {Version: "*"}} {
					found, err := a.Ask(t.Context(), site, want)
					if err != nil || found.Commit != commit {
						t.Fatalf("%s: %+v, %v; want %s", want, found, err, commit)
					}
					testkit.Equal(t, requests.requests.Swap(0), most, "%s", want)
					most = test.warm
				}
			}
			_, err := a.Ask(t.Context(), site, refs.Revision{Branch: "none"})
			if e, ok := errors.AsType[*refs.RefError](err); !ok || e.Empty {
				t.Errorf("a branch that is not there: %v", err)
			}
		})
	}
}

func TestAnEmptyRepositoryOfProtocol0IsEmpty(t *testing.T) {
	dir, _ := place(t)
	at := filepath.Join(dir, "acme", "site.git")
	git(t, at, "update-ref", "-d", "refs/heads/main")
	git(t, at, "update-ref", "-d", "refs/tags/v1.0.0")
	service := testkit.GitBackend(t, dir)
	a, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Git-Protocol")
		service.ServeHTTP(w, r)
	}))
	_, err := a.Ask(t.Context(), site, refs.Revision{Branch: "main"})
	if e, ok := errors.AsType[*refs.RefError](err); !ok || !e.Empty {
		t.Error(err)
	}
}

func TestAServiceThatIsNotUnderstoodIsLeftToGit(t *testing.T) {
	long := strings.Repeat("x", 60000)
	for name, test := range map[string]struct {
		status      int
		text, media string
	}{
		"nothing":              {200, "", ""},
		"no packet":            {200, "what", ""},
		"a sign before length": {200, "+0a4", ""},
		"a length of 3":        {200, "0003", ""},
		"too long a line":      {200, "fff1" + oid1 + " refs/heads/main " + long + long[:5460] + "0000", ""},
		"cut in a length":      {200, "00", ""},
		"cut in a line":        {200, "0040" + oid1, ""},
		"no end":               {200, strings.TrimSuffix(lines(oid1+" refs/heads/main"), "0000"), ""},
		"more after the end":   {200, lines(oid1+" refs/heads/main") + "0000", ""},
		"a delimiter":          {200, "0001" + lines(oid1+" refs/heads/main"), ""},
		"no object ID":         {200, lines("unborn refs/heads/main"), ""},
		"the zero ID":          {200, lines(strings.Repeat("0", 40) + " refs/heads/main"), ""},
		"an ID in capitals":    {200, lines(strings.Repeat("A", 40) + " refs/heads/main"), ""},
		"no name":              {200, lines(oid1), ""},
		"the ref twice":        {200, lines(oid1+" refs/heads/main", oid2+" refs/heads/main"), ""},
		"a peeled no ID":       {200, lines(oid1 + " refs/heads/main peeled:x"), ""},
		"an error":             {200, lines("ERR no such thing"), ""},
		"too many refs":        {200, strings.Repeat("0033"+oid1+" r/x\n", 1<<20) + "0000", ""},
		"too much":             {200, strings.Repeat("ea64"+oid1+" refs/heads/y"+long[:59946]+"\n", 600) + "0000", ""},
		"refused":              {400, "no", ""},
		"not implemented":      {501, "no", ""},
		"another success":      {204, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				media := "application/x-git-upload-pack-result"
				if r.Method == http.MethodGet {
					media = "application/x-git-upload-pack-advertisement"
				}
				if test.media != "" {
					media = test.media
				}
				w.Header().Set("Content-Type", media)
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.text))
			}))
			found, err := a.Ask(t.Context(), site, refs.Revision{Branch: "main"})
			if !errors.Is(err, refs.ErrUnsupported) || found != (refs.Found{}) || len(err.Error()) > 700 {
				t.Errorf("%+v, %v", found, err)
			}
		})
	}
}

func TestAnOddButSoundAnswerIsTaken(t *testing.T) {
	for name, text := range map[string]string{
		"more than was asked for": lines(oid2+" refs/heads/main-2", oid1+" refs/heads/main", oid2+" refs/pull/1/head"),
		"attributes of tomorrow":  lines(oid1 + " refs/heads/main colour:red peeled-not:x"),
		"no LF":                   "003c" + oid1 + " refs/heads/main" + "0000",
		"a branch that is a tag":  lines(oid2 + " refs/heads/main peeled:" + oid1),
	} {
		a := &refs.Asker{Origin: "https://github.com",
			Transport: roundTrip(func(*http.Request) (*http.Response, error) { return answer(200, text), nil })}
		testkit.Equal(t, testkit.Must(a.Ask(t.Context(), site, refs.Revision{Branch: "main"}))(t).Commit, oid1, "%s", name)
	}
}

func TestOfEqualVersionsItIsAlwaysTheSameTag(t *testing.T) {
	for _, text := range []string{
		lines(oid2+" refs/tags/1.0.0", oid1+" refs/tags/v1.0.0"), lines(oid1+" refs/tags/v1.0.0", oid2+" refs/tags/1.0.0"),
	} {
		testkit.Equal(t, testkit.Must(refs.ReadListing([]byte(text), refs.Revision{Version: "*"}))(t).Commit, oid1)
	}
}

func TestHEADForNoBranchIsNotBelieved(t *testing.T) {
	for _, target := range []string{"refs/tags/x", "refs/heads/../x", "refs/heads/-x", "refs/heads/\x1b[31m"} {
		a := &refs.Asker{Origin: "https://github.com", Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return answer(200, lines(oid1+" HEAD symref-target:"+target)), nil
		})}
		if found, err := a.Ask(t.Context(), site, refs.Revision{}); !errors.Is(err, refs.ErrUnsupported) {
			t.Errorf("%q: %+v, %v", target, found, err)
		}
	}
}

// A cut is no word of the server's, and git would do no better.
func TestACutAnswerIsNotTakenForAnother(t *testing.T) {
	dir, commit := place(t)
	service := testkit.GitBackend(t, dir)
	var cut atomic.Bool
	cut.Store(true)
	a, requests := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !cut.Load() {
			service.ServeHTTP(w, r)
			return
		}
		recorded := httptest.NewRecorder()
		service.ServeHTTP(recorded, r)
		w.Header().Set("Content-Type", recorded.Header().Get("Content-Type"))
		w.Header().Set("Content-Length", "500")
		_, _ = w.Write(recorded.Body.Bytes()[:30])
	}))
	if _, err := a.Ask(t.Context(), site, refs.Revision{Branch: "main"}); ghapp.KindOf(err) != ghapp.ErrUnreachable ||
		requests.requests.Load() != 1 {
		t.Errorf("%v after %d requests", err, requests.requests.Load())
	}
	cut.Store(false)
	testkit.Equal(t, testkit.Must(a.Ask(t.Context(), site, refs.Revision{Branch: "main"}))(t).Commit, commit)
}

func TestRefusalsHaveTheirKind(t *testing.T) {
	for name, test := range map[string]struct {
		answer *http.Response
		want   ghapp.Kind
		until  time.Duration
	}{
		"revoked":          {answer(401, "Invalid username or token."), ghapp.ErrTokenRefused, 0},
		"contents missing": {answer(403, "Write access to repository not granted."), ghapp.ErrPermission, 0},
		"suspended":        {answer(403, "This installation has been suspended"), ghapp.ErrSuspended, 0},
		"IP allow list":    {answer(403, "has an IP allow list enabled"), ghapp.ErrIPAllowList, 0},
		"not there":        {answer(404, "Repository not found."), ghapp.ErrRepositoryNotSelected, 0},
		"blocked":          {answer(451, "taken down"), ghapp.ErrRefused, 0},
		"too many":         {answer(429, "slow down", "Retry-After", "30"), ghapp.ErrRateLimited, 30 * time.Second},
		"too many, untold": {answer(429, "slow down"), ghapp.ErrRateLimited, 0},
		"limited by 403":   {answer(403, "secondary rate limit", "Retry-After", "60"), ghapp.ErrRateLimited, time.Minute},
		"closed for a while": {answer(503, "maintenance", "Retry-After", "Sat, 01 Jan 2000 00:02:00 GMT", "Date",
			"Sat, 01 Jan 2000 00:01:00 GMT"), ghapp.ErrRateLimited, time.Minute},
		"closed":           {answer(503, "unicorn"), ghapp.ErrUnreachable, 0},
		"nginx 401":        {answer(401, "<html>", "Content-Type", "text/html"), ghapp.ErrUnreachable, 0},
		"nginx 404":        {answer(404, "<html>", "Content-Type", "text/html"), ghapp.ErrUnreachable, 0},
		"a block page":     {answer(403, "<html>", "Content-Type", "text/html"), ghapp.ErrUnreachable, 0},
		"a gateway":        {answer(502, "bad"), ghapp.ErrUnreachable, 0},
		"leads to a login": {answer(302, "", "Location", "/login?return_to=x"), ghapp.ErrRefused, 0},
		"leads nowhere":    {answer(302, ""), ghapp.ErrRefused, 0},
		"leads to http": {answer(302, "", "Location", "http://github.com/acme/site.git/git-upload-pack"),
			ghapp.ErrWrongHost, 0},
		"leads to a port": {answer(302, "", "Location", "https://github.com:444/acme/site.git/git-upload-pack"),
			ghapp.ErrWrongHost, 0},
		"leads to a subhost": {answer(302, "", "Location", "//evil.github.com/acme/site.git/git-upload-pack"),
			ghapp.ErrWrongHost, 0},
		"leads out of a name": {answer(302, "", "Location", "/acme/../../x.git/git-upload-pack"), ghapp.ErrRefused, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				a := &refs.Asker{Origin: "https://github.com", Transport: roundTrip(func(*http.Request) (*http.Response, error) {
					asked++
					return test.answer, nil
				})}
				_, err := a.Ask(t.Context(), site, refs.Revision{Branch: "main"})
				e, ok := errors.AsType[*ghapp.Error](err)
				if !ok || e.Kind != test.want || asked != 1 || errors.Is(err, refs.ErrUnsupported) {
					t.Fatalf("%v after %d requests", err, asked)
				}
				if until := time.Until(detail[ghapp.RateLimitError](e).Until); test.until != 0 && until != test.until ||
					test.until == 0 && !detail[ghapp.RateLimitError](e).Until.IsZero() {
					t.Errorf("until in %s, want %s", until, test.until)
				}
			})
		})
	}
}

// A server that does not know a new token yet is asked again with that same one.
func TestARefusalOfANewTokenIsWaitedOut(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		synctest.Test(t, func(t *testing.T) {
			var asked []string
			drops := 0
			token := tokenOf("ghs_new", 0)
			a := &refs.Asker{
				Origin: "https://github.com",
				Token:  func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return token, nil },
				Drop:   func(context.Context, ghapp.RepositoryName, *ghapp.Token) error { drops++; return nil },
				Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					_, password, _ := r.BasicAuth()
					asked = append(asked, password)
					if len(asked) < 4 {
						return answer(status, "Repository not found."), nil
					}
					return answer(200, lines(oid1+" refs/heads/main")), nil
				}),
			}
			began := time.Now()
			found, err := a.Ask(t.Context(), site, refs.Revision{Branch: "main"})
			if err != nil || found.Commit != oid1 ||
				strings.Join(asked, " ") != "ghs_new ghs_new ghs_new ghs_new" || drops != 0 {
				t.Errorf("%d: %+v, %v; asked with %v, dropped %d", status, found, err, asked, drops)
			}
			testkit.Equal(t, time.Since(began), 6*time.Second, "waited")
		})
	}
}

func TestALimitIsNotWaitedOutAsANewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		a := &refs.Asker{
			Origin: "https://github.com",
			Token:  func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return tokenOf("ghs_new", 0), nil },
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				asked++
				return answer(403, "secondary rate limit", "Retry-After", "60"), nil
			}),
		}
		if _, err := a.Ask(t.Context(), site, refs.Revision{}); ghapp.KindOf(err) != ghapp.ErrRateLimited || asked != 1 {
			t.Errorf("%v after %d requests", err, asked)
		}
	})
}

func TestARevokedTokenIsDroppedOnce(t *testing.T) {
	for name, test := range map[string]struct {
		next    string
		good    string
		dropped int
		asked   int
		kind    ghapp.Kind
	}{
		"the next is good":    {"ghs_two", "ghs_two", 1, 2, ""},
		"so is the next":      {"ghs_two", "ghs_three", 1, 2, ghapp.ErrTokenRefused},
		"there is no other":   {"ghs_one", "ghs_three", 1, 1, ghapp.ErrTokenRefused},
		"nothing was dropped": {"ghs_two", "ghs_one", 0, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := []*ghapp.Token{tokenOf("ghs_one", time.Minute), tokenOf(test.next, time.Minute)}
			dropped, asked := 0, 0
			a := &refs.Asker{
				Origin: "https://github.com",
				Token:  func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) { return tokens[min(dropped, 1)], nil },
				Drop: func(_ context.Context, _ ghapp.RepositoryName, t *ghapp.Token) error {
					if t.Secret.Reveal() == "ghs_one" {
						dropped++
					}
					return nil
				},
				Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					asked++
					if _, password, _ := r.BasicAuth(); password != test.good {
						return answer(401, "Invalid username or token."), nil
					}
					return answer(200, lines(oid1+" HEAD")), nil
				}),
			}
			_, err := a.Ask(t.Context(), site, refs.Revision{})
			if ghapp.KindOf(err) != test.kind || dropped != test.dropped || asked != test.asked {
				t.Errorf("%v; dropped %d, asked %d", err, dropped, asked)
			}
		})
	}
}

// The whole way, with the App's own tokens: one is revoked behind its back.
func TestARevokedTokenOfTheAppIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		oid := w.commit(t, "main")
		config := ghapp.Config{Client: ghapp.Client{Transport: w.github.RoundTripper()}, Issuer: w.issuer,
			Signer: signer.FromCryptoSigner(testkit.Key(t))}
		app := testkit.Must(ghapp.New(config))(t)
		w.app, w.asker = app, w.newAsker("https://github.com")
		w.asker.Transport = w.github.RoundTripper()
		w.ask(t, refs.Revision{})
		token := testkit.Must(app.Token(t.Context(), request(site)))(t)
		w.server.Close()        // which is not asked, and would keep time from passing
		time.Sleep(time.Minute) // so that it is not young any more
		testkit.OK(t, config.Client.Revoke(t.Context(), token.Secret))
		w.github.ResetRequests()
		if found := w.ask(t, refs.Revision{}); found.Commit != oid || len(gitRequests(w.github)) != 2 {
			t.Errorf("%+v after %d requests", found, len(gitRequests(w.github)))
		}
	})
}

func TestARedirectOnTheHostIsFollowedWithTheRequestAsItWas(t *testing.T) {
	for _, status := range []int{301, 302, 307, 308} {
		dir, commit := place(t)
		service := testkit.GitBackend(t, dir)
		var passwords []string
		a, requests := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, password, _ := r.BasicAuth()
			passwords = append(passwords, r.Method+" "+password)
			if to, moved := strings.CutPrefix(r.URL.Path, "/former/name.git"); moved {
				http.Redirect(w, r, "/acme/site.git"+to, status)
				return
			}
			service.ServeHTTP(w, r)
		}))
		a.Token = func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) {
			return tokenOf("ghs_one", time.Minute), nil
		}
		found, err := a.Ask(t.Context(), ghapp.RepositoryName{Owner: "former", Name: "name"}, refs.Revision{Branch: "main"})
		if err != nil || found.Repository != site || found.Commit != commit || requests.requests.Load() != 2 {
			t.Errorf("%d: %+v, %v after %d requests", status, found, err, requests.requests.Load())
		}
		testkit.Equal(t, strings.Join(passwords, ", "), "POST ghs_one, POST ghs_one", "%d", status)
	}
}

func TestRedirectsInACircleEnd(t *testing.T) {
	a, requests := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
	}))
	if _, err := a.Ask(t.Context(), site, refs.Revision{}); ghapp.KindOf(err) != ghapp.ErrUnreachable ||
		requests.requests.Load() != 6 {
		t.Errorf("%v after %d requests", err, requests.requests.Load())
	}
}

func TestNoCredentialFollowsARedirectToAnotherHost(t *testing.T) {
	const canary = "ghs_canary0123456789abcdefghijklmnop"
	hostile := githubtest.NewRecorder()
	elsewhere := httptest.NewServer(hostile)
	t.Cleanup(elsewhere.Close)
	lure := githubtest.NewRecorder()
	lure.RedirectTo(elsewhere.URL)
	a, requests := serve(t, lure)
	a.Token = func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) {
		return tokenOf(canary, time.Minute), nil
	}
	_, err := a.Ask(t.Context(), site, refs.Revision{Branch: "main"})
	testkit.Equal(t, ghapp.KindOf(err), ghapp.ErrWrongHost, "%v after", err)
	testkit.Equal(t, requests.requests.Load(), 1, "%v after", err)
	testkit.Equal(t, len(hostile.Requests()), 0, "the other host was asked")
	if len(lure.Leaks(canary)) == 0 {
		t.Error("its own host did not get the token: this test proves nothing")
	}
}

// What a server says is not shown as it came, and never with the token in it.
func TestHostileTextIsMadeHarmless(t *testing.T) {
	const canary = "ghs_canary0123456789abcdefghijklmnop"
	evil := "\x1b]0;t\x07\x1b[31m" + canary + "\u202egnp\r\nsecond" + strings.Repeat("x", 5000)
	for name, respond := range map[string]func(r *http.Request) (*http.Response, error){
		"refusal": func(*http.Request) (*http.Response, error) {
			return answer(403, evil, "X-GitHub-Request-Id", evil, "Retry-After", evil), nil
		},
		"type":  func(*http.Request) (*http.Response, error) { return answer(200, "", "Content-Type", evil), nil },
		"error": func(*http.Request) (*http.Response, error) { return answer(200, lines("ERR "+evil)), nil },
		"place": func(*http.Request) (*http.Response, error) {
			return answer(302, "", "Location", "https://"+canary+".example/\u202e"), nil
		},
		"network": func(r *http.Request) (*http.Response, error) {
			return nil, errors.New("malformed HTTP response " + evil + r.Header.Get("Authorization"))
		},
		"ref":  func(*http.Request) (*http.Response, error) { return answer(200, lines(evil+" "+evil)), nil },
		"size": func(*http.Request) (*http.Response, error) { return answer(200, evil), nil },
	} {
		a := &refs.Asker{Origin: "https://github.com", Transport: roundTrip(respond),
			Token: func(context.Context, ghapp.RepositoryName) (*ghapp.Token, error) {
				return tokenOf(canary, time.Minute), nil
			}}
		_, err := a.Ask(t.Context(), site, refs.Revision{Branch: "main"})
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		text := err.Error()
		if strings.Contains(text, "canary") || strings.ContainsAny(text, "\x1b\x07\r\n\u202e") || len(text) > 2000 {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestOnlyItsOwnHostIsAsked(t *testing.T) {
	a := &refs.Asker{Origin: "https://github.com", Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		return answer(200, lines(oid1+" HEAD")), nil
	})}
	for _, r := range []ghapp.RepositoryName{
		{Host: "ghes.example", Owner: "acme", Name: "site"}, {Owner: "acme", Name: ".."}, {Owner: "..", Name: "x"},
		{Owner: "acme/x", Name: "site"}, {Owner: "acme", Name: "site?x"}, {Name: "site"},
	} {
		if found, err := a.Ask(t.Context(), r, refs.Revision{}); ghapp.KindOf(err) == "" {
			t.Errorf("%+v: %+v, %v", r, found, err)
		}
	}
	hosted := ghapp.RepositoryName{Host: "github.com", Owner: "acme", Name: "site"}
	testkit.Equal(t, testkit.Must(a.Ask(t.Context(), hosted, refs.Revision{}))(t).Repository, hosted)
}

func TestAHangEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &refs.Asker{Origin: "https://github.com", Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		began := time.Now()
		_, err := a.Ask(t.Context(), site, refs.Revision{})
		if ghapp.KindOf(err) != ghapp.ErrUnreachable || time.Since(began) != 30*time.Second ||
			!strings.Contains(err.Error(), "no answer within 30s") {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("the service stops")) })
		_, err = a.Ask(ctx, site, refs.Revision{})
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the service stops") ||
			ghapp.KindOf(err) != "" {
			t.Error(err)
		}
	})
}

func TestManyAskAtOnce(t *testing.T) {
	w := newWorld(t)
	oid := w.commit(t, "main")
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			if found, err := w.asker.Ask(t.Context(), site, refs.Revision{Branch: "main"}); err != nil || found.Commit != oid {
				t.Errorf("%+v, %v", found, err)
			}
		})
	}
	wait.Wait()
}
