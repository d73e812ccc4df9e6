package inventory_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/inventory"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/signer"
)

// host is a GitHub that has nothing but repositories of one owner, as many as are wanted.
type host struct {
	mu      sync.Mutex
	list    []repository
	total   int  // that it tells; 0: as many as there are
	branch  bool // the token may know default branches
	asked   map[string]int
	refuse  func(w http.ResponseWriter, r *http.Request) bool // answers in its place
	between func(page int)                                    // is called after a page was made
}

type repository struct {
	id     int64
	name   string
	pushed time.Time
}

func (r repository) node() string { return fmt.Sprintf("R_%d", r.id) }

func (h *host) fill(n int) {
	for i := range n {
		h.list = append(h.list, repository{int64(i + 1), fmt.Sprintf("acme/r%d", i+1), time.Unix(1_700_000_000, 0).UTC()})
	}
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w.Header().Set("X-GitHub-Request-Id", "C0DE:1")
	w.Header().Set("Content-Type", "application/json")
	h.asked[r.URL.Path]++
	switch {
	case h.refuse != nil && h.refuse(w, r):
	case r.URL.Path == "/graphql":
		h.graphQL(w, r)
	case strings.HasPrefix(r.URL.Path, "/repositories/"):
		id, _ := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/repositories/"), 10, 64)
		for _, have := range h.list {
			if have.id == id {
				_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "full_name": have.name})
				return
			}
		}
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"message":"Not Found"}`)
	default:
		h.page(w, r)
	}
}

func (h *host) page(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	from := min((page-1)*100, len(h.list))
	some := h.list[from:min(from+100, len(h.list))]
	bodies := []any{}
	for _, have := range some {
		bodies = append(bodies, map[string]any{
			"id": have.id, "node_id": have.node(), "full_name": have.name, "private": true, "visibility": "private",
			"default_branch": "main", "pushed_at": have.pushed, "size": 3, "has_wiki": true, "topics": []string{},
		})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"total_count": cmp.Or(h.total, len(h.list)), "repositories": bodies})
	if h.between != nil {
		h.between(page)
	}
}

func (h *host) graphQL(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Query     string
		Variables map[string][]string
	}
	_ = json.NewDecoder(r.Body).Decode(&asked)
	byNode := map[string]repository{}
	for _, have := range h.list {
		byNode[have.node()] = have
	}
	data, errs := map[string][]any{}, []any{}
	for name, ids := range asked.Variables {
		if len(ids) > 100 {
			fmt.Fprint(w, `{"errors":[{"type":"ARGUMENT_LIMIT","message":"You may not provide more than 100 node ids"}]}`)
			return
		}
		for i, id := range ids {
			have, ok := byNode[id]
			if !ok {
				data[name] = append(data[name], nil)
				errs = append(errs, map[string]any{"type": "NOT_FOUND", "message": "x", "path": []any{name, i}})
				continue
			}
			node := map[string]any{"id": id, "databaseId": have.id, "nameWithOwner": have.name, "pushedAt": have.pushed,
				"hasWikiEnabled": true, "visibility": "PRIVATE", "diskUsage": 3}
			if strings.Contains(asked.Query, "defaultBranchRef") {
				node["defaultBranchRef"] = map[string]any{"name": "main"}
				if !h.branch {
					node["defaultBranchRef"] = nil
					errs = append(errs, map[string]any{"type": "FORBIDDEN", "message": "x",
						"path": []any{name, i, "defaultBranchRef"}})
				}
			}
			data[name] = append(data[name], node)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data, "errors": errs})
}

// source is a token that is not young any more.
type source struct{ token *ghapp.Token }

func (s source) Token(context.Context) (*ghapp.Token, error) { return s.token, nil }

func newHost(t *testing.T, n int) (*host, *inventory.Asker) {
	h := &host{asked: map[string]int{}}
	h.fill(n)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	client := ghapp.Client{Host: server.URL, APIURL: server.URL, MaxWait: -1}
	app := testkit.Must(ghapp.New(ghapp.Config{
		Client: client, Issuer: "Iv23liInventory0000", Signer: signer.FromCryptoSigner(testkit.Key(t)),
	}))(t)
	token := &ghapp.Token{
		Secret: secret.New("ghs_inventory"), API: server.URL,
		MintedAt: time.Now().Add(-time.Minute), ExpiresAt: time.Now().Add(time.Hour),
	}
	return h, &inventory.Asker{App: app, Source: source{token}, Client: client}
}

func names(l *inventory.Listing) []string {
	var list []string
	for _, r := range l.Repositories {
		list = append(list, fmt.Sprintf("%d=%s", r.ID, r.Name))
	}
	return list
}

func TestEverythingIsListedWhatIsKnownIsAskedFor(t *testing.T) {
	h, a := newHost(t, 1000)
	first := testkit.Must(a.Look(t.Context(), nil, false))(t)
	if !first.Complete || !first.Whole || len(first.Repositories) != 1000 || first.Calls != 10 {
		t.Fatalf("complete %v, whole %v, %d repositories, %d calls",
			first.Complete, first.Whole, len(first.Repositories), first.Calls)
	}
	h.list[3].pushed, h.list[3].name = time.Unix(1_800_000_000, 0).UTC(), "acme/renamed"
	h.asked = map[string]int{}
	next := testkit.Must(a.Look(t.Context(), first.Repositories, false))(t)
	if !next.Complete || next.Whole || next.Calls != 6 || h.asked["/graphql"] != 5 {
		t.Errorf("complete %v, whole %v, %d calls, %v", next.Complete, next.Whole, next.Calls, h.asked)
	}
	var changed []string
	for i, r := range next.Repositories {
		if before := first.Repositories[i]; r.ID != before.ID || r.DefaultBranch != "main" || r.Visibility != "private" {
			t.Fatalf("%+v, before %+v", r, before)
		} else if !r.PushedAt.Equal(before.PushedAt) || r.Name != before.Name {
			changed = append(changed, fmt.Sprint(r.Name, r.PushedAt.Unix()))
		}
	}
	testkit.Diff(t, changed, []string{"acme/renamed 1800000000"})
	whole := testkit.Must(a.Look(t.Context(), first.Repositories, true))(t)
	if !whole.Whole || whole.Calls != 10 {
		t.Errorf("asked for all: whole %v in %d calls", whole.Whole, whole.Calls)
	}
}

// What came, went, or is refused by GraphQL has everything listed anew.
func TestWhatIsNotAsBeforeHasAllListed(t *testing.T) {
	for name, change := range map[string]func(h *host){
		"one more":        func(h *host) { h.list = append(h.list, repository{5000, "acme/new", time.Time{}}) },
		"one less":        func(h *host) { h.list = h.list[:299] },
		"another":         func(h *host) { h.list[7] = repository{5000, "acme/new", time.Time{}} },
		"GraphQL refuses": func(h *host) { h.refuse = refuse("/graphql", 404, `{"message":"Not Found"}`) },
		"GraphQL fails":   func(h *host) { h.refuse = refuse("/graphql", 502, "") },
		"GraphQL has no data": func(h *host) {
			h.refuse = refuse("/graphql", 200, `{"data":{"n0":[]}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, a := newHost(t, 300)
			known := testkit.Must(a.Look(t.Context(), nil, false))(t).Repositories
			change(h)
			found := testkit.Must(a.Look(t.Context(), known, false))(t)
			testkit.Equal(t, found.Complete && found.Whole, true)
			var want []string
			for _, r := range h.list {
				want = append(want, fmt.Sprintf("%d=%s", r.id, r.name))
			}
			if got := names(found); len(got) != len(want) || !contains(got, want) {
				t.Errorf("%d listed, want %d", len(got), len(want))
			}
		})
	}
}

