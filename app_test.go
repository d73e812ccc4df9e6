package ghapp_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	key := signer.FromCryptoSigner(testkit.Key(t))
	for _, test := range []struct {
		name   string
		config ghapp.Config
		says   []string
	}{
		{"nothing given", ghapp.Config{}, []string{"no App is named", "no private key"}},
		{"all wrong", ghapp.Config{Client: ghapp.Client{Host: "http://github.com"}, Issuer: "my app"},
			[]string{"unencrypted", `"my app" is neither`, "no private key"}},
		{"http", ghapp.Config{Client: ghapp.Client{Host: "http://github.com"}, Issuer: "1", Signer: key},
			[]string{"unencrypted"}},
		{"http API", ghapp.Config{Client: ghapp.Client{APIURL: "http://api.github.com"}, Issuer: "1", Signer: key},
			[]string{"unencrypted"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			app, err := ghapp.New(test.config)
			wantKind(t, err, ghapp.ErrInvalid)
			for _, says := range test.says {
				testkit.ErrorContains(t, err, says)
			}
			testkit.Equal(t, app, nil, "an App came with the error")
		})
	}
}

func TestIssuerIsAnAppIDOrAClientID(t *testing.T) {
	for issuer, good := range map[string]bool{
		"1": true, "123456": true, "Iv23liABCDEFGHIJ1234": true, "Iv1.0123456789abcdef": true,
		"": false, "0": false, "012": false, "-1": false, "1.5": false, "12345 ": false, "Iv23li": false,
		"iv23liABCDEFGHIJ1234":   false,
		"Iv23liABCDEFGHIJ1234\n": false, "my-app": false, strings.Repeat("9", 20): false,
		"0123456789abcdef0123456789abcdef01234567":            false, // a client secret
		"SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=": false, // a fingerprint
	} {
		_, err := ghapp.New(ghapp.Config{Issuer: issuer, Signer: signer.FromCryptoSigner(testkit.Key(t))})
		testkit.Equal(t, (err == nil), good, "issuer %q: error %v", issuer, err)
	}
}

func TestSecretInPlaceOfTheIssuerIsNotRepeated(t *testing.T) {
	for _, secret := range []string{"0123456789abcdef0123456789abcdef01234567",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIE" + canary} {
		_, err := ghapp.New(ghapp.Config{Issuer: secret, Signer: signer.FromCryptoSigner(testkit.Key(t))})
		wantKind(t, err, ghapp.ErrInvalid)
		testkit.Lacks(t, err.Error(), secret[:12])
	}
}

func TestNewAsksNothingOfGitHub(t *testing.T) {
	w := newWorld(t)
	app := w.Open(t)
	testkit.Equal(t, len(w.calls()), 0, "requests")
	if app.Status().Host != "github.com" || app.Status().Origin != "https://github.com" ||
		app.Status().Issuer != w.Registration.ClientID || app.Status().ClockOffset != 0 {
		t.Errorf("host %s, origin %s, issuer %s, offset %s", app.Status().Host, app.Status().Origin,
			app.Status().Issuer, app.Status().ClockOffset)
	}
}

func TestFingerprintIsThatOfTheSubjectPublicKeyInfo(t *testing.T) {
	der := testkit.Must(x509.MarshalPKIXPublicKey(&testkit.Key(t).PublicKey))(t)
	sum := sha256.Sum256(der)
	w := newWorld(t)
	if got, want := w.Open(t).Status().Fingerprint, "SHA256:"+base64.StdEncoding.EncodeToString(sum[:]); got != want {
		t.Errorf("fingerprint %s, want %s", got, want)
	}
	hidden := w.Open(t, func(c *ghapp.Config) { c.Signer = &countingSigner{key: testkit.Key(t)} })
	testkit.Equal(t, hidden.Status().Fingerprint, "", "fingerprint")
}

