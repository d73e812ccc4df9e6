package gitwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// clone is a bare repository that is fetched into.
type clone struct{ dir string }

func newClone(t testing.TB, format string) *clone {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone.git")
	git(t, ".", nil, "init", "--quiet", "--bare", "--initial-branch=main", "--object-format="+format, dir)
	return &clone{dir}
}

// ids are what refs are at.
func ids(refs *gitwire.Refs) []string {
	var list []string
	for _, r := range refs.List {
		list = append(list, r.ID)
	}
	return list
}

// update fetches all refs and has git check all that came, as a mirror is to. It returns how
// many bytes the pack has.
func (c *clone) update(t testing.TB, s *gitwire.Service, haves ...string) int64 {
	t.Helper()
	refs := testkit.Must(s.Refs(t.Context(), site))(t)
	read, write := testkit.Must2(os.Pipe())(t)
	index := gitCommand(t, c.dir, read, "index-pack", "--stdin", "--fix-thin", "--strict")
	var out bytes.Buffer
	index.Stdout, index.Stderr = &out, &out
	testkit.OK(t, index.Start())
	_ = read.Close()
	request := gitwire.Request{Format: refs.Format, Wants: ids(refs), Haves: haves}
	n, err := s.Fetch(t.Context(), refs.Repository, request, write)
	_ = write.Close()
	testkit.OK(t, err)
	testkit.OK(t, index.Wait(), "%s", &out)
	packRefs(t, c.dir, refs.List)
	git(t, c.dir, nil, "fsck", "--full", "--strict")
	return n
}

// packRefs has a repository have just these refs. Many of them are one file.
func packRefs(t testing.TB, dir string, list []gitwire.Ref) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# pack-refs with: sorted \n")
	for _, r := range list {
		fmt.Fprintf(&b, "%s %s\n", r.ID, r.Name)
	}
	testkit.OK(t, os.WriteFile(filepath.Join(dir, "packed-refs"), []byte(b.String()), 0o600))
}

// same compares refs and objects with those of the origin.
func (c *clone) same(t testing.TB, o *origin) {
	t.Helper()
	for _, args := range [][]string{{"for-each-ref"}, {"rev-list", "--objects", "--all", "--no-object-names"}} {
		sorted := func(dir string) string {
			list := strings.Split(git(t, dir, nil, args...), "\n")
			slices.Sort(list)
			return strings.Join(list, "\n")
		}
		testkit.Equal(t, sorted(c.dir), sorted(o.dir), "git %v", args)
	}
}

// histories are what repositories may have in them.
var histories = map[string]func(t testing.TB, o *origin){
	"one commit": func(t testing.TB, o *origin) { o.commit(t, "refs/heads/main", "a") },
	"a merge": func(t testing.TB, o *origin) {
		base := o.commit(t, "refs/heads/main", "base")
		left, right := o.commit(t, "refs/heads/left", "left", base), o.commit(t, "refs/heads/right", "right", base)
		o.commit(t, "refs/heads/main", "merge", left, right)
	},
	"an octopus": func(t testing.TB, o *origin) {
		base := o.commit(t, "refs/heads/main", "base")
		var arms []string
		for i := range 8 {
			arms = append(arms, o.commit(t, fmt.Sprint("refs/heads/arm", i), fmt.Sprint(i), base))
		}
		o.commit(t, "refs/heads/main", "octopus", arms...)
	},
	"orphan roots": func(t testing.TB, o *origin) {
		o.commit(t, "refs/heads/main", "a")
		o.commit(t, "refs/heads/pages", "b")
		o.commit(t, "refs/notes/commits", "c")
	},
	"tags of tags, and of a tree and a blob": func(t testing.TB, o *origin) {
		commit := o.commit(t, "refs/heads/main", "a")
		o.git(t, "", "tag", "light", commit)
		o.git(t, "", "tag", "-a", "-m", "x", "one", commit)
		o.git(t, "", "tag", "-a", "-m", "x", "two", "one")
		o.git(t, "", "tag", "-a", "-m", "x", "three", "two")
		o.git(t, "", "tag", "-a", "-m", "x", "tree", commit+"^{tree}")
		o.git(t, "", "update-ref", "refs/tags/blob", o.git(t, "only here", "hash-object", "-w", "--stdin"))
	},
	"deltas": func(t testing.TB, o *origin) {
		text := random(200 << 10)
		commit := o.commit(t, "refs/heads/main", text)
		for i := range 5 {
			commit = o.commit(t, "refs/heads/main", text+fmt.Sprint(i), commit)
		}
		o.git(t, "", "repack", "-a", "-d", "-q")
	},
	"replaced and grafted": func(t testing.TB, o *origin) {
		first := o.commit(t, "refs/heads/main", "a")
		o.commit(t, "refs/heads/main", "b", first)
		o.git(t, "", "replace", first, o.commit(t, "refs/heads/instead", "instead"))
	},
}

