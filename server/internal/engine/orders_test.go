package engine

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

func use(identity, repository string) Use {
	owner, _, _ := strings.Cut(repository, "/")
	return Use{
		Identity: "https://issuer.example " + identity, Rule: "site", Owner: owner, Repositories: []string{repository},
		Installation: 7, ExpiresAt: time.Now().Add(time.Hour),
	}
}

// held waits until a replica holds the door shut for a use, or no more.
func held(t *testing.T, e *Engine, u Use, want bool) {
	t.Helper()
	until(t, "the door is as it was ordered", func() bool { return (e.Held(u) != nil) == want })
}

func TestOrderHoldsOnAllReplicasUntilItIsTakenBack(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 3)
	mine, other := use("a", "acme/site"), use("b", "acme/other")
	o, err := all[0].Give(t.Context(), Target{Identity: mine.Identity}, false, "stolen laptop")
	testkit.OK(t, err)
	for _, e := range all {
		held(t, e, mine, true)
		testkit.OK(t, e.Held(other))
	}
	later := replica(t, all[0].options.URL, calm) // one that starts afterwards
	held(t, later, mine, true)
	testkit.Equal(t, later.Orders()[0].Reason, "stolen laptop")
	testkit.ErrorIs(t, all[1].TakeBack(t.Context(), "no such"), ErrNoOrder)
	testkit.OK(t, all[1].TakeBack(t.Context(), o.ID))
	for _, e := range append(all, later) {
		held(t, e, mine, false)
	}
}

func TestOrdersOfManyAtOnceAllHold(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 3)
	var group sync.WaitGroup
	for i := range 9 {
		group.Go(func() {
			_, err := all[i%3].Give(t.Context(), Target{Rule: strings.Repeat("x", i+1)}, false, "")
			testkit.OK(t, err)
		})
	}
	group.Wait()
	for _, e := range all {
		until(t, "all orders hold", func() bool { return len(e.Orders()) == 9 })
	}
}

func TestOrderIsForItsTarget(t *testing.T) {
	t.Parallel()
	u := use("a", "acme/site")
	all := u
	all.Repositories, all.All = nil, true
	for _, test := range []struct {
		target    Target
		one, some bool
	}{
		{Target{Identity: u.Identity}, true, true},
		{Target{Identity: "https://issuer.example b"}, false, false},
		{Target{Repository: "Acme/SITE"}, true, true},
		{Target{Repository: "acme/other"}, false, true}, // all of acme's is other, too
		{Target{Repository: "other/site"}, false, false},
		{Target{Installation: 7}, true, true},
		{Target{Installation: 8}, false, false},
		{Target{Rule: "site"}, true, true},
		{Target{Rule: "other"}, false, false},
		{Target{All: true}, true, true},
		{Target{}, false, false},
	} {
		testkit.Equal(t, test.target.covers(u), test.one, test.target)
		testkit.Equal(t, test.target.covers(all), test.some, test.target, "of all")
	}
	for _, wrong := range []Target{{}, {All: true, Rule: "x"}, {Identity: "a", Repository: "b"}} {
		testkit.Fails(t, wrong.Check())
	}
}

// ended counts the tokens that replicas end.
type ended struct {
	mu     sync.Mutex
	tokens map[string]int
	fail   int
}

func (n *ended) end(_ context.Context, token secret.Text, _ Use) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail > 0 {
		n.fail--
		return errors.New("GitHub is away")
	}
	n.tokens[token.Reveal()]++
	return nil
}

func (n *ended) are() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.tokens)
}