func TestUserAgentAndAPIVersion(t *testing.T) {
	for _, test := range []struct{ agent, version, wantAgent, wantVersion string }{
		{"", "", "ghapp", ghapp.DefaultAPIVersion},
		{"mine/1.0", "2026-03-10", "mine/1.0 ghapp", "2026-03-10"},
		{"", "none", "ghapp", ""},
	} {
		w := newWorld(t)
		testkit.Must(w.Open(t, func(c *ghapp.Config) {
			c.UserAgent, c.APIVersion, c.OmitAPIVersion = test.agent, test.version, test.version == "none"
		}).Info(t.Context()))(t)
		if r := w.GitHub.Requests()[0]; r.UserAgent != test.wantAgent || r.APIVersion != test.wantVersion {
			t.Errorf("User-Agent %q, X-GitHub-Api-Version %q; want %q, %q", r.UserAgent, r.APIVersion,
				test.wantAgent, test.wantVersion)
		}
	}
}

func TestEachHostHasItsAPI(t *testing.T) {
	for _, test := range []struct{ host, api, want string }{
		{"", "", "api.github.com /app"},
		{"acme.ghe.com", "", "api.acme.ghe.com /app"},
		{"git.acme.example", "", "git.acme.example /api/v3/app"},
		{"git.acme.example", "https://gateway.example/api/v3", "gateway.example /api/v3/app"},
		{"http://127.0.0.1:4040", "", "127.0.0.1:4040 /api/v3/app"},
	} {
		w := newWorld(t)
		testkit.Must(w.Open(t, func(c *ghapp.Config) { c.Host, c.APIURL = test.host, test.api }).Info(t.Context()))(t)
		r := w.GitHub.Requests()[0]
		testkit.Equal(t, r.Host+" "+r.Path, test.want, "host %q, API URL %q: asked", test.host, test.api)
	}
}

func TestInfoProvesThatKeyAndIssuerBelongTogether(t *testing.T) {
	w := newWorld(t)
	for _, issuer := range []string{w.Registration.ClientID, fmt.Sprint(w.Registration.ID)} {
		info := testkit.Must(w.Open(t, func(c *ghapp.Config) { c.Issuer = issuer }).Info(t.Context()))(t)
		if info.ID != w.Registration.ID || info.ClientID != w.Registration.ClientID || info.Slug != w.Registration.Slug ||
			info.Owner != "app-owner" || info.Name != w.Registration.Name ||
			info.Permissions["contents"] != "read" || info.URL == "" {
			t.Errorf("info %+v", info)
		}
	}
}

func TestKeyAndAppThatDoNotBelongTogether(t *testing.T) {
	w := newWorld(t)
	w.Registration.RemoveKey(&testkit.Key(t).PublicKey)
	_, err := w.Open(t).Info(t.Context())
	wantKind(t, err, ghapp.ErrKeyMismatch) // no key is registered

	testkit.Must(w.Registration.RotateKey())(t)
	for _, ask := range []func(*ghapp.App) error{
		func(app *ghapp.App) error { _, err := app.Info(t.Context()); return err },
		func(app *ghapp.App) error { _, err := app.FindInstallation(t.Context(), "acme"); return err },
		func(app *ghapp.App) error { _, err := app.Token(t.Context(), site()); return err },
	} {
		e := wantKind(t, ask(w.Open(t)), ghapp.ErrKeyMismatch)
		if e.Status != 401 || e.Message == "" || e.RequestID == "" || !strings.Contains(e.Error(), e.Message) ||
			!strings.Contains(e.Error(), e.RequestID) {
			t.Errorf("error %q lacks GitHub's words", e)
		}
	}
	for _, issuer := range []string{"999999", "Iv23liNoSuchClient00"} {
		_, err := w.Open(t, func(c *ghapp.Config) { c.Issuer = issuer }).Token(t.Context(), site())
		wantKind(t, err, ghapp.ErrAppUnknown)
	}
}

