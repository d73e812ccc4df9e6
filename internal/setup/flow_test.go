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
)

func TestTheWholeWay(t *testing.T) {
	t.Parallel()
	f, b := serve(t, nil), newBrowser(t)
	ended := f.run(t.Context())

	start := b.get(f.address+"/", typed...)
	action, state, manifest := start.form(t)
	if got := action.Scheme + "://" + action.Host + action.Path; got != origin+"/organizations/acme/settings/apps/new" || start.status != 200 {
		t.Errorf("status %d, and the form goes to %s", start.status, got)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(manifest), &m); err != nil {
		t.Fatal(err)
	}
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
	if got := <-f.traded; got != code {
		t.Errorf("the code %q was traded", got)
	}
	// What the address says of the installation is not believed.
	waiting := b.get(f.address+"/installed?installation_id=666&setup_action=install", fromGitHub...)
	if waiting.status != 200 || !strings.Contains(waiting.text, "Waiting for GitHub") || strings.Contains(waiting.text, "666") {
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
	for _, text := range []string{"ghapp build1 is ready", "ghapp clone acme/site", "git ls-remote of acme/site: 3 references", "for all repositories"} {
		if !strings.Contains(last.text, text) {
			t.Errorf("%q is not on the last page:\n%s", text, last.text)
		}
	}
	if strings.Contains(last.text, "http-equiv=\"refresh\"") {
		t.Error("the last page asks on")
	}
}

func TestAPersonalAppIsPostedToThePersonsOwnPage(t *testing.T) {
	t.Parallel()
	p := plan()
	p.Organization = ""
	f := New(p, newSide().steps(), nil, nil)
	if got := f.newAppURL("s&t"); got != origin+"/settings/apps/new?state=s%26t" {
		t.Error(got)
	}
}

func TestAWaitingPageIsAnsweredWhenItHasSomethingToSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := withoutNetwork(newSide().steps(), theApp())
		first := ask(f, "/", "").Body.String()
		if !strings.Contains(first, `content="1; url=/?after=`) || !strings.Contains(first, "Install ghapp build1") || !strings.Contains(first, `target="_blank"`) {
			t.Errorf("the page of an App that is there:\n%s", first)
		}
		held := func() time.Duration {
			began := time.Now()
			ask(f, fmt.Sprintf("/?after=%d", installing), "")
			return time.Since(began)
		}
		if took := held(); took != holdFor {
			t.Errorf("nothing happens, and it is answered after %v", took)
		}
		go func() {
			time.Sleep(3 * time.Second)
			f.mu.Lock()
			defer f.mu.Unlock()
			f.become(proving)
		}()
		if took := held(); took != 3*time.Second {
			t.Errorf("something happens after 3s, and it is answered after %v", took)
		}
		if took := held(); took != 0 {
			t.Errorf("something has happened, and it is answered after %v", took)
		}
	})
}

func TestAFailureIsShownWithItsCure(t *testing.T) {
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
			for _, text := range []string{"The setup has stopped", "GitHub said &lt;no&gt;.", "What to do", "Do &lt;this&gt;.", "And that.", `role="alert"`} {
				if !strings.Contains(page.text, text) {
					t.Errorf("%q is not on the page:\n%s", text, page.text)
				}
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
		if text := f.statusPage().render(); !strings.Contains(text, want) {
			t.Errorf("%q is not on the page:\n%s", want, text)
		}
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
		if err := <-ended; !errors.Is(err, ErrLate) {
			t.Errorf("error %v", err)
		}
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
		if err := <-ended; !errors.Is(err, ErrLate) {
			t.Errorf("error %v", err)
		}
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
		if took := linger(); took != 0 {
			t.Errorf("nobody takes part, and %v was waited", took)
		}
		ask(f, "/", "")
		f.mu.Lock()
		f.become(done)
		f.mu.Unlock()
		if took := linger(); took != lingerFor {
			t.Errorf("%v was waited for a browser that does not come", took)
		}
		go func() {
			time.Sleep(time.Second)
			ask(f, "/", "")
		}()
		if took := linger(); took != time.Second {
			t.Errorf("%v was waited for a browser that came after a second", took)
		}
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
		if got := InstallURL(origin, &App{Slug: "a/b", Page: page}); got != want {
			t.Errorf("%q leads to %s, want %s", page, got, want)
		}
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
	if err := f.Paste("  " + good + "\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-f.codes; got.Reveal() != code {
		t.Errorf("the code %q was taken", got.Reveal())
	}
	if err := f.Paste(good); !errors.Is(err, errUsed) {
		t.Errorf("a second time: %v", err)
	}
}