// random is text that does not get smaller by much.
func random(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('!' + r.IntN(90))
	}
	return string(b)
}

func TestAFetchBringsWhatGitWould(t *testing.T) {
	for name, history := range histories {
		for _, format := range []string{gitwire.SHA1, gitwire.SHA256} {
			t.Run(name+", "+format, func(t *testing.T) {
				o := newOrigin(t, "--object-format="+format)
				history(t, o)
				s, requests := o.service(t)
				c := newClone(t, format)
				testkit.Must(s.Refs(t.Context(), site))(t) // by which the format is known
				requests.requests.Store(0)
				first := c.update(t, s)
				testkit.Equal(t, requests.requests.Load(), 2, "requests")
				c.same(t, o)

				// And what comes later, as differences from what is here.
				haves := ids(testkit.Must(s.Refs(t.Context(), site))(t))
				o.commit(t, "refs/heads/later", random(100<<10)+"later", o.git(t, "", "rev-parse", "refs/heads/main"))
				o.git(t, "", "tag", "-a", "-m", "x", "later", "refs/heads/later")
				requests.requests.Store(0)
				later := c.update(t, s, haves...)
				testkit.Equal(t, requests.requests.Load(), 2, "requests")
				c.same(t, o)
				if name == "deltas" && later > first/2 {
					t.Errorf("%d bytes came first, and %d later: no thin pack", first, later)
				}
			})
		}
	}
}

func TestAnEmptyRepositoryTellsItsBranchToCome(t *testing.T) {
	for _, format := range []string{gitwire.SHA1, gitwire.SHA256} {
		o := newOrigin(t, "--object-format="+format)
		o.git(t, "", "symbolic-ref", "HEAD", "refs/heads/trunk")
		s, _ := o.service(t)
		refs := testkit.Must(s.Refs(t.Context(), site))(t)
		if refs.Head != "refs/heads/trunk" || refs.HeadID != "" || len(refs.List) != 0 || refs.Format != format {
			t.Errorf("%+v", refs)
		}
	}
}

func TestAFetchOfManyRefsIsOneRequest(t *testing.T) {
	testkit.Long(t)
	const many = 50_000
	o := newOrigin(t)
	var stream strings.Builder
	for i := range many {
		fmt.Fprintf(&stream, "commit refs/heads/main\nmark :%d\ncommitter A <a@example.com> 1700000000 +0000\n", i+1)
		stream.WriteString("data 1\nx\n\n")
	}
	for i := range many {
		fmt.Fprintf(&stream, "get-mark :%d\n", i+1)
	}
	var list []gitwire.Ref
	for i, id := range strings.Fields(o.git(t, stream.String(), "fast-import", "--quiet")) {
		list = append(list, gitwire.Ref{Name: fmt.Sprintf("refs/heads/b%05d", i), ID: id})
	}
	packRefs(t, o.dir, list)
	o.git(t, "", "update-ref", "-d", "refs/heads/main")
	s, requests := o.service(t)
	c := newClone(t, gitwire.SHA1)
	c.update(t, s)
	testkit.Equal(t, requests.requests.Load(), 2, "requests")
	c.same(t, o)
	refs := testkit.Must(s.Refs(t.Context(), site))(t)
	testkit.Equal(t, len(refs.List), many)
	o.commit(t, "refs/heads/later", "later", refs.List[7].ID)
	requests.requests.Store(0)
	c.update(t, s, ids(refs)...)
	testkit.Equal(t, requests.requests.Load(), 2, "requests")
	c.same(t, o)
}

func TestAFetchKeepsItsConnection(t *testing.T) {
	o := newOrigin(t)
	o.commit(t, "refs/heads/main", random(300<<10))
	s, _ := o.service(t)
	refs := testkit.Must(s.Refs(t.Context(), site))(t)
	opened, reused := 0, 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if i.Reused {
			reused++
		} else {
			opened++
		}
	}})
	for range 3 {
		testkit.Must(s.Fetch(ctx, site, gitwire.Request{Wants: ids(refs)}, io.Discard))(t)
		testkit.Must(s.Refs(ctx, site))(t)
	}
	testkit.Equal(t, opened, 0, "connections")
	testkit.Equal(t, reused, 6, "requests over a kept connection")
}

