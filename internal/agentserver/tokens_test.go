package agentserver

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

// holding is an agent's tokens, before a GitHub in the process.
type holding struct {
	*tokens
	t      *testing.T
	github *githubtest.GitHub
	app    *ghapp.App
}

func newHolding(t *testing.T) *holding {
	t.Helper()
	one := testapp.New(t, githubtest.AppOptions{Owner: "acme"}, githubtest.InstallOptions{All: true})
	app, github := one.Open(t), one.GitHub
	h := &holding{t: t, github: github, app: app}
	h.tokens = newTokens(slog.New(slog.DiscardHandler), func(ctx context.Context, _ string,
		r ghapp.TokenRequest) (*ghapp.Token, error) {
		return app.Token(ctx, r)
	})
	h.add("acme/site")
	return h
}

func (h *holding) add(repository string) {
	h.github.AddRepository(repository, githubtest.RepositoryOptions{})
}

// use hands a token out, as an answer to git does.
func (h *holding) use(repository string) *ghapp.Token {
	h.t.Helper()
	request := ghapp.TokenRequest{Repositories: []string{repository}}
	token := testkit.Must(h.app.Token(h.t.Context(), request))(h.t)
	h.issued(h.app, request, token)
	return token
}

func TestTokenInUseIsRenewedBeforeAnyoneWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		defer h.close()
		begun := time.Now()
		h.use("acme/site")
		for time.Since(begun) < 5*time.Hour {
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			mints := h.github.Mints()
			if left := h.use("acme/site").Life(); left <= 5*time.Minute {
				t.Errorf("after %s a token is handed out with %s left", time.Since(begun), left)
			}
			synctest.Wait()
			testkit.Equal(t, h.github.Mints(), mints, "after %s it was not there, or aged", time.Since(begun))
		}
		// Every 50 to 55 minutes, since GitHub's second is cut off.
		testkit.Equal(t, h.github.Mints(), 6, "mints in five hours")
	})
}

func TestRenewalsAreSpreadOverTime(t *testing.T) {
	const many = 60
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		defer h.close()
		begun := time.Now()
		for i := range many {
			h.add(fmt.Sprint("acme/r", i))
			h.use(fmt.Sprint("acme/r", i))
		}
		time.Sleep(40 * time.Minute)
		for i := range many {
			h.use(fmt.Sprint("acme/r", i))
		}
		perMinute := map[int]int{}
		for time.Since(begun) < 58*time.Minute {
			before := h.github.Mints()
			time.Sleep(time.Minute)
			synctest.Wait()
			if renewed := h.github.Mints() - before; renewed > 0 {
				perMinute[int(time.Since(begun).Minutes())] = renewed
			}
		}
		total := 0
		for minute, renewed := range perMinute {
			if total += renewed; minute < 50 || minute > 55 || renewed > many/2 {
				t.Errorf("%d were renewed in minute %d", renewed, minute)
			}
		}
		if total != many || len(perMinute) < 4 {
			t.Errorf("%d of %d were renewed, by minutes: %v", total, many, perMinute)
		}
	})
}

func TestTokenOutOfUseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		defer h.close()
		h.use("acme/site")
		time.Sleep(59 * time.Minute)
		if held := h.list(); len(held) != 1 || held[0].Uses != 1 {
			t.Errorf("held: %+v", held)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if held := h.list(); len(held) != 0 || len(h.held) != 0 {
			t.Errorf("held: %+v", held)
		}
		// Used for a while, it ends as well.
		for range 12 {
			h.use("acme/site")
			time.Sleep(10 * time.Minute)
		}
		time.Sleep(2 * time.Hour)
		mints := h.github.Mints()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if h.github.Mints() != mints || len(h.held) != 0 {
			t.Errorf("%d mints more while nobody asked; held: %v", h.github.Mints()-mints, h.list())
		}
	})
}

func TestTokenThatOthersRenewedIsNotRenewedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		defer h.close()
		h.use("acme/site")
		time.Sleep(45 * time.Minute)
		request := ghapp.TokenRequest{Repositories: []string{"acme/site"}, MinLife: 30 * time.Minute}
		testkit.Must(h.app.Token(t.Context(), request))(t)
		fresh := h.use("acme/site")
		time.Sleep(30 * time.Minute) // past the time of the first
		synctest.Wait()
		testkit.Equal(t, h.github.Mints(), 2)
		testkit.Equal(t, h.use("acme/site").Secret.Reveal(), fresh.Secret.Reveal())
	})
}

// It was idle when it might have been renewed, and was asked for afterwards.
func TestTokenThatIsUsedAgainIsHeldOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		defer h.close()
		h.use("acme/site")
		time.Sleep(57 * time.Minute)
		h.use("acme/site") // which renews it, for the next one
		time.Sleep(time.Minute)
		h.use("acme/site")
		time.Sleep(5 * time.Minute) // past the end of the first
		synctest.Wait()
		if held := h.list(); len(held) != 1 || held[0].Uses != 3 {
			t.Errorf("held: %+v", held)
		}
	})
}

func TestRenewalWaitsForAnUnreachableGitHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		defer h.close()
		h.use("acme/site")
		time.Sleep(40 * time.Minute)
		first := h.use("acme/site")
		testkit.OK(t, h.github.Fault(githubtest.HTML502(githubtest.MintPattern)))
		time.Sleep(17 * time.Minute)
		testkit.Equal(t, len(h.list()), 1, "held")
		h.github.ClearFaults()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		testkit.Equal(t, h.github.Mints(), 2, "mints: it was")
		if token := h.use("acme/site"); token.Secret.Reveal() == first.Secret.Reveal() {
			t.Error("the old one is handed out")
		}
	})
}

// failingKey is a key whose holder may be down.
type failingKey struct {
	ghapp.Signer
	down atomic.Pointer[signer.KeyError]
}

func (k *failingKey) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if down := k.down.Load(); down != nil {
		return nil, down
	}
	return k.Signer.Sign(ctx, message)
}

// A key's holder that is down leaves the tokens that there are, and is told of once; one
// that has said no is not asked again by itself, since a wrong PIN counts.
func TestTokenServesWhileTheHolderOfTheKeyIsDown(t *testing.T) {
	for problem, again := range map[signer.Problem]bool{signer.ErrUnavailable: true,
		signer.ErrTimeout: true, signer.ErrPIN: false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHolding(t)
			defer h.close()
			key := &failingKey{Signer: signer.FromCryptoSigner(testkit.Key(t))}
			app, err := ghapp.New(ghapp.Config{Client: ghapp.Client{Transport: h.github.RoundTripper()},
				Issuer: h.app.Status().Issuer, Signer: key})
			testkit.OK(t, err)
			var log bytes.Buffer
			h.app = app
			h.tokens.log = slog.New(slog.NewTextHandler(&log, nil))
			h.tokens.renew = func(ctx context.Context, _ string, r ghapp.TokenRequest) (*ghapp.Token, error) {
				return app.Token(ctx, r)
			}
			first := h.use("acme/site")
			time.Sleep(40 * time.Minute)
			h.use("acme/site")
			down := &signer.KeyError{Problem: problem, Source: "exec:kms"}
			if problem == signer.ErrTimeout {
				down.Err = context.DeadlineExceeded
			}
			key.down.Store(down)
			time.Sleep(17 * time.Minute)
			testkit.Equal(t, h.use("acme/site").Secret.Reveal(), first.Secret.Reveal(), "there is another token")
			synctest.Wait()
			if told := strings.Count(log.String(), "it serves on while it lives"); told != 1 ||
				!strings.Contains(log.String(), "exec:kms: "+string(problem)) {
				t.Errorf("%s is told %d times:\n%s", problem, told, log.String())
			}
			key.down.Store(nil)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			testkit.Equal(t, h.github.Mints() == 2, again, "%s: renewed", problem)
		})
	}
}

func TestRefusedRenewalIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		defer h.close()
		h.use("acme/site")
		time.Sleep(40 * time.Minute)
		h.use("acme/site")
		testkit.OK(t, h.github.Script("suspend acme"))
		h.github.ResetRequests()
		time.Sleep(time.Hour)
		synctest.Wait()
		attempts := 0
		for _, r := range h.github.Requests() {
			if strings.HasSuffix(r.Path, "/access_tokens") {
				attempts++
			}
		}
		testkit.Equal(t, attempts, 1, "attempts; held: %v", h.list())
		testkit.Equal(t, len(h.held), 0, "attempts; held: %v", h.list())
	})
}

func TestErasedTokenIsHeldNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		defer h.close()
		token := h.use("acme/site")
		h.rejected(token.Secret)
		testkit.Equal(t, len(h.list()), 1, "one so young that GitHub may not know it yet is gone")
		time.Sleep(time.Minute)
		h.rejected(secret.New("ghs_another"))
		testkit.Equal(t, len(h.list()), 1, "another's end took it along")
		h.rejected(token.Secret)
		testkit.Equal(t, len(h.list()), 0, "held")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		testkit.Equal(t, h.github.Mints(), 1, "mints")
	})
}

func TestNothingIsRenewedAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(t)
		h.use("acme/site")
		time.Sleep(40 * time.Minute)
		h.use("acme/site")
		h.close()
		h.use("acme/site") // an answer that was on its way
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		testkit.Equal(t, h.github.Mints(), 1, "mints")
		time.Sleep(time.Hour)
		testkit.Equal(t, len(h.list()), 0, "one that has run out is held")
	})
}
