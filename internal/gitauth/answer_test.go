package gitauth_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// world is a GitHub in the process and an Answerer before it. git is what GitHub's
// git service answers; REST requests go to the stand-in.
type world struct {
	*testapp.TestApp
	answerer *gitauth.Answerer
	asked    []*http.Request // of the git service
	named    string          // installation
}

func newWorld(t *testing.T, git func(n int) (status int, text string)) *world {
	t.Helper()
	one := testapp.New(t,
		githubtest.AppOptions{Owner: "acme", Permissions: map[string]string{"contents": "write", "metadata": "read"}},
		githubtest.InstallOptions{Repositories: []string{"acme/site", "acme/web"}})
	app := one.Open(t)
	w := &world{TestApp: one}
	w.answerer = &gitauth.Answerer{
		Origin: "https://github.com",
		App:    func(context.Context, string) (*ghapp.App, string, error) { return app, w.named, nil },
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			w.asked = append(w.asked, r)
			status, text := git(len(w.asked))
			if status == 0 {
				return nil, errors.New("connection refused")
			}
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(text)),
				Request: r, Header: http.Header{}}, nil
		}),
	}
	return w
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func always(status int) func(int) (int, string) {
	return func(int) (int, string) { return status, "" }
}

func ask(path string) *credential.Credential {
	return &credential.Credential{Protocol: "https", Host: "github.com", Path: path}
}

func TestAnswerIsATokenForJustThatRepositoryToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		answer := testkit.Must(w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git")))(t)
		tokens := w.GitHub.Tokens()
		if len(tokens) != 1 || answer.Username != "x-access-token" || answer.Password.Reveal() != tokens[0].Token {
			t.Fatalf("answer %v of tokens %v", answer, tokens)
		}
		testkit.Equal(t, strings.Join(tokens[0].Repositories, ","), "acme/site", "the token reaches")
		testkit.Equal(t, tokens[0].Permissions["contents"], "read", "the token may %v", tokens[0].Permissions)
		if left := time.Until(answer.PasswordExpiry); left < 59*time.Minute || left > time.Hour {
			t.Errorf("git is told that it lives %s", left)
		}
	})
}

func TestExpiryIsToldByThisMachinesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		w.GitHub.SetClockOffset(3 * time.Hour)
		answer := testkit.Must(w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git")))(t)
		if left := time.Until(answer.PasswordExpiry); left < 59*time.Minute || left > 61*time.Minute {
			t.Errorf("git is told that it lives %s, by its own clock", left)
		}
	})
}

// Look-alikes of the host, each written in a way that has fooled a comparison
// somewhere (CVE-2024-53858 and its kind).
func TestOnlyTheExactHostIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		for _, host := range []string{
			"github.com.evil.example", "evilgithub.com", "github.com:444", "GITHUB.COM", "github.com.", "xn--gthub-n4a.com",
			"user@github.com@evil.example", "api.github.com", "", "github.com:", "evil.example", "github.com/acme",
		} {
			asked := ask("acme/site.git")
			asked.Host = host
			if answer, err := w.answerer.Credential(t.Context(), credential.Get, asked); !errors.Is(err, gitauth.ErrNotOurs) ||
				answer != nil {
				t.Errorf("host %q: %v, %v", host, answer, err)
			}
		}
		for _, protocol := range []string{"", "http", "HTTPS", "ssh", "file", "https:"} {
			asked := ask("acme/site.git")
			asked.Protocol = protocol
			if answer, err := w.answerer.Credential(t.Context(), credential.Get, asked); !errors.Is(err, gitauth.ErrNotOurs) ||
				answer != nil {
				t.Errorf("protocol %q: %v, %v", protocol, answer, err)
			}
		}
		testkit.Equal(t, len(w.GitHub.Requests()), 0, "GitHub was asked")
		asked := ask("acme/site.git")
		asked.Host = "github.com:443"
		if _, err := w.answerer.Credential(t.Context(), credential.Get, asked); err != nil {
			t.Errorf("the default port written out: %v", err)
		}
	})
}

func TestWithoutAPathNoTokenIsGuessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		answer, err := w.answerer.Credential(t.Context(), credential.Get, ask(""))
		if err == nil || answer != nil || !strings.Contains(err.Error(), "useHttpPath") {
			t.Errorf("%v, %v", answer, err)
		}
		testkit.Fails(t, w.answerer.Refusal(), "the refusal is not remembered")
		testkit.Equal(t, len(w.GitHub.Requests()), 0, "GitHub was asked")
	})
}

func TestNewTokenIsWaitedForWithTheSameToken(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(n int) (int, string) {
				if n <= 2 {
					return status, "Repository not found."
				}
				return 200, ""
			})
			start := time.Now()
			answer := testkit.Must(w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git")))(t)
			testkit.Equal(t, time.Since(start), 3*time.Second, "waited")
			if w.GitHub.Mints() != 1 || answer.Password.Reveal() != w.GitHub.Tokens()[0].Token {
				t.Errorf("%d mints", w.GitHub.Mints())
			}
			for _, r := range w.asked {
				if name, password, _ := r.BasicAuth(); name != "x-access-token" || password != answer.Password.Reveal() {
					t.Errorf("asked with another credential")
				}
			}
		})
	}
}

func TestRefusalOfANewTokenIsToldWithinItsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(int) (int, string) { return 404, "Repository not found.\x1b[2J" })
		start := time.Now()
		answer, err := w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git"))
		if answer != nil || !errors.Is(err, ghapp.ErrTokenUnknown) {
			t.Fatalf("%v, %v", answer, err)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("waited %s", took)
		}
		if text := err.Error(); !strings.Contains(text, `404 "Repository not found.`) || strings.Contains(text, "\x1b") {
			t.Errorf("error %q", text)
		}
	})
}

func TestNamedInstallationIsNotLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		w.named = strconv.FormatInt(w.Registration.Install("acme", githubtest.InstallOptions{All: true}).ID, 10)
		answer := testkit.Must(w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git")))(t)
		testkit.Equal(t, len(w.GitHub.Requests()), 1, "requests")

		// A refusal by git reaches the token that was found that way.
		time.Sleep(time.Minute)
		asked := ask("acme/site.git")
		asked.Username, asked.Password = answer.Username, answer.Password
		testkit.Must(w.answerer.Credential(t.Context(), credential.Erase, asked))(t)
		if again, err := w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git")); err != nil ||
			again.Password.Reveal() == answer.Password.Reveal() {
			t.Errorf("the refused token is handed out again: %v", err)
		}
	})
}

// The installation is named for the clone; its submodules may be of other owners,
// with a repository of the same name even.
func TestNamedInstallationOfAnotherOwnerIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		w.GitHub.AddRepository("octo/lib", githubtest.RepositoryOptions{})
		w.GitHub.AddRepository("octo/site", githubtest.RepositoryOptions{})
		w.Registration.Install("octo", githubtest.InstallOptions{All: true})
		for _, named := range []string{
			strconv.FormatInt(w.Registration.Install("acme", githubtest.InstallOptions{All: true}).ID, 10),
			"acme"} {
			w.named = named
			for _, repository := range []string{"octo/lib", "octo/site", "acme/site"} {
				answer, err := w.answerer.Credential(t.Context(), credential.Get, ask(repository+".git"))
				testkit.OK(t, err, "%s", repository)
				for _, token := range w.GitHub.Tokens() {
					if token.Token == answer.Password.Reveal() &&
						(strings.Join(token.Repositories, ",") != repository || token.Revoked) {
						t.Errorf("%s: the token reaches %s, revoked %t", repository, token.Repositories, token.Revoked)
					}
				}
			}
		}
	})
}

// A proxy that answers for GitHub may show the request that it was sent.
func TestRefusalDoesNotRepeatTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		w = newWorld(t, func(int) (int, string) {
			sent := w.asked[len(w.asked)-1]
			_, password, _ := sent.BasicAuth()
			return 403, "IP allow list; you sent " + sent.Header.Get("Authorization") + ", that is " + password
		})
		_, err := w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git"))
		if !errors.Is(err, ghapp.ErrIPAllowList) {
			t.Fatal(err)
		}
		for _, secret := range []string{w.GitHub.Tokens()[0].Token,
			strings.TrimPrefix(w.asked[0].Header.Get("Authorization"), "Basic ")} {
			testkit.Lacks(t, err.Error(), secret)
		}
	})
}

