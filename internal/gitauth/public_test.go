package gitauth_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// allowList is GitHub's text.
const allowList = "Although you appear to have the correct authorization credentials, " +
	"the `acme` organization has an IP allow list enabled, and your IP address is not permitted to access this resource."

// service is GitHub's git service: what it answers to those who bring a credential, and
// which repositories it serves to everybody.
type service struct {
	status int // 0: 200
	text   string
	public []string // paths
	moved  map[string]string
}

func (s *service) answer(r *http.Request) *http.Response {
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/info/refs")
	answer := &http.Response{StatusCode: s.status, Request: r, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(s.text))}
	served := false
	for _, name := range s.public {
		served = served || name == strings.TrimSuffix(path, ".git")
	}
	if to := s.moved[path]; to != "" {
		answer.StatusCode = http.StatusMovedPermanently
		answer.Header.Set("Location", to+"/info/refs?"+r.URL.RawQuery)
		return answer
	}
	switch credentialed := r.Header.Get("Authorization") != ""; {
	case credentialed && s.status != 0:
		return answer
	case !credentialed && !served:
		answer.StatusCode = http.StatusUnauthorized
		return answer
	}
	answer.StatusCode = http.StatusOK
	answer.Header.Set("Content-Type", "application/x-git-upload-pack-advertisement")
	return answer
}

// openWorld is a world with acme/site and acme/web, which are selected, acme/other,
// which is not, octo/pub, whose owner has not installed the App, and a git service. All
// are public but for acme/web.
type openWorld struct {
	*world
	service *service
	said    *bytes.Buffer // by the log, from Info on
}

func newOpenWorld(t *testing.T) *openWorld {
	t.Helper()
	w := &openWorld{world: newWorld(t, nil), said: &bytes.Buffer{}}
	w.service = &service{public: []string{"acme/site", "acme/site.wiki", "acme/other", "octo/pub"}}
	w.answerer.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		w.asked = append(w.asked, r)
		return w.service.answer(r), nil
	})
	w.answerer.Log = slog.New(slog.NewTextHandler(w.said, nil))
	w.GitHub.AddRepository("acme/other", githubtest.RepositoryOptions{Public: true})
	w.GitHub.AddRepository("octo/pub", githubtest.RepositoryOptions{Public: true})
	return w
}

// proactive is what git asks where http.proactiveAuth is basic.
func proactive(path string) *credential.Credential {
	asked := ask(path)
	asked.Capabilities, asked.WWWAuth = []string{"authtype", "state"}, []string{"Basic"}
	return asked
}

// requests are those that GitHub had so far.
func (w *openWorld) requests() int { return len(w.GitHub.Requests()) + len(w.asked) }

// wantAnonymous fails if the answer is not to go on without a credential, or if a
// credential came with the request that showed that the repository is public.
func (w *openWorld) wantAnonymous(t *testing.T, path string) {
	t.Helper()
	w.asked = nil
	answer, err := w.answerer.Credential(t.Context(), credential.Get, proactive(path))
	if err != nil || answer == nil || !answer.Anonymous() {
		t.Fatalf("%s: %v, %v", path, answer, err)
	}
	if n := len(w.asked); n > 0 && w.asked[n-1].Header.Get("Authorization") != "" {
		t.Errorf("%s: asked with a credential whether it is public", path)
	}
	testkit.OK(t, w.answerer.Refusal(), "%s: git is said to have been refused", path)
}

func TestPublicRepositoryBehindAnAllowListIsReadWithoutAToken(t *testing.T) {
	for where, refuse := range map[string]func(*openWorld){
		"when minting": func(w *openWorld) { w.GitHub.SetIPAllowList("acme", true) },
		"at the git service": func(w *openWorld) {
			w.service.status, w.service.text = http.StatusForbidden, allowList
		},
	} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newOpenWorld(t)
				refuse(w)
				w.wantAnonymous(t, "acme/site.git")
				testkit.Contains(t, w.said.String(), "level=WARN", "acme/site is public", "IP allow list")
				// A wiki is asked for by its own name.
				w.wantAnonymous(t, "acme/site.wiki.git")
				testkit.Equal(t, w.asked[len(w.asked)-1].URL.Path, "/acme/site.wiki/info/refs", "asked for")
			})
		})
	}
}

func TestPrivateRepositoryBehindAnAllowListStaysRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOpenWorld(t)
		w.GitHub.SetIPAllowList("acme", true)
		answer, err := w.answerer.Credential(t.Context(), credential.Get, proactive("acme/web.git"))
		if answer != nil || !errors.Is(err, ghapp.ErrIPAllowList) || !errors.Is(w.answerer.Refusal(), ghapp.ErrIPAllowList) {
			t.Errorf("%v, %v", answer, err)
		}
		if w.said.Len() > 0 {
			t.Errorf("told: %s", w.said)
		}
	})
}

