package engine

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// mintsOf is how many of so many updates of different keys run their function: all of them are to.
func mintsOf(t *testing.T, e *Engine, n int) int {
	t.Helper()
	var ran atomic.Int32
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			_ = e.Store("1").Update(t.Context(), keyOf(strconv.Itoa(10+i)), func(context.Context, []byte) ([]byte, error) {
				ran.Add(1)
				return []byte("x"), nil
			})
		})
	}
	group.Wait()
	return int(ran.Load())
}

// TestEngineThatIsGoneSlowOrWipedStopsNobody is case 44.
func TestEngineThatIsGoneSlowOrWipedStopsNobody(t *testing.T) {
	t.Parallel()
	server := startNATS(t, t.TempDir(), -1)
	way := newLink(t, server.Addr().String())
	e := replica(t, way.url())
	back := func() {
		until(t, "the engine is back", func() bool { return e.away.Load() == nil && e.Ready(t.Context()) == nil })
		put(t, e.Store("1"), keyOf("0a"), "shared")
		holds(t, e.Store("1"), keyOf("0a"), "shared")
	}
	back()

	way.hold() // slow without end
	testkit.Equal(t, mintsOf(t, e, 20), 20, "while the engine is silent")
	testkit.ErrorAs[*AwayError](t, e.Ready(t.Context()))
	testkit.ErrorAs[*AwayError](t, e.Status().Away)
	way.pass()
	back()

	way.cut()
	testkit.Equal(t, mintsOf(t, e, 20), 20, "while connections end")
	back()

	for _, b := range []*bucket{&e.work, &e.kept} { // wiped
		testkit.OK(t, e.js.DeleteStream(t.Context(), "KV_"+b.name))
	}
	testkit.Equal(t, mintsOf(t, e, 20), 20, "when all is lost")
	back()

	way.Close()
	way.cut() // gone
	until(t, "it is seen to be gone", func() bool { return e.away.Load() != nil })
	testkit.Equal(t, mintsOf(t, e, 20), 20, "when the engine is gone")
	if _, err := e.Store("1").Get(t.Context(), keyOf("0a")); err == nil {
		t.Error("nothing says that the engine is gone")
	}
}

func TestEngineThatComesLateIsTakenWhenItComes(t *testing.T) {
	t.Parallel()
	first := startNATS(t, t.TempDir(), -1)
	port := portOf(first)
	stopNATS(first)
	e := replica(t, "nats://127.0.0.1:"+strconv.Itoa(port))
	testkit.Equal(t, mintsOf(t, e, 3), 3, "before it is there")
	startNATS(t, t.TempDir(), port)
	until(t, "it is taken", func() bool { return e.Ready(t.Context()) == nil })
	put(t, e.Store("1"), keyOf("0a"), "shared")
}

func TestEmbeddedEngineStartsAnewWithNothing(t *testing.T) {
	t.Parallel()
	for range 3 {
		e := replica(t, "")
		testkit.OK(t, e.Ready(t.Context()))
		holds(t, e.Store("1"), keyOf("0a"), "")
		put(t, e.Store("1"), keyOf("0a"), "x")
		dir := e.embedded.dir
		if e.embedded.server.Addr() != nil {
			t.Errorf("a port is open: %s", e.embedded.server.Addr())
		}
		e.Close()
		if _, err := http.Dir(dir).Open("/"); err == nil {
			t.Errorf("%s stays behind", dir)
		}
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	t.Parallel()
	keys := []secret.Text{secret.New(sealText)}
	for _, o := range []Options{
		{URL: "nats://user:canary@127.0.0.1:4222", SealKeys: keys}, {URL: "nats://nats.example:4222", SealKeys: keys},
		{URL: "http://127.0.0.1:4222", SealKeys: keys}, {URL: "nats://127.0.0.1:4222"},
		{URL: "nats://127.0.0.1:4222", SealKeys: []secret.Text{secret.New("short")}}, {URL: ":", SealKeys: keys},
	} {
		_, err := Open(t.Context(), o)
		testkit.ErrorAs[*fault.SettingError](t, err)
		testkit.Lacks(t, err.Error(), "canary")
	}
}

// day is a limit whose window does not end in a test, or once in a day.
func day(name string, most int) limit {
	return limit{name: name, most: most, window: 365 * 24 * time.Hour}
}

// takeAll takes of a limit until nothing is left, on all replicas at once.
func takeAll(t *testing.T, l limit, replicas ...*Engine) int {
	t.Helper()
	var taken atomic.Int32
	var group sync.WaitGroup
	for _, e := range replicas {
		for range 4 {
			group.Go(func() {
				for {
					after, ok := e.take(t.Context(), l)
					if after == crowded {
						continue
					}
					if !ok {
						if after <= 0 {
							t.Error("nothing says when there is room again")
						}
						return
					}
					taken.Add(1)
				}
			})
		}
	}
	group.Wait()
	return int(taken.Load())
}

// TestLimitIsOneForAllReplicas is for mints, and for case 30: callers.
func TestLimitIsOneForAllReplicas(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 3)
	if got := takeAll(t, day("x", 90), all...); got > 90 || got < 85 {
		t.Errorf("%d are taken of 90", got)
	}
	if got := takeAll(t, day("y", 90), all[0]); got < 85 || got > 90 {
		t.Errorf("who asks alone gets %d of 90", got)
	}
}