func TestRefusalThatTimeDoesNotMendIsNotWaitedFor(t *testing.T) {
	for message, kind := range map[string]ghapp.Kind{
		"the organization has an IP allow list enabled":                ghapp.ErrIPAllowList,
		"This installation has been suspended":                         ghapp.ErrSuspended,
		"Access to this repository has been disabled by GitHub staff.": ghapp.ErrRefused,
		"Repository unavailable due to DMCA takedown.":                 ghapp.ErrRefused,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(int) (int, string) { return 403, message })
			start := time.Now()
			_, err := w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git"))
			if !errors.Is(err, kind) || time.Since(start) != 0 {
				t.Errorf("%s: %v after %s", message, err, time.Since(start))
			}
		})
	}
}

func TestOldTokenIsNotTriedBeforehand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		for range 2 {
			testkit.Must(w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git")))(t)
			time.Sleep(time.Minute)
		}
		testkit.Equal(t, len(w.asked), 1, "the git service was asked")
	})
}

func TestUnreachableGitServiceIsLeftForGitToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(0))
		testkit.Must(w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git")))(t)
	})
}

func TestWaitForANewTokenEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(404))
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := w.answerer.Credential(ctx, credential.Get, ask("acme/site.git")); !errors.Is(
			err, context.DeadlineExceeded) {
			t.Error(err)
		}
		testkit.Equal(t, time.Since(start), 1500*time.Millisecond, "left after")
		testkit.OK(t, w.answerer.Refusal(), "its end is taken for a refusal")
		time.Sleep(time.Minute) // the trial goes on for others who may wait for it, and ends by itself
	})
}

// git says erase after a 401: the next ask must mint anew, and only once; a token in its
// first seconds that was never taken stays, since a new one would be no better known.
func TestEraseDropsARefusedTokenOnceItIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(0))
		get := func() *credential.Credential {
			t.Helper()
			answer := testkit.Must(w.answerer.Credential(t.Context(), credential.Get, ask("acme/site.git")))(t)
			return answer
		}
		erase := func(answer *credential.Credential) {
			t.Helper()
			asked := ask("acme/site.git")
			asked.Username, asked.Password = answer.Username, answer.Password
			testkit.Must(w.answerer.Credential(t.Context(), credential.Erase, asked))(t)
		}
		first := get()
		if w.answerer.Erased() {
			t.Error("erased before git said so")
		}
		erase(first)
		if !w.answerer.Erased() {
			t.Error("git said erase, and nobody knows")
		}
		testkit.Equal(t, get().Password.Reveal(), first.Password.Reveal(), "a token in its first seconds was dropped")
		time.Sleep(time.Minute)
		erase(first)
		second := get()
		if second.Password.Reveal() == first.Password.Reveal() || w.GitHub.Mints() != 2 {
			t.Errorf("not minted anew: %d mints", w.GitHub.Mints())
		}
		erase(first) // late, from another git: of a token that is gone
		time.Sleep(time.Minute)
		if get(); w.GitHub.Mints() != 2 {
			t.Errorf("an old erase dropped the new token: %d mints", w.GitHub.Mints())
		}
	})
}

func TestRefusalNamesTheRepositoryThatIsNotSelected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, always(200))
		w.GitHub.AddRepository("acme/payroll", githubtest.RepositoryOptions{})
		_, err := w.answerer.Credential(t.Context(), credential.Get, ask("acme/payroll.git"))
		if !errors.Is(err, ghapp.ErrRepositoryNotSelected) || !strings.Contains(err.Error(), "acme/payroll") {
			t.Error(err)
		}
		testkit.ErrorIs(t, w.answerer.Refusal(), ghapp.ErrRepositoryNotSelected, "remembered")
		// It is no reason for what fails later.
		w.answerer.Forget()
		testkit.OK(t, w.answerer.Refusal(), "after it was forgotten, remembered")
	})
}
