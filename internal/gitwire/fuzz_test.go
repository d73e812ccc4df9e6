package gitwire_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// real are answers of git's own server to what ask asks of it.
func real(f *testing.F, version0 bool, ask func(*gitwire.Service)) []string {
	f.Helper()
	var answers []string
	for _, format := range []string{gitwire.SHA1, gitwire.SHA256} {
		o := newOrigin(f, "--object-format="+format)
		o.git(f, "", "tag", "-a", "-m", "x", "v1", o.commit(f, "refs/heads/main", "a"))
		service := testkit.GitBackend(f, o.root)
		s, _ := serve(f, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if version0 {
				r.Header.Del("Git-Protocol")
			}
			service.ServeHTTP(w, r)
		}))
		base := s.Transport
		s.Transport = testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := base.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			text, err := io.ReadAll(answer.Body)
			answer.Body = io.NopCloser(bytes.NewReader(text))
			answers = append(answers, string(text))
			return answer, err
		})
		ask(s)
	}
	return answers
}

func isUnprintable(r rune) bool { return !unicode.IsPrint(r) }

// checkError is what must be true of every error.
func checkError(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); len(text) > 700 || strings.ContainsFunc(text, isUnprintable) {
		t.Errorf("error %q", text)
	}
}

// demultiplexed is the pack in an answer, read in the most simple way, and whether all of the
// answer is as it should be.
func demultiplexed(text string) (pack string, whole bool) {
	rest, ok := strings.CutPrefix(text, "000dpackfile\n")
	if !ok {
		if rest, ok = strings.CutPrefix(text, "000cpackfile"); !ok {
			return "", false
		}
	}
	for len(rest) >= 4 {
		length, err := strconv.ParseUint(rest[:4], 16, 16)
		switch {
		case err == nil && length == 0:
			return pack, len(rest) == 4
		case err != nil || length < 5 || length > 65520 || int(length) > len(rest):
			return pack, false
		}
		switch rest[4] {
		case 1:
			pack += rest[5:length]
		case 2:
		default:
			return pack, false
		}
		rest = rest[length:]
	}
	return pack, false
}

func FuzzFetch(f *testing.F) {
	for _, text := range real(f, false, func(s *gitwire.Service) {
		refs := testkit.Must(s.Refs(f.Context(), site))(f)
		testkit.Must(s.Fetch(f.Context(), site, gitwire.Request{Format: refs.Format, Wants: ids(refs),
			Progress: func(string) {}}, io.Discard))(f)
	}) {
		f.Add(text)
	}
	f.Add(packAnswer(band(1, "PACK"), band(2, "one\rtwo\x1b[31m"), band(1, ""), band(1, "\n")))
	f.Add(packAnswer(band(3, "no\xff")))
	f.Add(line1("shallow-info\n") + line1("shallow "+oid1) + "0001" + packAnswer(band(1, "PACK")))
	f.Fuzz(func(t *testing.T, text string) {
		for _, size := range []int{1, 1 << 20} {
			s := fetchOf(func() io.ReadCloser { return io.NopCloser(&portions{text, size}) })
			var got bytes.Buffer
			n, err := s.Fetch(t.Context(), site, gitwire.Request{Wants: []string{oid1}, Progress: func(line string) {
				if line == "" || len(line) > 500 || strings.ContainsFunc(line, isUnprintable) {
					t.Errorf("progress %q", line)
				}
			}}, &got)
			pack, whole := demultiplexed(text)
			if n != int64(got.Len()) || got.String() != pack || whole != (err == nil) {
				t.Errorf("got %q (%d), %v; want %q", &got, n, err, pack)
			}
			if err != nil {
				checkError(t, err)
			}
		}
	})
}

// portions is a text that comes so many bytes at a time.
type portions struct {
	text string
	size int
}

// Read implements [io.Reader].
func (p *portions) Read(b []byte) (int, error) {
	if p.text == "" {
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}

// checkRefs is what must be true of every list of refs.
func checkRefs(t *testing.T, refs *gitwire.Refs, err error) {
	t.Helper()
	if err != nil {
		checkError(t, err)
		return
	}
	size := map[string]int{gitwire.SHA1: 40, gitwire.SHA256: 64}[refs.Format]
	fits := func(id string) bool { return len(id) == size && gitwire.IsObjectID(id) }
	if refs.HeadID != "" && !fits(refs.HeadID) || size == 0 {
		t.Errorf("%+v", refs)
	}
	for i, r := range refs.List {
		if !fits(r.ID) || r.Peeled != "" && !fits(r.Peeled) || r.Name == "" || i > 0 && refs.List[i-1].Name >= r.Name {
			t.Errorf("%+v", refs)
		}
	}
	if !slices.IsSortedFunc(refs.List, func(a, b gitwire.Ref) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%+v", refs)
	}
}

func FuzzRefs(f *testing.F) {
	for _, version0 := range []bool{false, true} {
		for _, text := range real(f, version0, func(s *gitwire.Service) { testkit.Must(s.Refs(f.Context(), site))(f) }) {
			f.Add(text)
		}
	}
	f.Add(lines("unborn HEAD symref-target:refs/heads/main"))
	f.Add(lines(oid1+" refs/tags/v1 peeled:"+oid2, oid2+" refs/heads/a symref-target:refs/heads/b"))
	f.Add("001e# service=git-upload-pack\n00000000")
	f.Fuzz(func(t *testing.T, text string) {
		refs, err := answering(text).Refs(t.Context(), site)
		checkRefs(t, refs, err)
		// As the answer to git's first request, after which there is an empty listing.
		s := answering("")
		s.Transport = testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				return answer(200, "0000"), nil
			}
			return answer(200, text, "Content-Type", "application/x-git-upload-pack-advertisement"), nil
		})
		s.Discover(ghapp.RepositoryName{Owner: "acme", Name: "site"})
		refs, err = s.Refs(t.Context(), site)
		checkRefs(t, refs, err)
	})
}