// A proxy's page for people to log in, say.
func TestPageOfAnotherIsNotTakenForAPublicRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOpenWorld(t)
		w.GitHub.SetIPAllowList("acme", true)
		for _, header := range []http.Header{{"Content-Type": {"text/html"}}, {}} {
			w.answerer.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Request: r, Header: header,
					Body: io.NopCloser(strings.NewReader("<html>"))}, nil
			})
			if answer, err := w.answerer.Credential(t.Context(), credential.Get, proactive("acme/site.git")); answer != nil ||
				!errors.Is(err, ghapp.ErrIPAllowList) {
				t.Errorf("%v: %v, %v", header, answer, err)
			}
		}
	})
}

// Left to itself git would have read it, so with the App it must not be less.
func TestPublicRepositoryThatTheAppDoesNotReachIsReadWithoutAToken(t *testing.T) {
	for repository, text := range map[string]string{"acme/other": "does not exist or is not accessible",
		"octo/pub": "cannot find the installation of octo"} {
		t.Run(repository, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newOpenWorld(t)
				w.wantAnonymous(t, repository)
				if said := w.said.String(); !strings.Contains(said, "level=INFO") || !strings.Contains(said,
					repository+" is public") || !strings.Contains(said, text) || strings.Contains(said, "level=WARN") {
					t.Errorf("told: %q", said)
				}
			})
		})
	}
}

func TestTokenIsPreferredForAPublicRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOpenWorld(t)
		answer, err := w.answerer.Credential(t.Context(), credential.Get, proactive("acme/site.git"))
		if err != nil || answer.Anonymous() {
			t.Fatalf("%v, %v", answer, err)
		}
		if _, password := answer.Login(); password.Reveal() != w.GitHub.Tokens()[0].Token {
			t.Error("the answer is not the token")
		}
		for _, r := range w.asked {
			if r.Header.Get("Authorization") == "" {
				t.Error("the git service was asked whether it is public")
			}
		}
	})
}

// Whoever did not ask by itself was asked by a server, or does not understand.
func TestRefusalAfterAChallengeStaysARefusal(t *testing.T) {
	for name, change := range map[string]func(*credential.Credential){
		"challenge":             func(c *credential.Credential) { c.WWWAuth = []string{`Basic realm="GitHub"`} },
		"git-lfs asks first":    func(c *credential.Credential) { c.WWWAuth = nil },
		"git before 2.46":       func(c *credential.Credential) { c.Capabilities = nil },
		"below the repository":  func(c *credential.Credential) { c.Path += "/info/lfs" },
		"no repository's path":  func(c *credential.Credential) { c.Path = "acme" },
		"another host entirely": func(c *credential.Credential) { c.Host = "evil.example" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newOpenWorld(t)
				w.GitHub.SetIPAllowList("acme", true)
				asked := proactive("acme/site.git")
				change(asked)
				if answer, err := w.answerer.Credential(t.Context(), credential.Get, asked); answer != nil || err == nil {
					t.Errorf("%v, %v", answer, err)
				}
				for _, r := range w.asked {
					if r.Header.Get("Authorization") == "" {
						t.Errorf("asked anonymously for %s", r.URL.Path)
					}
				}
			})
		})
	}
}

func TestOtherRefusalsAreNotPassedOver(t *testing.T) {
	for kind, refuse := range map[ghapp.Kind]func(*openWorld){
		ghapp.ErrSuspended: func(w *openWorld) {
			w.Registration.Install("acme", githubtest.InstallOptions{All: true}).Suspend()
		},
		ghapp.ErrPermission: func(w *openWorld) {
			w.Registration.Install("acme", githubtest.InstallOptions{All: true,
				Permissions: map[string]string{"metadata": "read"}})
		},
		ghapp.ErrKeyMismatch: func(w *openWorld) { w.Registration.RemoveKeys(); _, _ = w.Registration.RotateKey() },
		ghapp.ErrSAML: func(w *openWorld) {
			w.service.status, w.service.text = http.StatusForbidden, "The 'acme' organization has enabled or enforced SAML SSO."
		},
		ghapp.ErrTokenUnknown: func(w *openWorld) {
			w.service.status, w.service.text = http.StatusNotFound, "Repository not found."
		},
		ghapp.ErrTooBroad: func(w *openWorld) {
			if err := w.GitHub.Fault(githubtest.Fault{Match: githubtest.MintPattern,
				Overgrant: &githubtest.Overgrant{AllRepositories: true}}); err != nil {
				panic(err)
			}
		},
		ghapp.ErrUnreachable: func(w *openWorld) {
			if err := w.GitHub.Fault(githubtest.Fault{Match: githubtest.MintPattern, Status: 500}); err != nil {
				panic(err)
			}
		},
	} {
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newOpenWorld(t)
				refuse(w)
				answer, err := w.answerer.Credential(t.Context(), credential.Get, proactive("acme/site.git"))
				if answer != nil || !errors.Is(err, kind) {
					t.Errorf("%v, %v", answer, err)
				}
			})
		})
	}
}

// store is a [ghapp.Store] in memory.
type store struct {
	mu      sync.Mutex
	entries map[string][]byte
}

func (s *store) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[key], nil
}