func TestSignerThatFails(t *testing.T) {
	cause := errors.New("the card was pulled out")
	w := newWorld(t)
	app := w.Open(t, func(c *ghapp.Config) {
		c.Signer = &countingSigner{key: testkit.Key(t), wait: func(context.Context) error { return cause }}
	})
	_, err := app.JWT(t.Context())
	wantKind(t, err, ghapp.ErrKey)
	_, err = app.Token(t.Context(), site())
	wantKind(t, err, ghapp.ErrKey)
	if !errors.Is(err, cause) || len(w.calls()) != 0 {
		t.Errorf("error %v, requests %v", err, w.calls())
	}
}

func TestJWTIsReusedWhileItIsGoodForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer := &countingSigner{key: testkit.Key(t)}
		app := newWorld(t).Open(t, func(c *ghapp.Config) { c.Signer = signer })
		var group sync.WaitGroup
		signer.wait = func(context.Context) error { time.Sleep(time.Second); return nil }
		for range 100 {
			group.Go(func() {
				if _, err := app.JWT(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		testkit.Equal(t, signer.signatures(), 1, "signatures for 100 callers at once")
		for range 100 {
			jwt := testkit.Must(app.JWT(t.Context()))(t)
			if left := time.Until(jwt.ExpiresAt); left < 59*time.Second {
				t.Fatalf("a JWT with %s left was handed out", left)
			}
			time.Sleep(5 * time.Second)
		}
		if n := signer.signatures(); n < 3 || n > 4 {
			t.Errorf("%d signatures in 500 seconds, want one about every four minutes", n)
		}
	})
}

func TestSignerMayTakeLongerThanARequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer := &countingSigner{key: testkit.Key(t), wait: func(ctx context.Context) error {
			select {
			case <-time.After(time.Minute): // someone has to touch the key
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		mustToken(t, newWorld(t).Open(t, func(c *ghapp.Config) { c.Signer = signer }), site())
	})
}

func TestCallerOfJWTLeavesWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer := &countingSigner{key: testkit.Key(t),
			wait: func(context.Context) error { time.Sleep(time.Minute); return nil }}
		app := newWorld(t).Open(t, func(c *ghapp.Config) { c.Signer = signer })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := app.JWT(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
		// The signature was made all the same, for the next caller.
		if _, err := app.JWT(t.Context()); err != nil || signer.signatures() != 1 {
			t.Errorf("error %v, %d signatures", err, signer.signatures())
		}
	})
}

// clocks are how far GitHub's clock may be ahead of ours.
var clocks = []time.Duration{2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 3 * time.Hour}

func TestClockThatIsOffIsRepaired(t *testing.T) {
	for _, by := range clocks {
		for _, ahead := range []time.Duration{by, -by} {
			t.Run(ahead.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.GitHub.SetClockOffset(ahead)
					var log logBuffer
					app := w.Open(t, func(c *ghapp.Config) { c.Log = logTo(&log) })
					testkit.Must(app.Info(t.Context()))(t)
					// The first answer measures the clock, whatever it says.
					if off := (app.Status().ClockOffset - ahead).Abs(); off > time.Second {
						t.Errorf("offset %s, want %s", app.Status().ClockOffset, ahead)
					}
					repairs := w.count("/app") - 1
					if repairs > 1 {
						t.Errorf("%d requests, want two at most", repairs+1)
					}
					// It is kept: nothing further is refused, and the warning came once.
					w.GitHub.ResetRequests()
					token := mustToken(t, app, site())
					for range 3 {
						testkit.Must(app.FindInstallation(t.Context(), "acme"))(t)
					}
					for _, r := range w.GitHub.Requests() {
						if r.Status >= 400 {
							t.Errorf("%s %s: %d, although the clock is known", r.Method, r.Path, r.Status)
						}
					}
					warnings := log.lines("this machine's clock is off")
					if len(warnings) != repairs {
						t.Errorf("%d warnings after %d repairs:\n%s", len(warnings), repairs, warnings)
					}
					if repairs > 0 {
						seconds := int(ahead.Seconds())
						if !strings.Contains(warnings[0], fmt.Sprintf("seconds=%d", seconds)) &&
							!strings.Contains(warnings[0], fmt.Sprintf("seconds=%d", seconds+1)) {
							t.Errorf("warning %q does not tell the seconds, %d", warnings[0], seconds)
						}
					}
					// The token's times are judged by GitHub's clock.
					if life := token.Life(); life < 59*time.Minute || life > time.Hour+time.Second || !token.Propagating() {
						t.Errorf("life %s, age %s", life, ageOf(token))
					}
				})
			})
		}
	}
}