func contains(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

func refuse(path string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
		return true
	}
}

// TestACutListingIsNotComplete is what keeps a mirror from taking anything for gone.
func TestACutListingIsNotComplete(t *testing.T) {
	for name, change := range map[string]func(h *host){
		"fewer than are said to be there": func(h *host) { h.total = 301 },
		"more than are said to be there":  func(h *host) { h.total = 299 },
		"one on two pages":                func(h *host) { h.list[150] = h.list[20] },
		"a page fails": func(h *host) {
			h.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Get("page") == "2" {
					w.WriteHeader(502)
					return true
				}
				return false
			}
		},
		"it moves all the time": func(h *host) {
			h.between = func(int) { h.list = h.list[:len(h.list)-1] }
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, a := newHost(t, 300)
			change(h)
			found, err := a.Look(t.Context(), nil, false)
			if found.Complete {
				t.Errorf("%d repositories, %v: it is said to be complete", len(found.Repositories), err)
			}
		})
	}
}

// One that was added while pages were read is found by listing once more.
func TestWhatComesWhileItIsListedIsListedAgain(t *testing.T) {
	h, a := newHost(t, 300)
	h.between = func(page int) {
		h.between = nil
		h.list = append([]repository{{5000, "acme/new", time.Time{}}}, h.list...)
	}
	found := testkit.Must(a.Look(t.Context(), nil, false))(t)
	if !found.Complete || len(found.Repositories) != 301 {
		t.Errorf("complete %v with %d", found.Complete, len(found.Repositories))
	}
}

