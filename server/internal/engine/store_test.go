package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/storetest"
)

func TestEmbeddedStoreKeepsWhatTheInterfacePromises(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) ghapp.Store { return replica(t, "", calm).Store("1") })
}

func TestRemoteStoreKeepsWhatTheInterfacePromises(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t testing.TB) ghapp.Store {
		return replica(t, startNATS(t, t.TempDir(), -1).ClientURL(), calm).Store("1")
	})
}

// TestValueThatIsNotTheEntrysOwnIsAMiss is case 25: altered, swapped between keys or generations,
// or replayed after its end.
func TestValueThatIsNotTheEntrysOwnIsAMiss(t *testing.T) {
	t.Parallel()
	e := replica(t, "")
	s, k := e.Store("1"), &e.keys[0]
	mine, other := s.name(k, keyOf("0a")), s.name(k, keyOf("f9"))
	write := func(name string, value []byte) {
		testkit.OK(t, e.put(t.Context(), &e.work, tokens+name, value, time.Minute))
	}
	good := k.seal(mine, []byte("good"), time.Now().Add(time.Minute))
	write(mine, good)
	holds(t, s, keyOf("0a"), "good")
	for i := range good {
		altered := append([]byte{}, good...)
		altered[i] ^= 1
		if _, ok := k.open(mine, altered); ok {
			t.Fatalf("with byte %d altered it opens", i)
		}
	}
	for what, put := range map[string]func(){
		"altered":          func() { write(mine, append(good[:len(good)-1:len(good)-1], good[len(good)-1]^1)) },
		"of another entry": func() { write(mine, k.seal(other, []byte("x"), time.Now().Add(time.Minute))) },
		"after its end":    func() { write(mine, k.seal(mine, []byte("x"), time.Now().Add(-time.Second))) },
		"empty":            func() { write(mine, nil) },
		"short":            func() { write(mine, good[:10]) },
		"of another key":   func() { write(mine, otherKey(t).seal(mine, []byte("x"), time.Now().Add(time.Minute))) },
		"not sealed":       func() { write(mine, []byte("x")) },
		"of a generation before": func() {
			write(mine, k.seal(e.Store("0").name(k, keyOf("0a")), []byte("x"), time.Now().Add(time.Minute)))
		},
	} {
		put()
		holds(t, s, keyOf("0a"), "")
		if t.Failed() {
			t.Fatal(what)
		}
	}
	put(t, s, keyOf("0a"), "mended")
	holds(t, s, keyOf("0a"), "mended")
}

func otherKey(t testing.TB) *sealKey {
	keys, err := newSealKeys([]secret.Text{secret.New(strings.Repeat("another", 7))})
	if err != nil {
		t.Fatal(err)
	}
	return &keys[0]
}

// TestPartsOfANameDoNotRunIntoEachOther is case 20's: "a,b" and "c" is not "a" and "b,c".
func TestPartsOfANameDoNotRunIntoEachOther(t *testing.T) {
	t.Parallel()
	k := otherKey(t)
	seen := map[string]string{}
	for _, parts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"", "abc"}, {"abc", ""}, {"a", "b", "c"}} {
		name := k.name(parts...)
		if before, ok := seen[name]; ok {
			t.Errorf("%q has the name of %s", parts, before)
		}
		seen[name] = fmt.Sprintf("%q", parts)
	}
}

func TestEntryOfAnotherGenerationIsInNoAnswer(t *testing.T) {
	t.Parallel()
	e := replica(t, "")
	put(t, e.Store("1"), keyOf("0a"), "wide")
	holds(t, e.Store("2"), keyOf("0a"), "")
	put(t, e.Store("2"), keyOf("0a"), "narrow")
	holds(t, e.Store("1"), keyOf("0a"), "wide")
	holds(t, e.Store("2"), keyOf("0a"), "narrow")
}

func TestEntryThatIsTooLargeIsThatEntrysFault(t *testing.T) {
	t.Parallel()
	e := replica(t, "", calm)
	for _, size := range []int{maxEntry + 8<<10, 2 << 20} {
		err := e.Store("1").Update(t.Context(), keyOf("0a"), func(context.Context, []byte) ([]byte, error) {
			return make([]byte, size), nil
		})
		if err == nil || e.Status().Away != nil {
			t.Errorf("%d bytes: %v, and the engine is away by %v", size, err, e.Status().Away)
		}
	}
}

func TestOldKeyOpensWhileANewOneSeals(t *testing.T) {
	t.Parallel()
	url := startNATS(t, t.TempDir(), -1).ClientURL()
	keys := func(texts ...string) func(*Options) {
		return func(o *Options) {
			o.SealKeys = nil
			for _, text := range texts {
				o.SealKeys = append(o.SealKeys, secret.New(strings.Repeat(text, 32)))
			}
		}
	}
	before, both, after := replica(t, url, keys("a", "b")), replica(t, url, keys("b", "a")), replica(t, url, keys("b"))
	put(t, before.Store("1"), keyOf("01"), "sealed with a")
	put(t, both.Store("1"), keyOf("02"), "sealed with b")
	holds(t, both.Store("1"), keyOf("01"), "sealed with a")
	holds(t, before.Store("1"), keyOf("02"), "sealed with b")
	holds(t, after.Store("1"), keyOf("01"), "")
	holds(t, after.Store("1"), keyOf("02"), "sealed with b")
}

