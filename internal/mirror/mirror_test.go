package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestWhatIsChosen(t *testing.T) {
	site := Record{Name: "Acme/Web-Site", Visibility: "private", Topics: []string{"Production"}}
	old := Record{Name: "acme/old", Visibility: "public", Archived: true, Fork: true}
	for _, test := range []struct {
		m         config.Mirror
		site, old bool
	}{
		{config.Mirror{}, true, true},
		{config.Mirror{Include: []string{"acme/web-*"}}, true, false},
		{config.Mirror{Include: []string{"WEB-*", "nothing"}}, true, false},
		{config.Mirror{Exclude: []string{"*/web-*"}}, false, true},
		{config.Mirror{Include: []string{"acme/*"}, Exclude: []string{"old"}}, true, false},
		{config.Mirror{NoArchived: true}, true, false},
		{config.Mirror{NoForks: true}, true, false},
		{config.Mirror{Visibilities: []string{"private", "internal"}}, true, false},
		{config.Mirror{Topics: []string{"production"}}, true, false},
		{config.Mirror{Include: []string{"*"}}, true, true},
	} {
		if chosen(&test.m, &site) != test.site || chosen(&test.m, &old) != test.old {
			t.Errorf("%+v: site %v, old %v", test.m, chosen(&test.m, &site), chosen(&test.m, &old))
		}
	}
}

// Each is compared once in a period, at a moment of its own.
func TestComparisonsAreSpreadOverTheTime(t *testing.T) {
	const every = 24 * time.Hour
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	hours := map[int]int{}
	for id := range int64(2400) {
		r := Record{ID: id, Path: "x", Code: Copy{ComparedAt: begin}}
		compared := 0
		for now := begin; now.Before(begin.Add(10 * every)); now = now.Add(time.Hour) {
			if !r.due(every, now) {
				continue
			}
			if since := now.Sub(r.Code.ComparedAt); since > every {
				t.Fatalf("%d was compared after %s", id, since)
			}
			if compared++; compared == 2 {
				hours[now.Hour()]++
			}
			r.Code.ComparedAt = now
		}
		if compared < 9 || compared > 11 {
			t.Fatalf("%d was compared %d times in ten periods", id, compared)
		}
	}
	for hour := range 24 {
		if n := hours[hour]; n < 50 || n > 200 {
			t.Errorf("%d of 2400 are compared at %d o'clock", n, hour)
		}
	}
}

func TestWhatGitHubSaysMakesAComparisonDue(t *testing.T) {
	now := time.Now()
	same := Record{ID: 1, Path: "x", PushedAt: now, PushedThen: now, DefaultBranch: "a",
		BranchThen: "a", Code: Copy{ComparedAt: now}}
	testkit.Equal(t, same.due(time.Hour, now), false)
	for name, change := range map[string]func(*Record){
		"a push":    func(r *Record) { r.PushedAt = now.Add(time.Second) },
		"a branch":  func(r *Record) { r.DefaultBranch = "b" },
		"no mirror": func(r *Record) { r.Path = "" }, "never compared": func(r *Record) { r.Code = Copy{} },
		"an hour": func(r *Record) { r.Code.ComparedAt = now.Add(-time.Hour) },
	} {
		r := same
		change(&r)
		testkit.Equal(t, r.due(time.Hour, now), true, "%s", name)
	}
}

func TestPausesAfterFailuresGrow(t *testing.T) {
	last := time.Duration(0)
	for tries := 1; tries < 100; tries++ {
		p := pause(tries)
		if p < last || p > longestPause {
			t.Fatalf("%d: %s after %s", tries, p, last)
		}
		last = p
	}
	testkit.Equal(t, pause(1), firstPause)
	testkit.Equal(t, last, longestPause)
}

func header(limit, remaining int, reset time.Time) http.Header {
	h := http.Header{}
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	return h
}