func TestNoJWTIsSignedForTheTimeOfAClockThatIsFarOff(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, ahead := range []time.Duration{16 * time.Hour, -16 * time.Hour, year, -year, 280 * year} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.GitHub.SetClockOffset(ahead)
				app := w.Open(t)
				_, infoErr := app.Info(t.Context())
				_, tokenErr := app.Token(t.Context(), site())
				for _, err := range []error{infoErr, tokenErr} {
					e := wantKind(t, err, ghapp.ErrClockOff)
					date := time.Now().Add(ahead).UTC().Format("2006-01-02")
					if (detail[ghapp.ClockError](e).Offset-ahead).Abs() > time.Second ||
						!strings.Contains(err.Error(), "its clock shows "+date) {
						t.Errorf("offset %s, error %q; want %s, and the date %s", detail[ghapp.ClockError](e).Offset, err, ahead, date)
					}
				}
				testkit.Equal(t, app.Status().ClockOffset, 0, "the offset")
				for _, r := range w.GitHub.Requests() {
					parts := strings.Split(r.Credential.Token, ".")
					claims, err := base64.RawURLEncoding.DecodeString(parts[len(parts)-2])
					var times struct{ Exp int64 }
					if err != nil || json.Unmarshal(claims, &times) != nil {
						t.Fatalf("%s %s: credential %q, %v", r.Method, r.Path, r.Credential.Token, err)
					}
					if good := time.Until(time.Unix(times.Exp, 0)); good > 10*time.Minute {
						t.Errorf("%s %s carries a JWT that is good for %s", r.Method, r.Path, good)
					}
				}
				testkit.Equal(t, w.count("/app"), 1, "requests for one question")
			})
		})
	}
}

func TestEachClockMessageIsRepairedOnce(t *testing.T) {
	for _, message := range []string{
		"'Expiration time' claim ('exp') is too far in the future",
		"'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
		"'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.GitHub.SetClockOffset(30 * time.Second)
			refusal := githubtest.Fault{Match: "GET /app", Status: 401, Body: fmt.Sprintf(`{"message":%q}`, message), Times: 1}
			w.fault(t, refusal)
			var log logBuffer
			app := w.Open(t, func(c *ghapp.Config) { c.Log = logTo(&log) })
			testkit.OK(t, testkit.ErrorOf(app.Info(t.Context())), "%s", message)
			requests := w.GitHub.Requests()
			if len(requests) != 2 || requests[0].Credential.Token == requests[1].Credential.Token {
				t.Errorf("%s: %d requests; want a second one, with another JWT", message, len(requests))
			}
			// No loop where it does not help.
			w.GitHub.ResetRequests()
			refusal.Times = 0
			w.fault(t, refusal)
			_, err := app.Info(t.Context())
			e := wantKind(t, err, ghapp.ErrClockOff)
			if off := (detail[ghapp.ClockError](e).Offset - 30*time.Second).Abs(); off > time.Second ||
				len(w.GitHub.Requests()) != 2 {
				t.Errorf("%s: offset %s after %d requests, want 30s after 2", message,
					detail[ghapp.ClockError](e).Offset, len(w.GitHub.Requests()))
			}
			testkit.Equal(t, len(log.lines("clock is off")), 1, "%s", message)
		})
	}
}