func TestNamesThatGitHubCannotHaveArePassedOver(t *testing.T) {
	h, a := newHost(t, 5)
	for i, name := range []string{"../../etc", "acme/..", "acme/site.wiki", "https://evil.example/a/b"} {
		h.list[i].name = name
	}
	found := testkit.Must(a.Look(t.Context(), nil, false))(t)
	testkit.Diff(t, names(found), []string{"5=acme/r5"})
	testkit.Equal(t, found.Complete, true)
}

func TestDefaultBranchesAreAskedForUnlessTheTokenMayNotKnowThem(t *testing.T) {
	h, a := newHost(t, 300)
	known := testkit.Must(a.Look(t.Context(), nil, false))(t).Repositories
	for _, may := range []bool{false, true} {
		h.branch = may
		found := testkit.Must(a.Look(t.Context(), known, false))(t)
		if !found.Complete || found.Whole || found.Repositories[9].DefaultBranch != "main" {
			t.Errorf("%v: complete %v, %+v", may, found.Complete, found.Repositories[9])
		}
	}
}

func TestTheBudgetOfOthersIsSpared(t *testing.T) {
	_, a := newHost(t, 1000)
	spared := &ghapp.Error{Kind: ghapp.ErrRateLimited}
	left := 2
	a.Spare = func() error {
		if left--; left < 0 {
			return spared
		}
		return nil
	}
	found, err := a.Look(t.Context(), nil, false)
	if !errors.Is(err, ghapp.ErrRateLimited) || found.Complete || found.Calls != 3 {
		t.Errorf("%v after %d calls", err, found.Calls)
	}
}

func TestOneThatIsNotListedIsAskedForByItsID(t *testing.T) {
	h, a := newHost(t, 3)
	for id, want := range map[int64]inventory.Absence{2: inventory.Present, 9: inventory.NotFound} {
		testkit.Equal(t, testkit.Must(a.Gone(t.Context(), id))(t), want)
	}
	h.refuse = refuse("/repositories/9", 451, `{"message":"Repository access blocked"}`)
	testkit.Equal(t, testkit.Must(a.Gone(t.Context(), 9))(t), inventory.Blocked)
	for _, status := range []int{401, 403, 500, 502, 429} {
		h.refuse = refuse("/repositories/9", status, `{"message":"x"}`)
		if absence, err := a.Gone(t.Context(), 9); err == nil || absence != "" {
			t.Errorf("%d: %q, %v", status, absence, err)
		}
	}
}

// TestAHundredThousandFitInTheMemory lists so many, and asks for them.
func TestAHundredThousandFitInTheMemory(t *testing.T) {
	testkit.Long(t)
	const many = 100_000
	h, a := newHost(t, many)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	found := testkit.Must(a.Look(t.Context(), nil, false))(t)
	listed := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int64(after.HeapAlloc-before.HeapAlloc) / many
	if !found.Complete || len(found.Repositories) != many || each > 600 {
		t.Errorf("complete %v, %d, %d bytes for each", found.Complete, len(found.Repositories), each)
	}
	t.Logf("listed in %s with %d calls, %d bytes for each", listed, found.Calls, each)
	_ = h
}