func TestABudgetIsLeftToOthers(t *testing.T) {
	soon := time.Now().Add(10 * time.Minute)
	for _, test := range []struct {
		leave, limit, remaining int
		reset                   time.Time
		ends                    bool
	}{
		{1000, 5000, 5000, soon, false}, {1000, 5000, 1001, soon, false}, {1000, 5000, 1000, soon, true},
		{0, 5000, 1, soon, false}, {0, 5000, 0, soon, true},
		{1000, 100, 51, soon, false}, {1000, 100, 50, soon, true}, // half of it at most
		{1000, 5000, 3, time.Now().Add(-time.Minute), false},
	} {
		b := budget{leave: test.leave}
		testkit.OK(t, b.spare())
		b.note(header(test.limit, test.remaining, test.reset))
		err := b.spare()
		limit, ok := errors.AsType[*ghapp.RateLimitError](err)
		if (err != nil) != test.ends || test.ends &&
			(!errors.Is(err, ghapp.ErrRateLimited) || !ok || limit.Until.Unix() != soon.Unix()) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestALimitHasTheOthersWait closes the gate, and a second time while it is closed.
func TestALimitHasTheOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		testkit.OK(t, g.pass(t.Context()))
		testkit.Equal(t, g.close(errors.New("something else")), false)
		limited := func(d time.Duration) error {
			return &ghapp.Error{Kind: ghapp.ErrRateLimited, Detail: &ghapp.RateLimitError{Until: time.Now().Add(d)}}
		}
		testkit.Equal(t, g.close(limited(time.Hour)), false, "an hour is no pause")
		testkit.Equal(t, g.close(limited(30*time.Second)), true)
		testkit.Equal(t, g.close(limited(10*time.Second)), true)
		began := time.Now()
		testkit.OK(t, g.pass(t.Context()))
		testkit.Equal(t, time.Since(began), 30*time.Second)
		testkit.Equal(t, g.close(&ghapp.Error{Kind: ghapp.ErrRateLimited}), true)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		testkit.ErrorIs(t, g.pass(ctx), context.Canceled)
	})
}

// minter makes tokens for repositories that are all good.
type minter struct {
	bad   map[string]bool
	mints [][]string
}

type minted struct {
	m     *minter
	names []string
	token *ghapp.Token
}

func (s *minted) Token(context.Context) (*ghapp.Token, error) {
	if s.token != nil {
		return s.token, nil
	}
	if slices.ContainsFunc(s.names, func(n string) bool { return s.m.bad[n] }) {
		return nil, &ghapp.Error{Kind: ghapp.ErrRepositoryNotSelected}
	}
	s.m.mints = append(s.m.mints, s.names)
	s.token = &ghapp.Token{Repositories: s.names}
	return s.token, nil
}

func TestTokensAreForFiveHundredAndOneBadRepositorySpoilsNone(t *testing.T) {
	m := &minter{bad: map[string]bool{}}
	var names []string
	for n := range 1200 {
		names = append(names, fmt.Sprintf("acme/r%d", n))
	}
	all := func() *tokens {
		m.mints = nil
		return newTokens(names, func(some []string) ghapp.TokenSource { return &minted{m: m, names: some} })
	}
	got := all()
	for _, name := range names {
		token := testkit.Must(got.token(t.Context(), strings.ToUpper(name)))(t)
		if len(token.Repositories) > mostPerToken || !slices.Contains(token.Repositories, name) {
			t.Fatalf("%s: a token for %d", name, len(token.Repositories))
		}
	}
	testkit.Equal(t, len(m.mints), 3)
	m.bad["acme/r7"] = true
	got = all()
	for _, name := range names {
		token, err := got.token(t.Context(), name)
		if m.bad[name] != (err != nil) || err == nil && !slices.Contains(token.Repositories, name) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if len(m.mints) > 12 { // 2 chunks and the halves of one
		t.Errorf("%d tokens were made", len(m.mints))
	}
	other := testkit.Must(got.token(t.Context(), "acme/unplanned"))(t)
	testkit.Diff(t, other.Repositories, []string{"acme/unplanned"})
}

func TestWhatIsRememberedIsReadAgain(t *testing.T) {
	s := StoreOf(t.TempDir())
	empty := testkit.Must(s.Read())(t)
	testkit.Equal(t, len(empty.Repositories), 0)
	now := time.Now().UTC().Truncate(time.Second)
	r := &Record{ID: 7, Name: "acme/site", Path: "acme/site.git", PushedAt: now, Gone: &Gone{Reason: NotFound, Since: now},
		Code: Copy{ComparedAt: now, Failure: &Failure{Message: "x", At: now}}}
	i := &Installation{ID: 3, Account: "acme", ListedAt: now}
	last := &LastPass{BeganAt: now, Seconds: 1.5, Outcome: "failed", Failed: 2,
		Failure: &Failure{Message: "y", At: now, Tries: 2}}
	testkit.OK(t, s.write("github.com", changes{
		installations: map[int64]*Installation{3: i}, repositories: map[int64]*Record{7: r, 8: {ID: 8}}, pass: last}))
	testkit.OK(t, s.write("github.com", changes{repositories: map[int64]*Record{8: nil}}))
	got := testkit.Must(s.Read())(t)
	testkit.Diff(t, got, &State{
		Host: "github.com", Installations: map[int64]*Installation{3: i}, Repositories: map[int64]*Record{7: r},
		LastPass: last,
	})

	testkit.OK(t, os.WriteFile(s.Path, []byte(strings.Repeat("x", 9000)), 0o600))
	testkit.ErrorIs(t, testkit.ErrorOf(s.Read()), ErrState)
	testkit.Must(s.setAside(now))(t)
	testkit.Must(s.Read())(t)
}

func TestAStateOfAnotherFormatIsNotRead(t *testing.T) {
	s := StoreOf(t.TempDir())
	testkit.OK(t, s.write("github.com", changes{}))
	testkit.OK(t, s.open(&bbolt.Options{}, func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put([]byte("format"), []byte("2")) })
	}))
	testkit.ErrorIs(t, testkit.ErrorOf(s.Read()), ErrState)
}

