package githubtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func serve(t *testing.T, s *githubtest.GitServer) string {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL + "/acme/site.git"
}

// An honest GitServer is one to git, in each version of its protocol: what is wrong in the others was asked for.
func TestGitServerIsOneToGit(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		for _, version := range []int{2, 1, githubtest.Oldest} {
			for _, spoken := range []string{"2", "1", "0"} {
				history := githubtest.History(format, 5)
				tip := history[len(history)-1].ID(format)
				s := &githubtest.GitServer{Format: format, Version: version, Pack: githubtest.Pack(format, history...),
					Progress: slices.Values([]string{"hello\n"}), Refs: slices.Values([]githubtest.GitRef{
						{Name: "HEAD", ID: tip, Target: "refs/heads/trunk"}, {Name: "refs/heads/trunk", ID: tip}})}
				dir := filepath.Join(t.TempDir(), "site")
				out := mustGit(t, ".", "-c", "protocol.version="+spoken, "clone", "--progress", serve(t, s), dir)
				testkit.Contains(t, out, "remote: hello")
				testkit.Equal(t, mustGit(t, dir, "rev-parse", "trunk"), tip, "%s, %d, %s: head", format, version, spoken)
				testkit.Equal(t, mustGit(t, dir, "rev-list", "--count", "HEAD"), "5", "commits")
				mustGit(t, dir, "fsck", "--full", "--strict")
				if wants := fmt.Sprint(s.Asked()); !strings.Contains(wants, "want "+tip) {
					t.Errorf("asked %s", wants)
				}
			}
		}
	}
}