func TestProgressIsToldInPrintableLines(t *testing.T) {
	o := newOrigin(t)
	o.commit(t, "refs/heads/main", random(300<<10))
	s, _ := o.service(t)
	refs := testkit.Must(s.Refs(t.Context(), site))(t)
	var told []string
	request := gitwire.Request{Wants: ids(refs), Progress: func(line string) { told = append(told, line) }}
	testkit.Must(s.Fetch(t.Context(), site, request, io.Discard))(t)
	testkit.Contains(t, strings.Join(told, "\n"), "Counting objects: 100% (3/3)")

	told = nil
	s = answering(packAnswer(band(2, "one\rtw"), band(1, "PACK"), band(2, "o\x1b[31m\u202e\n\n"),
		band(2, strings.Repeat("x", 60000)), band(2, strings.Repeat("y", 60000)+"\nend")))
	request.Wants = []string{oid1}
	n := testkit.Must(s.Fetch(t.Context(), site, request, io.Discard))(t)
	testkit.Equal(t, n, 4)
	testkit.Equal(t, len(told), 4, "%q", told)
	testkit.Equal(t, strings.Join(told[:2], "|"), `one|two\x1b[31m\u202e`)
	testkit.Equal(t, len(told[2]), 500)
	testkit.Equal(t, told[3], "end")
}

func TestWhatIsAskedForIsSaidOnce(t *testing.T) {
	var body []byte
	s := answering("")
	s.Transport = testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
		testkit.Equal(t, r.Header.Get("Content-Encoding"), "")
		body = testkit.Must(io.ReadAll(r.Body))(t)
		return answer(200, packAnswer(band(1, "PACK"))), nil
	})
	request := gitwire.Request{Wants: []string{oid2, oid1, oid2}, Haves: []string{oid1, oid1}}
	testkit.Must(s.Fetch(t.Context(), site, request, io.Discard))(t)
	command := strings.TrimSuffix(lines("command=fetch", "agent=ghapp"), "0000")
	arguments := lines("thin-pack", "ofs-delta", "include-tag", "no-progress",
		"want "+oid1, "want "+oid2, "have "+oid1, "done")
	testkit.Equal(t, string(body), command+"0001"+arguments)
}

// A tip comes as a difference from another, and nothing of what is between them or before.
func TestATipComesWithoutItsHistory(t *testing.T) {
	for _, format := range []string{gitwire.SHA1, gitwire.SHA256} {
		o := newOrigin(t, "--object-format="+format)
		text := random(100 << 10)
		before := o.commit(t, "refs/heads/main", text)
		first := o.commit(t, "refs/heads/main", text+"1", before)
		between := o.commit(t, "refs/heads/main", text+"2", first)
		tip := o.commit(t, "refs/heads/main", text+"3", between)
		o.git(t, "", "tag", "-a", "-m", "x", "v1", tip)
		s, _ := o.service(t)
		testkit.Must(s.Refs(t.Context(), site))(t)
		c := newClone(t, format)
		var sizes []int64
		for _, request := range []gitwire.Request{
			{Format: format, Wants: []string{first}, Tip: true},
			{Format: format, Wants: []string{tip}, Tip: true, Haves: []string{first}, Shallow: []string{first}},
		} {
			shallow := strings.Join(slices.Concat(request.Wants, request.Shallow), "\n") + "\n"
			testkit.OK(t, os.WriteFile(filepath.Join(c.dir, "shallow"), []byte(shallow), 0o600))
			var pack bytes.Buffer
			sizes = append(sizes, testkit.Must(s.Fetch(t.Context(), site, request, &pack))(t))
			git(t, c.dir, &pack, "index-pack", "--stdin", "--fix-thin", "--strict")
			git(t, c.dir, nil, "update-ref", fmt.Sprintf("refs/heads/%d", len(sizes)), request.Wants[0])
		}
		git(t, c.dir, nil, "fsck", "--full", "--strict")
		testkit.Equal(t, git(t, c.dir, nil, "cat-file", "-p", tip+":file"), text+"3")
		all := git(t, c.dir, nil, "cat-file", "--batch-all-objects", "--batch-check=%(objecttype)")
		testkit.Equal(t, strings.Count(all, "commit"), 2, "commits")
		testkit.Equal(t, strings.Count(all, "tag"), 0, "tags")
		if sizes[1] > sizes[0]/10 {
			t.Errorf("%d bytes came first, and %d later: no thin pack", sizes[0], sizes[1])
		}
	}
}

func TestARequestThatIsWrongIsNotSent(t *testing.T) {
	asked := testkit.RoundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("asked")
		return nil, errors.New("no")
	})
	s := &gitwire.Service{Origin: "https://github.com", Transport: asked}
	for _, request := range []gitwire.Request{
		{}, {Wants: []string{"HEAD"}}, {Wants: []string{oid1}, Haves: []string{"x\n0000"}},
		{Wants: []string{oid1}, Shallow: []string{"x\n0000"}}, {Wants: []string{oid1}, Format: "md5"},
		{Wants: []string{oid1}, Format: gitwire.SHA256}, {Wants: []string{oid1 + oid1[:24]}},
	} {
		n, err := s.Fetch(t.Context(), site, request, io.Discard)
		if n != 0 || ghapp.KindOf(err) != ghapp.ErrInvalid {
			t.Errorf("%+v: %d, %v", request, n, err)
		}
	}
}
