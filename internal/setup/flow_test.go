package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestTheWholeWay(t *testing.T) {
	t.Parallel()
	f, b := serve(t, nil), newBrowser(t)
	ended := f.run(t.Context())

	start := b.get(f.address+"/", typed...)
	action, state, manifest := start.form(t)
	if got := action.Scheme + "://" + action.Host + action.Path; got != origin+"/organizations/acme/settings/apps/new" ||
		start.status != 200 {
		t.Errorf("status %d, and the form goes to %s", start.status, got)
	}
	var m map[string]any
	testkit.OK(t, json.Unmarshal([]byte(manifest), &m))
	want := map[string]any{
		"name": "ghapp build1", "url": homepage, "description": "Made by ghapp setup on build1", "public": false,
		"redirect_url": f.address + "/created", "setup_url": f.address + "/installed",
		"default_permissions": map[string]any{"contents": "read", "metadata": "read"},
	}
	if diff := cmp.Diff(want, m); diff != "" { // no hook_attributes, in particular
		t.Errorf("the manifest (-want +got):\n%s", diff)
	}

	f.registered <- nil
	sent := b.get(f.back(state), fromGitHub...)
	if sent.status != http.StatusSeeOther || sent.header.Get("Location") != origin+"/apps/ghapp-build1/installations/new" {
		t.Errorf("after the code: status %d, Location %q\n%s", sent.status, sent.header.Get("Location"), sent.text)
	}
	testkit.Equal(t, <-f.traded, code, "the code")
	// What the address says of the installation is not believed.
	waiting := b.get(f.address+"/installed?installation_id=666&setup_action=install", fromGitHub...)
	if waiting.status != 200 || !strings.Contains(waiting.text, "Waiting for GitHub") ||
		strings.Contains(waiting.text, "666") {
		t.Errorf("before the installation: status %d\n%s", waiting.status, waiting.text)
	}
	select {
	case o := <-ended:
		t.Fatalf("it ended without an installation: %+v", o)
	default:
	}
	f.installed.Store(true)
	b.get(f.address+"/installed", fromGitHub...)
	o := <-ended
	if diff := cmp.Diff(theInstallation(), o.installation); diff != "" || o.err != nil || *o.proof != f.proved {
		t.Errorf("%v, proof %+v, installation (-want +got):\n%s", o.err, o.proof, diff)
	}
	last := b.get(f.address+"/", typed...)
	for _, text := range []string{"ghapp build1 is ready", "ghapp clone acme/site",
		"git ls-remote of acme/site: 3 references", "for all repositories"} {
		testkit.Contains(t, last.text, text)
	}
	testkit.Lacks(t, last.text, "http-equiv=\"refresh\"")
}

func TestAPersonalAppIsPostedToThePersonsOwnPage(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Organization = ""
	f := New(p, newSide().steps(), nil, nil)
	testkit.Equal(t, f.newAppURL("s&t"), origin+"/settings/apps/new?state=s%26t")
}

func TestAWaitingPageIsAnsweredWhenItHasSomethingToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := withoutNetwork(newSide().steps(), theApp())
		first := ask(f, "/", "").Body.String()
		testkit.Contains(t, first, `content="1; url=/?after=`, "Install ghapp build1", `target="_blank"`)
		held := func() time.Duration {
			began := time.Now()
			ask(f, fmt.Sprintf("/?after=%d", installing), "")
			return time.Since(began)
		}
		testkit.Equal(t, held(), holdFor, "nothing happens, and it is answered after")
		go func() {
			time.Sleep(3 * time.Second)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.become(proving)
		}()
		testkit.Equal(t, held(), 3*time.Second, "something happens after 3s, and it is answered after")
		testkit.Equal(t, held(), 0, "something has happened, and it is answered after")
	})
}

func TestAFailureIsShownWithItsHint(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ registered, proof error }{
		"of the code": {registered: errors.New("GitHub said <no>")},
		"of the try":  {proof: errors.New("GitHub said <no>")},
	} {
		t.Run(name, func(t *testing.T) {
			f, b := serve(t, nil), newBrowser(t)
			f.failure = test.proof
			f.installed.Store(true)
			ended := f.run(t.Context())
			f.registered <- test.registered
			page := b.get(f.back(f.begin(b)), fromGitHub...)
			if o := <-ended; o.err == nil || o.err.Error() != "GitHub said <no>" {
				t.Errorf("error %v", o.err)
			}
			if test.proof != nil {
				page = b.get(f.address+"/", typed...)
			}
			for _, text := range []string{"The setup has stopped", "GitHub said &lt;no&gt;.", "What to do", "Do &lt;this&gt;.",
				"And that.", `role="alert"`} {
				testkit.Contains(t, page.text, text)
			}
		})
	}
}

func TestTheLastPageSaysWhatWasProved(t *testing.T) {
	t.Parallel()
	for want, proof := range map[string]Proof{
		"1 reference<":                       {Repository: "acme/site", Refs: 1},
		"git cannot use it":                  {Repository: "acme/site", WithoutGit: true},
		"The installation has no repository": {},
	} {
		f := New(plan(), newSide().steps(), theApp(), nil)
		f.installation, f.proof, f.phase = theInstallation(), &proof, done
		testkit.Contains(t, f.statusPage().render(), want)
	}
}

// ask sends a request to the pages of a flow without a network, as in a bubble of
// synctest, with the cookie of a turn.
func ask(f *Flow, path, cookie string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, f.address+path, nil)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: f.cookieName(), Value: cookie})
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}

func withoutNetwork(steps Steps, app *App) (f *Flow, cookie string, t *turn) {
	f = New(plan(), steps, app, nil)
	f.address = "http://127.0.0.1:8765"
	cookie, t, _ = f.begin()
	return f, cookie, t
}

func TestACodeThatComesLateIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, cookie, turn := withoutNetwork(newSide().steps(), nil)
		ended := make(chan error, 1)
		go func() {
			_, _, err := f.Run(t.Context(), func(*App) {})
			ended <- err
		}()
		time.Sleep(life + time.Second)
		testkit.ErrorIs(t, <-ended, ErrLate)
		f.mu.Lock()
		f.phase = asking // as for a page that is served while the end is being told
		f.mu.Unlock()
		w := ask(f, "/created?code="+code+"&state="+turn.state, cookie)
		if w.Code != http.StatusGone || !strings.Contains(w.Body.String(), "An hour has passed") || len(f.codes) != 0 {
			t.Errorf("status %d, %d codes taken\n%s", w.Code, len(f.codes), w.Body)
		}
	})
}

func TestTheInstallationIsAskedForWithPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSide()
		f, _, _ := withoutNetwork(s.steps(), theApp())
		ended := make(chan error, 1)
		go func() {
			_, _, err := f.Run(t.Context(), func(*App) {})
			ended <- err
		}()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := s.asked.Load(); n < 60 || n > 110 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		// A browser that comes back is not left waiting.
		before := s.asked.Load()
		ask(f, "/installed", "")
		time.Sleep(nudgePause)
		synctest.Wait()
		if n := s.asked.Load(); n != before+1 {
			t.Errorf("asked %d times after the browser had come back", n-before)
		}
		// And does not set the pace, however often it comes.
		for range 1000 {
			ask(f, "/installed", "")
			time.Sleep(time.Millisecond)
		}
		if n := s.asked.Load() - before; n > 6 {
			t.Errorf("asked %d times within a second", n)
		}
		time.Sleep(installLife)
		testkit.ErrorIs(t, <-ended, ErrLate)
	})
}

func TestWaitingOutlastsWhatMayPass(t *testing.T) {
	refused := &ghapp.Error{Kind: ghapp.ErrAppUnknown}
	for name, test := range map[string]struct {
		err   error
		for_  time.Duration
		found bool
	}{
		"a young App that is not known yet": {refused, 30 * time.Second, true},
		"an App that is not known":          {refused, time.Hour, false},
		"a network that is gone":            {&ghapp.Error{Kind: ghapp.ErrUnreachable}, 20 * time.Minute, true},
		"a limit":                           {&ghapp.Error{Kind: ghapp.ErrRateLimited}, 20 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				steps, began := newSide().steps(), time.Now()
				steps.Installation = func(context.Context) (*ghapp.InstallationInfo, error) {
					if time.Since(began) < test.for_ {
						return nil, test.err
					}
					return theInstallation(), nil
				}
				f, _, _ := withoutNetwork(steps, theApp())
				i, _, err := f.Run(t.Context(), func(*App) {})
				if found := err == nil && i.ID == 7; found != test.found || !found && !errors.Is(err, test.err) {
					t.Errorf("found %t, error %v", found, err)
				}
			})
		})
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	stop := errors.New("stop")
	for name, app := range map[string]*App{"before the App": nil, "before the installation": theApp()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, _ := withoutNetwork(newSide().steps(), app)
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() {
					time.Sleep(5 * time.Second)
					cancel(stop)
				}()
				if _, _, err := f.Run(ctx, func(*App) {}); !errors.Is(err, stop) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}

// The end waits for a browser that is on its way, and not for ever.
func TestTheEndWaitsForTheLastPageToBeSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := withoutNetwork(newSide().steps(), theApp())
		f.installation, f.proof = theInstallation(), &Proof{}
		linger := func() time.Duration {
			began := time.Now()
			f.linger(t.Context())
			return time.Since(began)
		}
		testkit.Equal(t, linger(), 0, "nobody takes part, and")
		ask(f, "/", "")
		f.mu.Lock()
		f.become(done)
		f.mu.Unlock()
		testkit.Equal(t, linger(), lingerFor, "was waited for a browser that does")
		go func() {
			time.Sleep(time.Second)
			ask(f, "/", "")
		}()
		testkit.Equal(t, linger(), time.Second, "was waited for a browser that came after a second")
	})
}

func TestInstallURLStaysOnGitHub(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		origin + "/apps/x":        origin + "/apps/x/installations/new",
		origin + "/github-apps/x": origin + "/github-apps/x/installations/new", // an Enterprise Server's
		"https://evil.example/x":  origin + "/apps/a%2Fb/installations/new",
		origin + ".evil.example/": origin + "/apps/a%2Fb/installations/new",
		"":                        origin + "/apps/a%2Fb/installations/new",
	} {
		testkit.Equal(t, InstallURL(origin, &App{Slug: "a/b", Page: page}), want, "%q leads to", page)
	}
}

func TestPaste(t *testing.T) {
	t.Parallel()
	f, _, turn := withoutNetwork(newSide().steps(), nil)
	good := "http://127.0.0.1:8765/created?" + url.Values{"code": {code}, "state": {turn.state}}.Encode()
	for text, want := range map[string]string{
		"":   "not the address",
		code: "not the address",
		"http://127.0.0.1:8765/installed?code=" + code:                "not the address",
		"http://127.0.0.1:8765/created?code=" + code:                  "no state in it",
		"http://127.0.0.1:8765/created?code=" + code + "&state=x":     "not one of this setup",
		"http://127.0.0.1:8765/created?state=" + turn.state:           "no code",
		"http://127.0.0.1:8765/created?code=../x&state=" + turn.state: "no code",
	} {
		if err := f.Paste(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	testkit.OK(t, f.Paste("  "+good+"\n"))
	testkit.Equal(t, (<-f.codes).Reveal(), code, "the code")
	testkit.ErrorIs(t, f.Paste(good), errUsed, "a second time")
}