func TestReplicaAloneKeepsToItsShare(t *testing.T) {
	t.Parallel()
	server := startNATS(t, t.TempDir(), -1)
	all := replicasOf(t, server.ClientURL(), 3)
	for range 10 {
		if _, ok := all[0].take(t.Context(), day("begun", 90)); !ok {
			t.Fatal("nothing is left at the beginning")
		}
	}
	stopNATS(server)
	for _, e := range all {
		until(t, "the engine is away", func() bool { return e.away.Load() != nil })
	}
	testkit.Equal(t, takeAll(t, day("x", 90), all...), 90, "of all three")
	testkit.Equal(t, takeAll(t, day("y", 90), all[1]), 30, "of one")
	// What it had leased is its own, and counts.
	if got := takeAll(t, day("begun", 90), all[0]); got+10 > 30 {
		t.Errorf("10 and %d are taken, of a share of 30", got)
	}
}

func TestSplitOffReplicasHaveTheirShareKept(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	server := startNATS(t, t.TempDir(), -1)
	all := replicasOf(t, server.ClientURL(), 2)
	way := newLink(t, server.Addr().String())
	split := replica(t, way.url())
	for _, e := range append(all, split) {
		until(t, "all are known", func() bool { return e.beat(t.Context()) == nil && e.others.present() == 3 })
	}
	way.Close()
	way.cut()
	until(t, "it is split off", func() bool { return split.away.Load() != nil })
	until(t, "it is missed", func() bool { return all[0].others.present() == 2 && all[1].others.present() == 2 })
	got := takeAll(t, day("x", 90), append(all, split)...)
	if got > 90 {
		t.Errorf("%d are taken of 90, on both sides", got)
	}
	if others := takeAll(t, day("y", 90), all...); others > 60 || others < 50 {
		t.Errorf("%d are taken of the 60 that are for the others", others)
	}
}

// github answers every request for a token, and others with these headers.
func github(sent *atomic.Int32, h http.Header) http.RoundTripper {
	return testkit.RoundTrip(func(req *http.Request) (*http.Response, error) {
		answer := &http.Response{StatusCode: http.StatusOK, Header: h, Body: http.NoBody}
		if req.Method == http.MethodPost {
			sent.Add(1)
			answer.StatusCode = http.StatusCreated
			answer.Body = io.NopCloser(strings.NewReader(`{"token":"ghs_of7"}`))
		}
		return answer, nil
	})
}

// send sends a request by a credential, and returns what came.
func send(ctx context.Context, t *testing.T, by http.RoundTripper, method, path, credential string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "https://api.github.com"+path, nil)
	testkit.OK(t, err)
	req.Header.Set("Authorization", "Bearer "+credential)
	answer, err := by.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

const mintPath = "/app/installations/7/access_tokens"

// jwtOf is a token such as an App signs, of which only the issuer counts here.
func jwtOf(app string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+app+`"}`)) + ".sig"
}

// TestMintsQueueAndDoNotFail is case 32.
func TestMintsQueueAndDoNotFail(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	e := replica(t, "")
	var sent atomic.Int32
	by := e.Transport(github(&sent, nil))
	var group sync.WaitGroup
	for range mints + 5 { // the last wait for the next window
		group.Go(func() {
			body, err := send(t.Context(), t, by, http.MethodPost, mintPath, jwtOf("Iv1.a"))
			if err != nil || body != `{"token":"ghs_of7"}` {
				t.Errorf("%v; %q", err, body)
			}
		})
	}
	group.Wait()
	testkit.Equal(t, sent.Load(), mints+5)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var err error
	for range 2*mints + 1 { // a window may end meanwhile
		if _, err = send(ctx, t, by, http.MethodPost, mintPath, jwtOf("Iv1.a")); err != nil {
			break
		}
	}
	busy, ok := errors.AsType[*BusyError](err)
	if !ok && !errors.Is(err, context.DeadlineExceeded) || ok && busy.After <= 0 {
		t.Errorf("who cannot wait gets %v", err)
	}
	_, err = send(t.Context(), t, by, http.MethodPost, mintPath, jwtOf("Iv1.b"))
	testkit.OK(t, err, "of another App")
}