func TestRevocationEndsEachTokenThatIsOutOnce(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 3)
	n := &ended{tokens: map[string]int{}}
	for i, e := range all {
		e.OnRevoke(n.end)
		name := string(rune('a' + i))
		testkit.OK(t, e.Remember(t.Context(), secret.New("token of "+name), use(name, "acme/site")))
		testkit.OK(t, e.Remember(t.Context(), secret.New("token of "+name), use(name, "acme/site")), "once more")
		testkit.OK(t, e.Remember(t.Context(), secret.New("other of "+name), use(name, "acme/other")))
	}
	before := all[1].Generation("policy")
	_, err := all[0].Give(t.Context(), Target{Repository: "acme/site"}, true, "")
	testkit.OK(t, err)
	until(t, "three are ended", func() bool { return n.are() == 3 })
	for token, times := range n.tokens {
		if times != 1 || !strings.HasPrefix(token, "token of ") {
			t.Errorf("%q was ended %d times", token, times)
		}
	}
	for _, e := range all {
		until(t, "nothing of before is handed out", func() bool { return e.Generation("policy") != before })
	}
	testkit.Equal(t, all[0].Generation("policy"), all[2].Generation("policy"))
}

// TestOrderOutlastsTheEngine is for a wipe, and a restart of all: NATS's, and ours.
func TestOrderOutlastsTheEngine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startNATS(t, dir, -1)
	port := portOf(server)
	e := replica(t, server.ClientURL())
	u := use("a", "acme/site")
	_, err := e.Give(t.Context(), Target{All: true}, true, "")
	testkit.OK(t, err)

	testkit.OK(t, e.js.DeleteStream(t.Context(), "KV_"+e.kept.name)) // wiped
	testkit.Fails(t, e.Held(u))
	other := replica(t, server.ClientURL())
	held(t, other, u, true) // since the first has written it back

	e.Close()
	other.Close()
	stopNATS(server)
	after := startNATS(t, dir, port)
	held(t, replica(t, after.ClientURL()), u, true)
}

func TestOrderThatIsGivenWhileTheEngineIsAwayHoldsHereAndIsToldLater(t *testing.T) {
	t.Parallel()
	server := startNATS(t, t.TempDir(), -1)
	way := newLink(t, server.Addr().String())
	here, there := replica(t, way.url()), replica(t, server.ClientURL())
	u := use("a", "acme/site")
	way.hold()
	_, err := here.Give(t.Context(), Target{Rule: u.Rule}, true, "")
	testkit.ErrorAs[*AwayError](t, err)
	testkit.Fails(t, here.Held(u))
	_, err = there.Give(t.Context(), Target{Repository: "acme/other"}, false, "")
	testkit.OK(t, err)
	way.pass()
	way.cut()
	held(t, there, u, true)
	until(t, "both know both", func() bool { return len(here.Orders()) == 2 && len(there.Orders()) == 2 })
}

func TestTokenThatCouldNotBeRevokedIsTriedAgain(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	e := replica(t, "")
	n := &ended{tokens: map[string]int{}, fail: 1}
	e.OnRevoke(n.end)
	testkit.OK(t, e.Remember(t.Context(), secret.New("token"), use("a", "acme/site")))
	_, err := e.Give(t.Context(), Target{All: true}, true, "")
	testkit.OK(t, err)
	until(t, "it is ended", func() bool { return n.are() == 1 })
}

func TestOrderThatComesWhileATokenIsMintedStopsIt(t *testing.T) {
	t.Parallel()
	e := replica(t, "", calm)
	who := caller.Caller{Issuer: "https://issuer.example", Subject: "a"}
	grant := policy.Grant{Rule: "site", Owner: "acme", Repositories: []policy.Repository{{Name: "acme/site"}}}
	token := &ghapp.Token{Secret: secret.New("token"), ExpiresAt: time.Now().Add(time.Hour), Installation: 7}
	testkit.Equal(t, e.Forbid(t.Context(), who, grant), "")
	testkit.OK(t, e.HandedOut(t.Context(), who, grant, token))
	_, err := e.Give(t.Context(), Target{Installation: 7}, false, "") // which is not known before there is a token
	testkit.OK(t, err)
	testkit.Equal(t, e.Forbid(t.Context(), who, grant), "")
	testkit.ErrorAs[*HeldError](t, e.HandedOut(t.Context(), who, grant, token))
	o, err := e.Give(t.Context(), Target{Repository: "acme/site"}, false, "")
	testkit.OK(t, err)
	testkit.Contains(t, e.Forbid(t.Context(), who, grant), o.ID)
}
