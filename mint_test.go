package ghapp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/githubtest"
)

// mintBodies are the bodies of the mints so far.
func (w *world) mintBodies() []string {
	var list []string
	for _, r := range w.gh.Requests() {
		if strings.HasSuffix(r.Path, mints) {
			list = append(list, r.Body)
		}
	}
	return list
}

func TestScopeOfATokenIsTheLeastThatDoes(t *testing.T) {
	for name, test := range map[string]struct {
		request ghapp.TokenRequest
		want    string
	}{
		"default":     {site(), `{"repositories":["site"],"permissions":{"contents":"read"}}`},
		"two":         {ghapp.TokenRequest{Repositories: []string{"ACME/Site", "acme/docs"}}, `{"repositories":["docs","site"],"permissions":{"contents":"read"}}`},
		"permissions": {ghapp.TokenRequest{Repositories: []string{"acme/site"}, Permissions: ghapp.Permissions{"metadata": "read"}}, `{"repositories":["site"],"permissions":{"metadata":"read"}}`},
		"everything":  {ghapp.TokenRequest{AllRepositories: true, Installation: "acme", AllPermissions: true}, `{}`},
		"all to read": {ghapp.TokenRequest{AllRepositories: true, Installation: "acme"}, `{"permissions":{"contents":"read"}}`},
		"all rights":  {ghapp.TokenRequest{Repositories: []string{"acme/site"}, AllPermissions: true}, `{"repositories":["site"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			mustToken(t, w.app(t), test.request)
			if diff := cmp.Diff([]string{test.want}, w.mintBodies()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// rewriting changes the bodies of GitHub's mints on their way.
func rewriting(w *world, change func(grant map[string]any)) http.RoundTripper {
	return roundTrips(func(req *http.Request) (*http.Response, error) {
		answer, err := w.gh.RoundTripper().RoundTrip(req)
		if err != nil || !strings.HasSuffix(req.URL.Path, mints) || answer.StatusCode != http.StatusCreated {
			return answer, err
		}
		var grant map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&grant); err != nil {
			return nil, err
		}
		change(grant)
		text, err := json.Marshal(grant)
		if err != nil {
			return nil, err
		}
		answer.Body = readCloser{bytes.NewReader(text)}
		return answer, nil
	})
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func TestMoreThanWasAskedForIsRefusedAndRevoked(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another permission":       func(g map[string]any) { g["permissions"] = map[string]string{"contents": "read", "issues": "read"} },
		"a higher level":           func(g map[string]any) { g["permissions"] = map[string]string{"contents": "write"} },
		"an unknown level":         func(g map[string]any) { g["permissions"] = map[string]string{"contents": "owner"} },
		"more than metadata: read": func(g map[string]any) { g["permissions"] = map[string]string{"contents": "read", "metadata": "write"} },
		"permissions left out":     func(g map[string]any) { delete(g, "permissions") },
		"permissions empty":        func(g map[string]any) { g["permissions"] = map[string]string{} },
		"permissions null":         func(g map[string]any) { g["permissions"] = nil },
		"selection all":            func(g map[string]any) { g["repository_selection"] = "all" },
		"all, none named":          func(g map[string]any) { g["repository_selection"] = "all"; delete(g, "repositories") },
		"repositories left out":    func(g map[string]any) { delete(g, "repositories") },
		"repositories empty":       func(g map[string]any) { g["repositories"] = []any{} },
		"another repository": func(g map[string]any) {
			g["repositories"] = append(g["repositories"].([]any), map[string]any{"id": 5, "full_name": "acme/secret"})
		},
		"a namesake": func(g map[string]any) {
			g["repositories"] = []any{map[string]any{"id": 5, "full_name": "globex/site"}}
		},
		"a repository without a name": func(g map[string]any) { g["repositories"] = []any{map[string]any{"id": 5}} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			store := newMemory()
			app := w.app(t, func(c *ghapp.Config) { c.Transport, c.Store = rewriting(w, change), store })
			token, err := app.Token(t.Context(), site())
			e := wantKind(t, err, ghapp.ErrTooBroad)
			if token != nil || !strings.Contains(e.Error(), "acme/site") {
				t.Errorf("token %v, error %q", token, e)
			}
			if minted := w.gh.Tokens(); len(minted) != 1 || !minted[0].Revoked {
				t.Error("the token was not revoked")
			} else if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), minted[0].Token) {
				t.Error("the error holds the token")
			}
			store.each(func(entry []byte) []byte {
				if bytes.Contains(entry, []byte("ghs_")) {
					t.Error("the token was stored")
				}
				return entry
			})
		})
	}
}

func TestOvergrantOfTheStandInIsRefused(t *testing.T) {
	for name, o := range map[string]githubtest.Overgrant{
		"permissions":  {Permissions: map[string]string{"administration": "write"}},
		"repositories": {AllRepositories: true},
	} {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Overgrant: &o})
		_, err := w.app(t).Token(t.Context(), site())
		e := wantKind(t, err, ghapp.ErrTooBroad)
		if name == "permissions" && (e.Granted["administration"] != "write" || e.Wanted.String() != "contents:read") {
			t.Errorf("wanted %v, granted %v", e.Wanted, e.Granted)
		}
		if !w.gh.Tokens()[0].Revoked {
			t.Errorf("%s: not revoked", name)
		}
	}
}

func TestTooBroadTokenThatCannotBeRevokedIsToldOf(t *testing.T) {
	w := newWorld(t)
	w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Overgrant: &githubtest.Overgrant{AllRepositories: true}})
	w.fault(t, githubtest.Fault{Match: "DELETE /installation/token", Status: 502})
	_, err := w.app(t, func(c *ghapp.Config) { c.MaxWait = -1 }).Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrTooBroad)
	if !strings.Contains(err.Error(), "could not be revoked") || !strings.Contains(err.Error(), "502") {
		t.Errorf("error %q", err)
	}
}

func TestLessThanWasAskedForIsRefused(t *testing.T) {
	w := newWorld(t)
	app := w.app(t, func(c *ghapp.Config) {
		c.Transport = rewriting(w, func(g map[string]any) { g["permissions"] = map[string]string{"metadata": "read"} })
	})
	_, err := app.Token(t.Context(), site())
	e := wantKind(t, err, ghapp.ErrPermission)
	if e.Wanted.String() != "contents:read" || e.Granted.String() != "metadata:read" {
		t.Errorf("wanted %v, granted %v", e.Wanted, e.Granted)
	}
}

func TestInstallationOfAnotherOwnerGivesNoNamesake(t *testing.T) {
	// globex has a repository of the same name, and the App is there too.
	w := newWorld(t)
	other := w.registration.Install("globex", githubtest.InstallOptions{Repositories: []string{"site"}})
	app := w.app(t)
	for _, installation := range []string{fmt.Sprint(other.ID), fmt.Sprintf("https://github.com/settings/installations/%d", other.ID)} {
		r := site()
		r.Installation = installation
		token, err := app.Token(t.Context(), r)
		wantKind(t, err, ghapp.ErrTooBroad)
		if token != nil {
			t.Errorf("a token for %v", token.Repositories)
		}
	}
	for _, minted := range w.gh.Tokens() {
		if !minted.Revoked {
			t.Error("a token for the namesake was left alive")
		}
	}
}

func TestAnswerWithoutATokenIsNoToken(t *testing.T) {
	for _, body := range []string{`{}`, `null`, `{"token":"","expires_at":"2999-01-01T00:00:00Z"}`, `{"token":"ghs_x"}`, `{"expires_at":null,"permissions":{}}`} {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Status: 201, Body: body})
		token, err := w.app(t, func(c *ghapp.Config) { c.MaxWait = -1 }).Token(t.Context(), site())
		wantKind(t, err, ghapp.ErrUnreachable)
		if token != nil {
			t.Errorf("%s: a token came", body)
		}
	}
}

func TestPermissionThatIsNotGrantedIsNamed(t *testing.T) {
	w := newWorld(t)
	_, err := w.app(t).Token(t.Context(), ghapp.TokenRequest{Repositories: []string{"acme/site"}, Permissions: ghapp.Permissions{"contents": "write"}})
	e := wantKind(t, err, ghapp.ErrPermission)
	if e.Wanted.String() != "contents:write" || e.Granted.String() != "contents:read,metadata:read" || e.Status != 422 {
		t.Errorf("wanted %v, granted %v: %v", e.Wanted, e.Granted, e)
	}
}

func TestThousandGoroutinesOnAColdCacheMintOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: time.Second})
		app := w.app(t, func(c *ghapp.Config) { c.Store = newMemory() })
		source := app.TokenSource(site())
		secrets := make([]string, 1000)
		var group sync.WaitGroup
		for n := range secrets {
			group.Go(func() {
				var token *ghapp.Token
				var err error
				if n%2 == 0 {
					token, err = app.Token(t.Context(), site())
				} else {
					token, err = source.Token(t.Context())
				}
				if err != nil {
					t.Error(err)
					return
				}
				secrets[n] = token.Secret.Reveal()
			})
		}
		group.Wait()
		if n := w.gh.Mints(); n != 1 || w.count(lookUps) != 1 {
			t.Errorf("%d mints, %d lookups, want 1 of each", n, w.count(lookUps))
		}
		for _, secret := range secrets {
			if secret != secrets[0] || secret == "" {
				t.Fatal("different tokens were handed out")
			}
		}
	})
}

func TestWaiterLeavesWithItsOwnContextWhileTheMintGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 10 * time.Second})
		app := w.app(t)
		start := time.Now()
		var group sync.WaitGroup
		group.Go(func() { mustToken(t, app, site()) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := app.Token(ctx, site()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 200*time.Millisecond {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
		group.Wait()
		if n := w.gh.Mints(); n != 1 || time.Since(start) != 10*time.Second {
			t.Errorf("%d mints after %s", n, time.Since(start))
		}
	})
}

func TestCancelledCallerDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Delay: time.Second}) // the lookup too
		app := w.app(t)
		first, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := app.Token(first, site()); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who started it got %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			group.Go(func() { mustToken(t, app, site()) })
		}
		time.Sleep(500 * time.Millisecond)
		cancel() // within the lookup
		group.Wait()
		if n := w.gh.Mints(); n != 1 {
			t.Errorf("%d mints", n)
		}
		// And within the mint.
		second, cancel := context.WithCancel(t.Context())
		r := ghapp.TokenRequest{Repositories: []string{"acme/docs"}}
		group.Go(func() {
			if _, err := app.Token(second, r); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who started it got %v", err)
			}
		})
		synctest.Wait()
		group.Go(func() { mustToken(t, app, r) })
		time.Sleep(500 * time.Millisecond)
		cancel()
		group.Wait()
		if n := w.gh.Mints(); n != 2 {
			t.Errorf("%d mints", n)
		}
	})
}

func TestMintHasACeilingOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := roundTrips(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		app := newWorld(t).app(t, func(c *ghapp.Config) { c.Transport, c.MaxWait = hang, time.Hour })
		start := time.Now()
		_, err := app.Token(t.Context(), site())
		if took := time.Since(start); err == nil || took > 2*time.Minute {
			t.Errorf("error %v after %s", err, took)
		}
	})
}

func TestMinLifeIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.app(t)
		long := site()
		long.MinLife = 40 * time.Minute
		first := mustToken(t, app, site())
		time.Sleep(15 * time.Minute)
		if token := mustToken(t, app, long); token != first {
			t.Error("45 minutes are left, 40 are needed, and it was minted anew")
		}
		time.Sleep(10 * time.Minute)
		if token := mustToken(t, app, site()); token != first {
			t.Error("35 minutes are left, none are needed, and it was minted anew")
		}
		second := mustToken(t, app, long)
		if second == first || second.Life() < 40*time.Minute {
			t.Errorf("a life of %s for a need of 40 minutes", second.Life())
		}
		// The longest that can be promised.
		long.MinLife = 59 * time.Minute
		if token := mustToken(t, app, long); token.Life() < 59*time.Minute {
			t.Errorf("life %s", token.Life())
		}
	})
}

func TestMinLifeLongerThanTheHostsTokensIsAnErrorAndNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.gh.SetTokenLife(10 * time.Minute)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 20 * time.Second})
		r := site()
		r.MinLife = 30 * time.Minute
		_, err := w.app(t).Token(t.Context(), r)
		wantKind(t, err, ghapp.ErrInvalid)
		if n := w.gh.Mints(); n != 1 {
			t.Errorf("%d mints", n)
		}
	})
}

func TestCallerWhoNeedsMoreIsNotContentWithWhatOthersGot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		mustToken(t, w.app(t, share), site())
		time.Sleep(30 * time.Minute)
		// Another process, with nothing in memory: one caller is content with the
		// stored token, the other, merged with it, is not.
		app := w.app(t, func(c *ghapp.Config) { c.Store = slowStore{store} })
		long := site()
		long.MinLife = 50 * time.Minute
		var group sync.WaitGroup
		group.Go(func() {
			if token := mustToken(t, app, site()); token.Life() > 31*time.Minute {
				t.Errorf("life %s: minted without need", token.Life())
			}
		})
		time.Sleep(1500 * time.Millisecond) // past the lookup, and while the store is read
		group.Go(func() {
			if token := mustToken(t, app, long); token.Life() < 50*time.Minute {
				t.Errorf("life %s for a need of 50 minutes", token.Life())
			}
		})
		group.Wait()
		if n := w.gh.Mints(); n != 2 {
			t.Errorf("%d mints, want 2", n)
		}
	})
}

// slowStore takes a second for everything.
type slowStore struct{ ghapp.Store }

func (s slowStore) Get(ctx context.Context, key string) ([]byte, error) {
	time.Sleep(time.Second)
	return s.Store.Get(ctx, key)
}

func TestTokenIsRenewedEarlyWhileTheOldOneServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.app(t)
		source := app.TokenSource(site())
		first := mustToken(t, app, site())
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 5 * time.Second})
		time.Sleep(54 * time.Minute)
		for range 3 {
			if token := mustToken(t, app, site()); token != first {
				t.Fatal("renewed too early")
			}
		}
		synctest.Wait()
		if n := w.count(mints); n != 1 {
			t.Errorf("%d mints at 54 minutes", n)
		}
		time.Sleep(2 * time.Minute)
		start := time.Now()
		for range 100 {
			token := mustToken(t, app, site())
			leased, err := source.Token(t.Context())
			if err != nil || token != first || leased != first || time.Since(start) != 0 {
				t.Fatalf("at 56 minutes: waited %s, %v", time.Since(start), err)
			}
		}
		time.Sleep(6 * time.Second)
		second := mustToken(t, app, site())
		leased, err := source.Token(t.Context())
		if err != nil || second == first || leased != second || w.gh.Mints() != 2 {
			t.Errorf("after the renewal: %d mints, %v", w.gh.Mints(), err)
		}
		if life := second.Life(); life < 59*time.Minute {
			t.Errorf("life %s", life)
		}
	})
}

func TestFailedRenewalServesOnWhileTheTokenLivesAndNotASecondLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var log logBuffer
		app := w.app(t, func(c *ghapp.Config) { c.Log, c.MaxWait = logTo(&log), -1 })
		source := app.TokenSource(site())
		first := mustToken(t, app, site())
		w.gh.ResetRequests()
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Status: 502})
		time.Sleep(55 * time.Minute)
		for {
			token, err := app.Token(t.Context(), site())
			leased, leaseErr := source.Token(t.Context())
			synctest.Wait()
			age := first.Age()
			if age >= 59*time.Minute {
				wantKind(t, err, ghapp.ErrUnreachable)
				wantKind(t, leaseErr, ghapp.ErrUnreachable)
				break
			}
			if err != nil || leaseErr != nil || token != first || leased != first {
				t.Fatalf("at %s: %v, %v", age, err, leaseErr)
			}
			time.Sleep(500 * time.Millisecond)
		}
		// Renewal was tried now and then, not with every call.
		if n := w.count(mints); n < 6 || n > 12 {
			t.Errorf("%d attempts to renew in four minutes", n)
		}
		if len(log.lines("could not be renewed")) == 0 {
			t.Error("the failed renewals are not logged")
		}
		w.gh.ClearFaults()
		mustToken(t, app, site())
	})
}

func TestTwoProcessesWithOneStoreMintOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Delay: 3 * time.Second})
		store := newMemory()
		var group sync.WaitGroup
		tokens := make([]*ghapp.Token, 50)
		for n := range tokens {
			group.Go(func() {
				tokens[n] = mustToken(t, w.app(t, func(c *ghapp.Config) { c.Store = store }), site())
			})
		}
		group.Wait()
		if n := w.gh.Mints(); n != 1 {
			t.Errorf("%d mints for 50 processes", n)
		}
		for _, token := range tokens {
			if token.Secret.Reveal() != tokens[0].Secret.Reveal() || token.API != "https://api.github.com" || token.Repositories[0] != "acme/site" || token.Life() < 59*time.Minute {
				t.Fatalf("token %+v", token)
			}
		}
		// A renewal is shared too.
		time.Sleep(57 * time.Minute)
		for range 2 {
			for range 5 {
				mustToken(t, w.app(t, func(c *ghapp.Config) { c.Store = store }), site())
			}
			time.Sleep(10 * time.Second)
		}
		if n := w.gh.Mints(); n != 2 {
			t.Errorf("%d mints after the renewal", n)
		}
	})
}

func TestDifferentKeysShareNoTokens(t *testing.T) {
	w := newWorld(t)
	store := newMemory()
	mustToken(t, w.app(t, func(c *ghapp.Config) { c.Store = store }), site())
	mustToken(t, w.app(t, func(c *ghapp.Config) { c.Store = store; c.Host = "git.acme.example" }), site())
	mustToken(t, w.app(t, func(c *ghapp.Config) { c.Store = store; c.Issuer = fmt.Sprint(w.registration.ID) }), site())
	mustToken(t, w.app(t, func(c *ghapp.Config) { c.Store = store; c.Signer = &countingSigner{key: testKey()} }), site())
	if n := w.gh.Mints(); n != 4 {
		t.Errorf("%d mints, want 4", n)
	}
}

func TestStoreThatFailsIsLoggedAndDoneWithout(t *testing.T) {
	cause := errors.New("read-only file system")
	for name, broken := range map[string]brokenStore{
		"cannot be read":           {get: cause},
		"cannot be locked":         {before: cause},
		"cannot be written":        {after: cause},
		"cannot be read or locked": {get: cause, before: cause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				broken.Store = newMemory()
				var log logBuffer
				app := w.app(t, func(c *ghapp.Config) { c.Store, c.Log = broken, logTo(&log) })
				first := mustToken(t, app, site())
				if again := mustToken(t, app, site()); again != first || w.gh.Mints() != 1 {
					t.Errorf("%d mints", w.gh.Mints())
				}
				if broken.before != nil || broken.after != nil {
					if lines := log.lines(cause.Error()); len(lines) == 0 {
						t.Errorf("the store's failure is not logged:\n%s", &log)
					}
				}
				time.Sleep(time.Minute)
				w.gh.RevokeTokens()
				_ = app.Drop(t.Context(), site(), first.Secret)
				if next := mustToken(t, app, site()); next.Secret.Reveal() == first.Secret.Reveal() {
					t.Error("a refused token is handed out again")
				}
			})
		})
	}
}

func TestErrorOfAMintIsNotTheStores(t *testing.T) {
	w := newWorld(t)
	var log logBuffer
	w.fault(t, githubtest.Fault{Match: githubtest.MintPattern, Status: 403, Body: `{"message":"This installation has been suspended"}`})
	_, err := w.app(t, func(c *ghapp.Config) { c.Store, c.Log = newMemory(), logTo(&log) }).Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrSuspended)
	if lines := log.lines("not shared"); len(lines) != 0 || w.count(mints) != 1 {
		t.Errorf("%d mints, log %v", w.count(mints), lines)
	}
}

func TestDamagedEntryOfTheStoreIsMintedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		first := mustToken(t, w.app(t, share), site())
		var whole []byte
		store.each(func(entry []byte) []byte {
			if bytes.Contains(entry, []byte("ghs_")) {
				whole = entry
			}
			return entry
		})
		future := bytes.Replace(whole, []byte(`"minted_at":"20`), []byte(`"minted_at":"29`), 1)
		for n, damage := range [][]byte{{}, []byte("{"), []byte("null"), []byte(`{"token":"x"}`), whole[:len(whole)-5], []byte("\x00\xff"), future} {
			store.each(func(entry []byte) []byte {
				if bytes.Contains(entry, []byte("installation\":")) && !bytes.Contains(entry, []byte("token")) {
					return entry // the lookup
				}
				return damage
			})
			token := mustToken(t, w.app(t, share), site())
			if token.Secret.Reveal() == first.Secret.Reveal() || w.gh.Mints() != n+2 {
				t.Errorf("%q: %d mints", damage, w.gh.Mints())
			}
		}
	})
}

func TestStoredTokenIsJudgedByGitHubsClock(t *testing.T) {
	for _, ahead := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.gh.SetClockOffset(ahead)
			store := newMemory()
			share := func(c *ghapp.Config) { c.Store = store }
			mustToken(t, w.app(t, share), site())
			w.gh.ResetRequests()
			// A new process has measured nothing, and asks nothing.
			app := w.app(t, share)
			token := mustToken(t, app, site())
			if len(w.calls()) != 0 || (token.Life()-time.Hour).Abs() > 2*time.Second || (app.ClockOffset()-ahead).Abs() > time.Second {
				t.Errorf("%s: requests %v, life %s, offset %s", ahead, w.calls(), token.Life(), app.ClockOffset())
			}
			time.Sleep(58 * time.Minute)
			if token := mustToken(t, w.app(t, share), site()); token.Life() <= 0 {
				t.Errorf("life %s", token.Life())
			}
			time.Sleep(4 * time.Minute)
			if token := mustToken(t, w.app(t, share), site()); token.Life() < 54*time.Minute {
				t.Errorf("%s: life %s, an hour and two minutes after the first", ahead, token.Life())
			}
		})
	}
}

func TestEntryStoredByAWrongClockIsNotBelieved(t *testing.T) {
	// GitHub was three hours behind our clock when the token was stored. Since then
	// our clock was set right: by the stored offset the token lies in the future.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		mustToken(t, w.app(t, share), site())
		store.each(func(entry []byte) []byte {
			return bytes.Replace(entry, []byte(`"clock_offset_ns":0`), fmt.Appendf(nil, `"clock_offset_ns":%d`, -3*time.Hour), 1)
		})
		time.Sleep(70 * time.Minute)
		app := w.app(t, share)
		if token := mustToken(t, app, site()); token.Life() < 59*time.Minute || w.gh.Mints() != 2 || app.ClockOffset() != 0 {
			t.Errorf("life %s, %d mints, offset %s", token.Life(), w.gh.Mints(), app.ClockOffset())
		}
	})
}

// drops tells the App that a token was refused.
func drops(t *testing.T, app *ghapp.App, r ghapp.TokenRequest, token *ghapp.Token) {
	t.Helper()
	if err := app.Drop(t.Context(), r, token.Secret); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedTokenIsDroppedEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		app, other := w.app(t, share), w.app(t, share)
		first := mustToken(t, app, site())
		time.Sleep(time.Minute)
		w.gh.RevokeTokens()
		drops(t, app, site(), first)
		second := mustToken(t, app, site())
		if second.Secret.Reveal() == first.Secret.Reveal() || mustToken(t, other, site()).Secret.Reveal() != second.Secret.Reveal() || w.gh.Mints() != 2 {
			t.Errorf("%d mints", w.gh.Mints())
		}
		// Dropping the old one again, as a second refused request does, changes nothing.
		time.Sleep(time.Minute)
		drops(t, app, site(), first)
		drops(t, other, site(), first)
		if token := mustToken(t, app, site()); token != second || w.gh.Mints() != 2 {
			t.Error("the new token was dropped for the old one")
		}
	})
}

func TestTokenOfARepositoryThatMovedIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := w.gh.Rename("acme/site", "shop"); err != nil {
			t.Fatal(err)
		}
		app := w.app(t)
		first := mustToken(t, app, site())
		time.Sleep(time.Minute)
		drops(t, app, site(), first)
		if token := mustToken(t, app, site()); token.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("it was not dropped")
		}
	})
}

func TestYoungTokenIsNotDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		app := w.app(t, func(c *ghapp.Config) { c.Store = store })
		first := mustToken(t, app, site())
		time.Sleep(9 * time.Second)
		drops(t, app, site(), first)
		if token := mustToken(t, app, site()); token != first {
			t.Error("dropped after nine seconds: a new one would not be known any sooner")
		}
		time.Sleep(2 * time.Second)
		drops(t, app, site(), first)
		if token := mustToken(t, app, site()); token == first {
			t.Error("not dropped after eleven seconds")
		}
	})
}

func TestTokenIsYoungFromTheAnswerOn(t *testing.T) {
	// The mint waits for a limit first; the token is new all the same.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		limit := githubtest.SecondaryLimit(githubtest.MintPattern, 30*time.Second)
		limit.Times = 1
		w.fault(t, limit)
		if token := mustToken(t, w.app(t), site()); !token.Young() || token.Age() > time.Second {
			t.Errorf("age %s", token.Age())
		}
	})
}

func TestRevokeEndsATokenEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := newMemory()
		share := func(c *ghapp.Config) { c.Store = store }
		app := w.app(t, share)
		source := app.TokenSource(site())
		first, err := source.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := app.Revoke(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if !w.gh.Tokens()[0].Revoked {
			t.Error("GitHub was not told")
		}
		revoke := w.gh.Requests()[len(w.gh.Requests())-1]
		if revoke.Method != "DELETE" || revoke.Path != "/installation/token" || revoke.Credential.Token != first.Secret.Reveal() {
			t.Errorf("%s %s", revoke.Method, revoke.Path)
		}
		for name, token := range map[string]func() (*ghapp.Token, error){
			"the source": func() (*ghapp.Token, error) { return source.Token(t.Context()) },
			"the App":    func() (*ghapp.Token, error) { return app.Token(t.Context(), site()) },
			"the store":  func() (*ghapp.Token, error) { return w.app(t, share).Token(t.Context(), site()) },
		} {
			next, err := token()
			if err != nil || next.Secret.Reveal() == first.Secret.Reveal() {
				t.Errorf("%s hands out a revoked token (%v)", name, err)
			}
		}
		// A second time GitHub says no, and so do we: nothing succeeds that did not.
		time.Sleep(time.Minute)
		wantKind(t, app.Revoke(t.Context(), first), ghapp.ErrTokenRefused)
		wantKind(t, app.Revoke(t.Context(), &ghapp.Token{Secret: ghapp.NewSecret("ghs_nobody")}), ghapp.ErrTokenRefused)
	})
}

func TestRevokeWaitsForAYoungToken(t *testing.T) {
	for lag, revoked := range map[time.Duration]bool{2 * time.Second: true, 5 * time.Second: true, 20 * time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.gh.SetReplicationLag(lag)
			app := w.app(t)
			start := time.Now()
			err := app.Revoke(t.Context(), mustToken(t, app, site()))
			if revoked && err != nil {
				t.Errorf("lag %s: %v", lag, err)
			}
			if !revoked {
				wantKind(t, err, ghapp.ErrTokenRefused)
			}
			if took := time.Since(start); took > 7*time.Second {
				t.Errorf("lag %s: took %s", lag, took)
			}
		})
	}
}

func TestRevokeSucceedsOnlyWhereGitHubSaysSo(t *testing.T) {
	for name, f := range map[string]githubtest.Fault{
		"a page of a hotel": {Status: 200, Body: "<html>Welcome"}, "502": {Status: 502}, "reset": {Reset: true}, "redirect": {RedirectTo: "https://evil.example"},
	} {
		w := newWorld(t)
		app := w.app(t, func(c *ghapp.Config) { c.MaxWait = -1 })
		token := mustToken(t, app, site())
		f.Match = "DELETE /installation/token"
		w.fault(t, f)
		if err := app.Revoke(t.Context(), token); ghapp.KindOf(err) == "" {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestRevokeTokenNeedsNoApp(t *testing.T) {
	w := newWorld(t)
	token := mustToken(t, w.app(t), site())
	c := ghapp.Config{Transport: w.gh.RoundTripper()}
	if err := ghapp.RevokeToken(t.Context(), c, token.Secret); err != nil || !w.gh.Tokens()[0].Revoked {
		t.Errorf("error %v", err)
	}
	wantKind(t, ghapp.RevokeToken(t.Context(), c, token.Secret), ghapp.ErrTokenRefused)
	c.Host = "http://github.com"
	wantKind(t, ghapp.RevokeToken(t.Context(), c, token.Secret), ghapp.ErrInvalid)
}

func TestExpiredTokensAreForgotten(t *testing.T) {
	// A token that expires while it is being minted anew is still kept once.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		app := w.app(t)
		mustToken(t, app, site())
		time.Sleep(2 * time.Hour)
		slow := githubtest.Fault{Match: githubtest.MintPattern, Delay: 2 * time.Second, Times: 1}
		w.fault(t, slow)
		var group sync.WaitGroup
		group.Go(func() { mustToken(t, app, site()) })
		synctest.Wait()
		mustToken(t, app, ghapp.TokenRequest{Repositories: []string{"acme/docs"}}) // sweeps
		group.Wait()
		mustToken(t, app, site())
		if n := w.gh.Mints(); n != 3 {
			t.Errorf("%d mints, want 3", n)
		}
	})
}

func TestMintGoesToTheAPIWhateverTheAnswerNames(t *testing.T) {
	w := newWorld(t)
	evil := githubtest.NewRecorder()
	w.fault(t, githubtest.Fault{Match: "GET /users/*/installation", Status: 200, Body: fmt.Sprintf(
		`{"id":%d,"target_type":"Organization","access_tokens_url":"https://evil.example/x","repositories_url":"https://evil.example/y"}`, w.installation.ID)})
	app := w.app(t, func(c *ghapp.Config) {
		c.Transport = network{"https://api.github.com": w.gh, "https://evil.example": evil}
	})
	mustToken(t, app, site())
	if n := len(evil.Requests()); n != 0 {
		t.Errorf("%d requests went where the answer pointed", n)
	}
}

func TestRenewedTokenTellsItsOwnGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.installation.SetPermissions(map[string]string{"contents": "read", "actions": "write"})
		w.installation.Select("site", "docs")
		app := w.app(t)
		r := ghapp.TokenRequest{AllRepositories: true, Installation: "acme", AllPermissions: true}
		first := mustToken(t, app, r)
		if first.Permissions["actions"] != "write" {
			t.Fatalf("permissions %v", first.Permissions)
		}
		w.installation.SetPermissions(map[string]string{"contents": "read"})
		time.Sleep(2 * time.Hour)
		second := mustToken(t, app, r)
		if diff := cmp.Diff(ghapp.Permissions{"contents": "read", "metadata": "read"}, second.Permissions); diff != "" {
			t.Errorf("permissions (-want +got):\n%s", diff)
		}
		if first.Permissions["actions"] != "write" {
			t.Error("the old token changed under those who hold it")
		}
	})
}

func TestMintIsTriedAgain(t *testing.T) {
	for name, f := range map[string]githubtest.Fault{
		"502": {Status: 502}, "HTML 502": githubtest.HTML502(""), "reset": {Reset: true}, "cut": {CutAfter: 10}, "slow": {Delay: 40 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			f.Match, f.Times = githubtest.MintPattern, 1
			w.fault(t, f)
			token := mustToken(t, w.app(t), site())
			if token.Life() < 59*time.Minute || w.count(mints) != 2 {
				t.Errorf("%s: life %s after %d attempts", name, token.Life(), w.count(mints))
			}
		})
	}
}
