package gitwire_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestRefsAreThoseOfTheRepository(t *testing.T) {
	for _, format := range []string{gitwire.SHA1, gitwire.SHA256} {
		o := newOrigin(t, "--object-format="+format)
		first := o.commit(t, "refs/heads/main", "a")
		other := o.commit(t, "refs/pull/1/head", "b", first)
		o.git(t, "", "tag", "-a", "-m", "x", "v1", first)
		o.git(t, "", "tag", "-a", "-m", "x", "v2", "v1")
		s, requests := o.service(t)
		v1, v2 := o.git(t, "", "rev-parse", "refs/tags/v1"), o.git(t, "", "rev-parse", "refs/tags/v2")
		want := &gitwire.Refs{Repository: site, Format: format, Head: "refs/heads/main", HeadID: first, List: []gitwire.Ref{
			{Name: "refs/heads/main", ID: first}, {Name: "refs/pull/1/head", ID: other},
			{Name: "refs/tags/v1", ID: v1, Peeled: first}, {Name: "refs/tags/v2", ID: v2, Peeled: first},
		}}
		want.Requests = map[string]int{gitwire.SHA1: 1, gitwire.SHA256: 3}[format]
		testkit.Diff(t, testkit.Must(s.Refs(t.Context(), site))(t), want)
		testkit.Equal(t, int(requests.requests.Load()), want.Requests)

		want.Requests, want.List = 1, want.List[2:]
		testkit.Diff(t, testkit.Must(s.Refs(t.Context(), site, "refs/tags/"))(t), want)

		o.git(t, "", "update-ref", "--no-deref", "HEAD", other)
		refs := testkit.Must(s.Refs(t.Context(), site, "refs/heads/"))(t)
		if refs.Head != "" || refs.HeadID != other || len(refs.List) != 1 {
			t.Errorf("on no branch: %+v", refs)
		}
	}
}

// A server before git 2.31 has no word for a HEAD that stands for no branch yet.
func TestAServerThatDoesNotTellOfAnUnbornHEADIsAskedWithout(t *testing.T) {
	o := newOrigin(t)
	o.git(t, "", "config", "lsrefs.unborn", "ignore")
	service := testkit.GitBackend(t, o.root)
	s, requests := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := testkit.Must(io.ReadAll(r.Body))(t)
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if strings.Contains(string(body), "unborn") {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			_, _ = io.WriteString(w, line1("ERR unexpected line: 'unborn'"))
			return
		}
		service.ServeHTTP(w, r)
	}))
	for _, want := range []int64{3, 1} {
		requests.requests.Store(0)
		refs := testkit.Must(s.Refs(t.Context(), site))(t)
		testkit.Equal(t, refs.Head, "")
		testkit.Equal(t, requests.requests.Load(), want, "requests")
	}
}

func TestRefsAreSortedAndFiltered(t *testing.T) {
	s := answering(lines(oid2+" refs/tags/b", oid1+" refs/heads/a", oid1+" refs/heads/A",
		oid1+" HEAD symref-target:refs/heads/a"))
	refs := testkit.Must(s.Refs(t.Context(), site, "refs/heads/"))(t)
	testkit.Diff(t, refs.List, []gitwire.Ref{{Name: "refs/heads/A", ID: oid1}, {Name: "refs/heads/a", ID: oid1}})
	testkit.Equal(t, refs.Head, "refs/heads/a")
}

func TestRefsThatCannotBeAreNotTaken(t *testing.T) {
	for name, text := range map[string]string{
		"one twice":                lines(oid1+" refs/heads/b", oid1+" refs/heads/a", oid2+" refs/heads/b"),
		"two formats":              lines(oid1+" refs/heads/a", oid1+oid1[:24]+" refs/heads/b"),
		"peeled to another format": lines(oid1 + " refs/tags/a peeled:" + oid1 + oid1[:24]),
		"unborn, and not HEAD":     lines("unborn refs/heads/a"),
		"no ID":                    lines("x refs/heads/a"),
		"more after the end":       lines(oid1+" refs/heads/a") + lines(oid1+" refs/heads/b"),
	} {
		refs, err := answering(text).Refs(t.Context(), site)
		if !errors.Is(err, gitwire.ErrUnsupported) || refs != nil {
			t.Errorf("%s: %+v, %v", name, refs, err)
		}
	}
}

func TestTenMillionRefsAreTooMany(t *testing.T) {
	testkit.Long(t)
	asked := 0
	s := fetchOf(func() io.ReadCloser {
		asked++
		return io.NopCloser(&manyRefs{left: 10_000_000})
	})
	used := allocated(func() {
		refs, err := s.Refs(t.Context(), site)
		e := testkit.ErrorAs[*gitwire.TooLargeError](t, err)
		testkit.Equal(t, e.What, "refs")
		testkit.Equal(t, refs == nil, true)
	})
	testkit.Equal(t, asked, 1, "requests")
	if used > 1<<30 {
		t.Errorf("%d bytes of memory", used)
	}
	// Long names are many bytes before they are many refs.
	long := "refs/heads/" + strings.Repeat("x", 60_000)
	s = fetchOf(func() io.ReadCloser { return endless("", line1(oid1+" "+long+"\n"), 1<<60) })
	_, err := s.Refs(t.Context(), site, "refs/tags/")
	testkit.Equal(t, testkit.ErrorAs[*gitwire.TooLargeError](t, err).What, "bytes of refs")
}

// manyRefs is a listing of many refs.
type manyRefs struct {
	left int
	rest []byte
}

// Read implements [io.Reader].
func (m *manyRefs) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		m.left--
		m.rest = []byte(line1(fmt.Sprintf("%s refs/heads/%09d\n", oid1, 10_000_000-m.left)))
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}