func TestHostilePacksAreRefusedByGit(t *testing.T) {
	history := githubtest.History("sha1", 1)
	honest := githubtest.Pack("sha1", history...)
	at := func(id string) *githubtest.GitServer {
		return &githubtest.GitServer{Refs: slices.Values([]githubtest.GitRef{{Name: "refs/heads/main", ID: id}})}
	}
	for name, test := range map[string]struct {
		server *githubtest.GitServer
		says   string
	}{
		"wrong hash":    {&githubtest.GitServer{Pack: honest.Flipped(-1)}, "pack is corrupted"},
		"a flipped bit": {&githubtest.GitServer{Pack: honest.Flipped(20)}, "index-pack"},
		"ends":          {&githubtest.GitServer{Pack: honest.After(100, githubtest.ErrEnd)}, "early EOF"},
		"cut":           {&githubtest.GitServer{Pack: honest.After(100, errors.New("cut"))}, "index-pack"},
		"not in it":     {at(strings.Repeat("1", 40)), "did not send all necessary objects"},
		"fatal":         {&githubtest.GitServer{Fatal: "no more"}, "remote: no more"},
		"ERR, refs":     {&githubtest.GitServer{Errors: map[string]string{"ls-refs": "go away"}}, "go away"},
		"ERR, fetch":    {&githubtest.GitServer{Errors: map[string]string{"fetch": "go away"}}, "go away"},
		"ERR, at once":  {&githubtest.GitServer{Errors: map[string]string{"info/refs": "go away"}}, "go away"},
		"unasked": {&githubtest.GitServer{Sections: [][]string{{"packfile-uris", strings.Repeat("1", 40) + " http://x"}}},
			"expected"},
	} {
		dir := filepath.Join(t.TempDir(), "site")
		if out, err := git(t, ".", "clone", "--quiet", "--bare", serve(t, test.server), dir); err == nil ||
			!strings.Contains(out, test.says) {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}

// git itself lets a branch of a bare clone be at a blob: who wants none has to look.
func TestBranchAtABlob(t *testing.T) {
	blob := githubtest.History("sha1", 1)[0].ID("sha1")
	s := &githubtest.GitServer{Refs: slices.Values([]githubtest.GitRef{{Name: "refs/heads/main", ID: blob}})}
	dir := filepath.Join(t.TempDir(), "site")
	mustGit(t, ".", "init", "--quiet", "--bare", dir)
	// Newer gits write no branch at what is no commit, so it comes as a tag.
	mustGit(t, dir, "fetch", "--quiet", serve(t, s), "refs/heads/main:refs/tags/blob")
	testkit.Equal(t, mustGit(t, dir, "cat-file", "-t", "refs/tags/blob"), "blob", "what main is at")
}

// The bombs are packs that git takes, as long as they are small ones.
func TestBombsAreGood(t *testing.T) {
	history := githubtest.History("sha1", 1)
	for name, bomb := range map[string]func(int64) githubtest.PackSource{
		"delta": func(size int64) githubtest.PackSource { return githubtest.DeltaBomb("sha1", size, history...) },
		"zlib":  func(size int64) githubtest.PackSource { return githubtest.ZlibBomb("sha1", size, history...) },
	} {
		dir := filepath.Join(t.TempDir(), "site")
		mustGit(t, ".", "clone", "--quiet", "--bare", serve(t, &githubtest.GitServer{Pack: bomb(40 << 20)}), dir)
		var pack bytes.Buffer
		testkit.OK(t, bomb(64<<20)(t.Context(), &pack))
		if pack.Len() > 200<<10 {
			t.Errorf("%s: %d bytes for 64 MB", name, pack.Len())
		}
	}
	var pack bytes.Buffer
	testkit.OK(t, githubtest.DeltaBomb("sha1", 8<<30)(t.Context(), &pack))
	if pack.Len() > 32<<10 {
		t.Errorf("%d bytes for 8 GB", pack.Len())
	}
}

func TestPacksWithoutAnEnd(t *testing.T) {
	honest := githubtest.Pack("sha1", githubtest.History("sha1", 1)...)
	for name, test := range map[string]struct {
		pack  githubtest.PackSource
		bytes int64
	}{
		"endless": {githubtest.EndlessPack("sha1"), 8 << 20},
		"stalls":  {honest.After(100, githubtest.ErrStall), 100},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		ended := make(chan error, 1)
		pack := func(ctx context.Context, w io.Writer) error {
			err := test.pack(ctx, w)
			ended <- err
			return err
		}
		url := serve(t, &githubtest.GitServer{Pack: pack})
		req := testkit.Must(http.NewRequestWithContext(ctx, "POST", url+"/git-upload-pack",
			strings.NewReader("0012command=fetch\n0001"+"0009done\n"+"0000")))(t)
		req.Header.Set("Git-Protocol", "version=2")
		res := testkit.Must(http.DefaultClient.Do(req))(t)
		n, err := io.CopyN(io.Discard, res.Body, test.bytes)
		if err != nil {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		cancel()
		res.Body.Close()
		if err := <-ended; err == nil {
			t.Errorf("%s: it ended well", name)
		}
	}
}

// As many refs as one likes come as they are made, and in whatever words.
func TestRefsOfAHostileHost(t *testing.T) {
	const id = "1111111111111111111111111111111111111111"
	many := func(yield func(githubtest.GitRef) bool) {
		for _, name := range githubtest.HostileRefNames() {
			if !yield(githubtest.GitRef{Name: name, ID: id}) {
				return
			}
		}
		for i := range 300_000 {
			if !yield(githubtest.GitRef{Name: fmt.Sprintf("refs/heads/%d", i), ID: id}) {
				return
			}
		}
	}
	gh := newGitHub(t)
	testkit.OK(t, gh.Fault(githubtest.Fault{Match: "/acme/site/**", Handler: &githubtest.GitServer{Refs: many}}))
	server := httptest.NewServer(gh)
	defer server.Close()
	req := testkit.Must(http.NewRequestWithContext(t.Context(), "POST", server.URL+"/acme/site.git/git-upload-pack",
		strings.NewReader("0014command=ls-refs\n0000")))(t)
	req.Header.Set("Git-Protocol", "version=2")
	res := testkit.Must(http.DefaultClient.Do(req))(t)
	defer res.Body.Close()
	text := string(testkit.Must(io.ReadAll(res.Body))(t))
	if n := strings.Count(text, id+" "); n != 300_000+len(githubtest.HostileRefNames()) {
		t.Errorf("%d refs", n)
	}
	for _, name := range githubtest.HostileRefNames() {
		testkit.Contains(t, text, id+" "+name+"\n")
	}
	if !strings.HasSuffix(text, "0000") || !gh.Requests()[0].Faulted {
		t.Errorf("ends with %q", text[len(text)-20:])
	}
}