// TestOnlyAnswersToTokensFeedABudget is case 43: the headers of an answer to the App's own JWT feed
// nothing.
func TestOnlyAnswersToTokensFeedABudget(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 2)
	reset := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	headers := func(remaining int) http.Header {
		return http.Header{
			"X-Ratelimit-Limit": {"5000"}, "X-Ratelimit-Remaining": {strconv.Itoa(remaining)},
			"X-Ratelimit-Reset": {strconv.FormatInt(reset.Unix(), 10)}, "X-Ratelimit-Resource": {"core"},
		}
	}
	const app = "api.github.com/Iv1.a"
	var sent atomic.Int32
	by := all[0].Transport(github(&sent, headers(100)))
	_, err := send(t.Context(), t, by, http.MethodPost, mintPath, jwtOf("Iv1.a"))
	testkit.OK(t, err)
	_, err = send(t.Context(), t, by, http.MethodGet, "/app", jwtOf("Iv1.a"))
	testkit.OK(t, err)
	if b, ok := all[0].Budget(t.Context(), app, 7); ok {
		t.Errorf("the App's own budget is taken for the installation's: %v", b)
	}
	_, err = send(t.Context(), t, by, http.MethodGet, "/repos/acme/site", "ghs_of7")
	testkit.OK(t, err)
	b, ok := all[1].Budget(t.Context(), app, 7)
	if !ok || b.Remaining != 100 || b.Limit != 5000 || !b.Reset.Equal(reset) {
		t.Errorf("%v %+v", ok, b)
	}
	testkit.OK(t, all[1].observe(t.Context(), app, 7, headers(4000)), "an answer that was overtaken")
	b, _ = all[0].Budget(t.Context(), app, 7)
	testkit.Equal(t, b.Remaining, 100)

	testkit.OK(t, all[1].observe(t.Context(), app, 7, headers(0)))
	_, err = send(t.Context(), t, by, http.MethodGet, "/repos/acme/site", "ghs_of7")
	busy := testkit.ErrorAs[*BusyError](t, err)
	if busy.After <= 0 || busy.After > time.Hour {
		t.Errorf("there is room in %s", busy.After)
	}
	for _, odd := range []http.Header{{}, {"X-Ratelimit-Limit": {"-1"}}, {
		"X-Ratelimit-Limit": {"1"}, "X-Ratelimit-Remaining": {"9"}, "X-Ratelimit-Reset": {"99999999999"},
	}} {
		testkit.OK(t, all[0].observe(t.Context(), app, 8, odd))
	}
	if _, ok := all[0].Budget(t.Context(), app, 8); ok {
		t.Error("an odd answer is believed")
	}
}

// TestProofServesOnceOnAllReplicas has thirty come at once with one ID.
func TestProofServesOnceOnAllReplicas(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 3)
	proof := caller.Caller{Issuer: "https://issuer.example", ID: "id", Expires: time.Now().Add(time.Minute)}
	var first atomic.Int32
	var group sync.WaitGroup
	for i := range 30 {
		group.Go(func() {
			ok, err := all[i%3].First(t.Context(), proof)
			testkit.OK(t, err)
			if ok {
				first.Add(1)
			}
		})
	}
	group.Wait()
	testkit.Equal(t, first.Load(), 1)
	proof.Issuer = "https://other.example"
	ok, err := all[0].First(t.Context(), proof)
	if !ok || err != nil {
		t.Errorf("another issuer's: %v, %v", ok, err)
	}
	if ok, err := all[0].First(t.Context(), caller.Caller{Issuer: proof.Issuer}); ok || err == nil {
		t.Errorf("without an ID: %v, %v", ok, err)
	}
	all[0].conn.Close()
	proof.ID = "new"
	if ok, err := all[0].First(t.Context(), proof); ok || err == nil {
		t.Errorf("without the engine it is known to be the first: %v, %v", ok, err)
	}
}

// TestFloodOfOneCallerIsStoppedOnAllReplicas is case 30.
func TestFloodOfOneCallerIsStoppedOnAllReplicas(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 2)
	flood, other := caller.Caller{Issuer: "i", Subject: "a"}, caller.Caller{Issuer: "i", Subject: "b"}
	served := 0
	for n := range 200 {
		if wait := (Callers{all[n%2], 20}).Spend(t.Context(), flood, policy.Grant{}); wait == 0 {
			served++
		} else if wait > time.Minute {
			t.Errorf("it is to wait for %s", wait)
		}
	}
	if served < 20-portions || served > 40 { // a minute may end meanwhile
		t.Errorf("%d of 200 are served, and 20 in a minute are the limit", served)
	}
	testkit.Equal(t, (Callers{all[0], 20}).Spend(t.Context(), other, policy.Grant{}), 0, "another caller waits")
}

func TestReplicasThatHaveOtherPoliciesAreSeen(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, startNATS(t, t.TempDir(), -1).ClientURL(), 2)
	testkit.OK(t, all[0].Announce(t.Context(), "old"))
	testkit.OK(t, all[1].Announce(t.Context(), "new"))
	testkit.OK(t, all[0].beat(t.Context()))
	s := all[0].Status()
	if s.Replicas != 2 || s.Known != 2 || len(s.Generations) != 2 {
		t.Errorf("%+v", s)
	}
}