// A disk that has damaged the file makes bbolt panic, which is an error here.
func TestADamagedStateIsAnError(t *testing.T) {
	s := StoreOf(t.TempDir())
	many := map[int64]*Record{}
	for id := range int64(500) {
		many[id] = &Record{ID: id, Name: fmt.Sprintf("acme/r%d", id)}
	}
	testkit.OK(t, s.write("github.com", changes{repositories: many}))
	whole := testkit.Must(os.ReadFile(s.Path))(t)
	for at := 8192; at+4096 <= len(whole); at += 4096 {
		damaged := slices.Clone(whole)
		for i := range 4096 {
			damaged[at+i] ^= 0xa5
		}
		testkit.OK(t, os.WriteFile(s.Path, damaged, 0o600))
		if got, err := s.Read(); err == nil && len(got.Repositories) != len(many) {
			t.Errorf("the page at %d is damaged: %d repositories, and no error", at, len(got.Repositories))
		} else if err != nil && !errors.Is(err, ErrState) {
			t.Errorf("the page at %d: %v", at, err)
		}
	}
}

// A file that was cut short, as by a disk that was full, is a fault of memory where it is mapped.
func TestAStateThatWasCutShortIsAnError(t *testing.T) {
	s := StoreOf(t.TempDir())
	many := map[int64]*Record{}
	for id := range int64(500) {
		many[id] = &Record{ID: id, Name: fmt.Sprintf("acme/r%d", id)}
	}
	testkit.OK(t, s.write("github.com", changes{repositories: many}))
	whole := testkit.Must(os.ReadFile(s.Path))(t)
	for size := 0; size < len(whole); size += 2048 {
		testkit.OK(t, os.WriteFile(s.Path, whole[:size], 0o600))
		if got, err := s.Read(); err == nil && len(got.Repositories) != len(many) || err != nil && !errors.Is(err, ErrState) {
			t.Errorf("%d of %d bytes: %v", size, len(whole), err)
		}
	}
}

func BenchmarkReadAHundredThousand(b *testing.B) {
	s := StoreOf(b.TempDir())
	many := map[int64]*Record{}
	for id := range int64(100_000) {
		name := fmt.Sprintf("acme/r%d", id)
		many[id] = &Record{ID: id, NodeID: fmt.Sprintf("R_kgDO%08d", id), Name: name, Path: filepath.FromSlash(name) + ".git",
			PushedAt: time.Now(), PushedThen: time.Now(), DefaultBranch: "main", BranchThen: "main", Visibility: "private",
			Code: Copy{ComparedAt: time.Now(), ChangedAt: time.Now(), Bytes: 4000}}
	}
	testkit.OK(b, s.write("github.com", changes{repositories: many}))
	for b.Loop() {
		testkit.Must(s.Read())(b)
	}
}