func (s *store) Update(ctx context.Context, key string, fn func(context.Context, []byte) ([]byte, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry, err := fn(ctx, s.entries[key])
	if err == nil {
		s.entries[key] = entry
	}
	return err
}

// git starts a helper for each question: none of them asks GitHub what the one before
// it has found out.
func TestOpenRepositoryIsRememberedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOpenWorld(t)
		shared := &store{entries: map[string][]byte{}}
		w.answerer.Store = shared
		w.GitHub.SetIPAllowList("acme", true)
		w.wantAnonymous(t, "acme/site.git")
		next := &gitauth.Answerer{
			Origin: w.answerer.Origin, App: w.answerer.App, Transport: w.answerer.Transport, Log: w.answerer.Log, Store: shared,
		}
		for name, answerer := range map[string]*gitauth.Answerer{"the same process": w.answerer, "another process": next} {
			w.said.Reset()
			before := w.requests()
			for _, path := range []string{"acme/site", "Acme/Site.git/"} {
				if answer, err := answerer.Credential(t.Context(), credential.Get, proactive(path)); err != nil ||
					!answer.Anonymous() {
					t.Fatalf("%s: %v, %v", name, answer, err)
				}
			}
			testkit.Equal(t, w.requests()-before, 0, "%s", name)
			if told := strings.Count(w.said.String(),
				"level=WARN"); told != map[bool]int{true: 0, false: 1}[answerer == w.answerer] {
				t.Errorf("%s: told %d times: %s", name, told, w.said)
			}
		}

		// Where the server has asked, that is what counts.
		if answer, err := next.Credential(t.Context(), credential.Get, ask("acme/site.git")); answer != nil ||
			!errors.Is(err, ghapp.ErrIPAllowList) {
			t.Errorf("after a challenge: %v, %v", answer, err)
		}
		// And it ends.
		w.GitHub.SetIPAllowList("acme", false)
		time.Sleep(6 * time.Minute)
		if answer, err := next.Credential(t.Context(), credential.Get, proactive("acme/site.git")); err != nil ||
			answer.Anonymous() {
			t.Errorf("later: %v, %v", answer, err)
		}
	})
}

// git says erase where a server wanted a credential after all, such as for a push.
func TestEraseForgetsAnOpenRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOpenWorld(t)
		w.answerer.Store = &store{entries: map[string][]byte{}}
		w.GitHub.SetIPAllowList("acme", true)
		w.wantAnonymous(t, "acme/site.git")
		w.GitHub.SetIPAllowList("acme", false)
		w.wantAnonymous(t, "acme/site.git") // it is remembered
		back := credential.AnswerAnonymous()
		back.Protocol, back.Host, back.Path = "https", "github.com", "acme/site.git"
		testkit.Must(w.answerer.Credential(t.Context(), credential.Erase, back))(t)
		if w.answerer.Erased() {
			t.Error("a token is said to have been refused")
		}
		if answer, err := w.answerer.Credential(t.Context(), credential.Get, proactive("acme/site.git")); err != nil ||
			answer.Anonymous() {
			t.Errorf("%v, %v", answer, err)
		}
	})
}

// What is remembered for longer than it can be was written by a clock that was wrong.
func TestOpenRepositoryIsNotBelievedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOpenWorld(t)
		shared := &store{entries: map[string][]byte{}}
		w.answerer.Store = shared
		w.GitHub.SetIPAllowList("acme", true)
		w.wantAnonymous(t, "acme/site.git")
		for key, text := range shared.entries {
			shared.entries[key] = []byte(strings.ReplaceAll(string(text), `"until":"20`, `"until":"21`))
		}
		w.GitHub.SetIPAllowList("acme", false)
		next := &gitauth.Answerer{Origin: w.answerer.Origin, App: w.answerer.App,
			Transport: w.answerer.Transport, Store: shared}
		if answer, err := next.Credential(t.Context(), credential.Get, proactive("acme/site.git")); err != nil ||
			answer.Anonymous() {
			t.Errorf("%v, %v", answer, err)
		}
	})
}

func TestMovedRepositoryIsFoundOnItsHostAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newOpenWorld(t)
		w.service.moved = map[string]string{"acme/site.git": "https://github.com/octo/portal.git"}
		site := ghapp.RepositoryName{Owner: "acme", Name: "site"}
		moved := testkit.Must(w.answerer.Moved(t.Context(), site))(t)
		testkit.Equal(t, moved.String(), "octo/portal")
		for _, to := range []string{"https://evil.example/acme/site.git", "http://github.com/acme/site.git",
			"https://github.com:444/acme/site.git"} {
			w.asked = nil
			w.service.moved["acme/site.git"] = to
			_, err := w.answerer.Moved(t.Context(), site)
			if !errors.Is(err, ghapp.ErrWrongHost) || !strings.Contains(err.Error(), to[:strings.LastIndex(to, "/acme")]) {
				t.Errorf("to %s: %v", to, err)
			}
			for _, r := range w.asked {
				testkit.Equal(t, r.URL.Scheme+"://"+r.URL.Host, "https://github.com", "asked %s", r.URL)
			}
		}
	})
}