// TestCallersOfAllReplicasShareOneMint is case 21: a thousand callers on three replicas.
func TestCallersOfAllReplicasShareOneMint(t *testing.T) {
	t.Parallel()
	repositories, names := make([]string, 10), make([]string, 10)
	for i := range repositories {
		names[i] = fmt.Sprintf("site-%d", i)
		repositories[i] = "acme/" + names[i]
	}
	world := testapp.New(t, githubtest.AppOptions{}, githubtest.InstallOptions{Repositories: names})
	url := startNATS(t, t.TempDir(), -1).ClientURL()
	var apps []*ghapp.App
	for range 3 {
		store := replica(t, url, calm).Store("1")
		apps = append(apps, world.Open(t, func(c *ghapp.Config) { c.Store = store }))
	}
	ask := func(n int, repository func(i int) string) map[string]bool {
		var mu sync.Mutex
		tokens := map[string]bool{}
		var group sync.WaitGroup
		for i := range n {
			group.Go(func() {
				token, err := apps[i%3].Token(t.Context(), ghapp.TokenRequest{Repositories: []string{repository(i)}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				tokens[token.Secret.Reveal()] = true
			})
		}
		group.Wait()
		return tokens
	}
	if got := ask(1000, func(int) string { return repositories[0] }); len(got) != 1 {
		t.Errorf("one scope: %d tokens", len(got))
	}
	if got := ask(900, func(i int) string { return repositories[1+i/3%9] }); len(got) != 9 {
		t.Errorf("nine more scopes: %d tokens", len(got))
	}
	mints := 0
	for _, request := range world.GitHub.Requests() {
		if strings.HasSuffix(request.Path, "/access_tokens") {
			mints++
		}
	}
	testkit.Equal(t, mints, 10, "mints")
}

// TestLockOfAReplicaThatWasKilledEndsByItself is the rest of case 21.
func TestLockOfAReplicaThatWasKilledEndsByItself(t *testing.T) {
	t.Parallel()
	url := startNATS(t, t.TempDir(), -1).ClientURL()
	killed, other := replica(t, url, calm), replica(t, url, calm)
	begun, end := make(chan struct{}), make(chan struct{})
	go killed.Store("1").Update(t.Context(), keyOf("0a"), func(context.Context, []byte) ([]byte, error) {
		close(begun)
		<-end
		return nil, errors.New("it is dead")
	})
	defer close(end)
	<-begun
	killed.conn.Close() // nothing of it is heard any more
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	ran := false
	err := other.Store("1").Update(ctx, keyOf("0a"), func(context.Context, []byte) ([]byte, error) {
		ran = true
		return []byte("second"), nil
	})
	if err != nil || !ran {
		t.Fatalf("%v, and the second mint has run: %v", err, ran)
	}
	holds(t, other.Store("1"), keyOf("0a"), "second")
}

// TestLockIsHeldForAsLongAsAMintTakes has an update that takes longer than a lock lives.
func TestLockIsHeldForAsLongAsAMintTakes(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	url := startNATS(t, t.TempDir(), -1).ClientURL()
	a, b := replica(t, url, calm), replica(t, url, calm)
	var inside atomic.Int32
	var first atomic.Bool
	update := func(e *Engine) {
		err := e.Store("1").Update(t.Context(), keyOf("0a"), func(context.Context, []byte) ([]byte, error) {
			if inside.Add(1) > 1 {
				t.Error("two are at it")
			}
			if first.CompareAndSwap(false, true) {
				time.Sleep(lockLife + time.Second)
			}
			inside.Add(-1)
			return []byte("x"), nil
		})
		testkit.OK(t, err)
	}
	var group sync.WaitGroup
	group.Go(func() { update(a) })
	group.Go(func() { update(b) })
	group.Wait()
}

// TestWhoReadsTheEngineFindsNoToken looks for a canary, a name and a repository in all that NATS
// keeps, and in the log.
func TestWhoReadsTheEngineFindsNoToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startNATS(t, dir, -1)
	var log strings.Builder
	e := replica(t, s.ClientURL(), func(o *Options) { o.Log = logTo(&log) })
	e.work.storage = e.kept.storage // so that all of it is in files
	const canary = "ghs_canary16C7e42F292c6912E7710c838347Ae178B4a"
	put(t, e.Store("1"), keyOf("0a"), `{"token":"`+canary+`"}`)
	use := Use{Identity: "https://issuer.example repo:acme/canary", Owner: "acme", ExpiresAt: time.Now().Add(time.Hour)}
	testkit.OK(t, e.Remember(t.Context(), secret.New(canary), use))
	_, err := e.Give(t.Context(), Target{Identity: use.Identity}, true, "canary")
	testkit.OK(t, err)
	var all strings.Builder
	for _, b := range []*bucket{&e.work, &e.kept} {
		testkit.OK(t, e.scan(t.Context(), b, ">", func(key string, found entry) {
			all.WriteString(key + " " + string(found.value) + "\n")
		}))
	}
	e.Close()
	stopNATS(s)
	o := out{canary, use}
	all.WriteString(filesOf(t, dir) + log.String() + fmt.Sprintf("%v %+v %#v", o, o, &o))
	testkit.Lacks(t, all.String(), canary, keyOf("0a"), sealText)
	testkit.Contains(t, all.String(), tokens, outs, bookKey)
}