func TestRightClockIsNotBlamed(t *testing.T) {
	w := newWorld(t)
	w.fault(t, githubtest.Fault{Match: "GET /app", Status: 401,
		Body: `{"message":"'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"}`})
	var log logBuffer
	_, err := w.Open(t, func(c *ghapp.Config) { c.Log = logTo(&log) }).Info(t.Context())
	wantKind(t, err, ghapp.ErrClockOff)
	testkit.Equal(t, len(log.lines("clock is off")), 0, "warned of a clock that is right")
}

func TestInstallationsAreListedWithTheSuspendedOnes(t *testing.T) {
	w := newWorld(t)
	for n := range 150 {
		w.Registration.Install(fmt.Sprintf("org-%03d", n), githubtest.InstallOptions{All: true})
	}
	w.Installation.Suspend()
	app := w.Open(t)
	var accounts []string
	for found, err := range app.Installations(t.Context()) {
		testkit.OK(t, err)
		accounts = append(accounts, found.Account)
		if suspended := !found.SuspendedAt.IsZero(); suspended != (found.Account == "acme") {
			t.Errorf("%s: suspended at %v", found.Account, found.SuspendedAt)
		}
		if found.AllRepositories == (found.Account == "acme") {
			t.Errorf("%s: all repositories %t", found.Account, found.AllRepositories)
		}
	}
	if len(accounts) != 151 || accounts[0] != "acme" || w.count("/app/installations") != 2 {
		t.Errorf("%d installations in %d requests, want 151 in 2", len(accounts), w.count("/app/installations"))
	}
	for range app.Installations(t.Context()) {
		break
	}
	if n := w.count("/app/installations"); n != 3 {
		t.Errorf("%d requests, want one more for a reader that stops at once", n-2)
	}
}

func TestInstallationsEndAtTheFirstError(t *testing.T) {
	w := newWorld(t)
	for n := range 150 {
		w.Registration.Install(fmt.Sprintf("org-%03d", n), githubtest.InstallOptions{All: true})
	}
	clock := "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
	for name, f := range map[string]githubtest.Fault{
		"first page":                  {Status: 403},
		"second page":                 {Status: 403, Skip: 1},
		"clock trouble on the second": {Status: 401, Skip: 1, Times: 1, Body: fmt.Sprintf(`{"message":%q}`, clock)},
	} {
		t.Run(name, func(t *testing.T) {
			f.Match = "GET /app/installations"
			w.GitHub.ClearFaults()
			w.fault(t, f)
			seen, failures := map[int64]int{}, 0
			for found, err := range w.Open(t).Installations(t.Context()) {
				if err != nil {
					failures++
					continue
				}
				seen[found.ID]++
			}
			testkit.Equal(t, failures, 1)
			testkit.Equal(t, len(seen), 100*f.Skip)
			for id, n := range seen {
				testkit.Equal(t, n, 1, "installation %d came", id)
			}
		})
	}
	w.GitHub.ClearFaults()
	w.GitHub.SetClockOffset(time.Hour)
	n := 0
	for _, err := range w.Open(t).Installations(t.Context()) {
		testkit.OK(t, err)
		n++
	}
	testkit.Equal(t, n, 151, "installations with a wrong clock")
}

func TestListOfInstallationsThatIsNoList(t *testing.T) {
	for _, body := range []string{"{}", "<html>", "null x", `[1]`} {
		w := newWorld(t)
		w.fault(t, githubtest.Fault{Match: "GET /app/installations", Status: http.StatusOK, Body: body})
		for found, err := range w.Open(t).Installations(t.Context()) {
			if found != nil || err == nil {
				t.Errorf("%s: %v, %v", body, found, err)
				continue
			}
			wantKind(t, err, ghapp.ErrUnreachable)
		}
	}
}

func TestConfigMayBeChangedAfterwards(t *testing.T) {
	w := newWorld(t)
	c := w.Config(t)
	app := testkit.Must(ghapp.New(c))(t)
	c.Issuer, c.Signer, c.Transport, c.Host = "1", nil, nil, "evil.example"
	testkit.Must(app.Info(t.Context()))(t)
	testkit.Diff(t, w.calls(), []string{"GET /app"})
}
