package githubtest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// action is a link of a batch answer.
func action(t *testing.T, r reply, name string) string {
	t.Helper()
	object := r.field("objects").([]any)[0].(map[string]any)
	actions, _ := object["actions"].(map[string]any)
	link, _ := actions[name].(map[string]any)
	href, _ := link["href"].(string)
	return href
}

func TestLFS(t *testing.T) {
	w := newGitWorld(t)
	lfs := func(secret, method, path, body string) reply {
		t.Helper()
		req, err := http.NewRequest(method, path, strings.NewReader(body))
		if strings.HasPrefix(path, "/") {
			req, err = http.NewRequest(method, w.server.URL+path, strings.NewReader(body))
		}
		testkit.OK(t, err)
		if secret != "" {
			req.SetBasicAuth("x-access-token", secret)
		}
		res := testkit.Must(http.DefaultClient.Do(req))(t)
		return read(t, res)
	}
	const batch, locks = "/acme/site.git/info/lfs/objects/batch", "/acme/site.git/info/lfs/locks/verify"
	pointer := w.repo.AddObject("stored")
	sum := sha256.Sum256([]byte("stored"))
	stored := hex.EncodeToString(sum[:])
	if want := "version https://git-lfs.github.com/spec/v1\noid sha256:" + stored + "\nsize 6\n"; pointer != want {
		t.Errorf("pointer %q, want %q", pointer, want)
	}
	sum = sha256.Sum256([]byte("new"))
	fresh := hex.EncodeToString(sum[:])
	ask := func(operation, oid string, size int) string {
		return fmt.Sprintf(`{"operation":%q,"transfers":["basic"],"objects":[{"oid":%q,"size":%d}]}`, operation, oid, size)
	}
	full, readOnly := w.mint(t, ""), w.mint(t, `{"permissions":{"contents":"read"}}`)

	for name, test := range map[string]struct {
		secret, path, body string
		status             int
		message            string
	}{
		"anonymous":  {"", batch, ask("download", stored, 6), 401, "Bad credentials"},
		"dead token": {"ghs_x", batch, ask("download", stored, 6), 401, "Bad credentials"},
		"another repository": {full, "/acme/nowhere.git/info/lfs/objects/batch",
			ask("download", stored, 6), 404, "Not Found"},
		"upload with read only":   {readOnly, batch, ask("upload", fresh, 3), 403, "Resource not accessible by integration"},
		"no operation":            {full, batch, "{}", 422, "Unable to parse LFS request"},
		"locks with read only":    {readOnly, locks, "{}", 403, "You must have push access to verify locks"},
		"locks":                   {full, locks, "{}", 200, ""},
		"without .git":            {full, "/acme/site/info/lfs/objects/batch", ask("download", stored, 6), 200, ""},
		"something else":          {full, "/acme/site.git/info/lfs/locks", "", 404, "Not Found"},
		"upload of what is there": {full, batch, ask("upload", stored, 6), 200, ""},
	} {
		r := lfs(test.secret, "POST", test.path, test.body)
		if r.status != test.status || r.message() != test.message {
			t.Errorf("%s: got %d %q, want %d %q", name, r.status, r.text, test.status, test.message)
		}
		if asked := r.header.Get("LFS-Authenticate") != ""; asked != (r.status == 401) {
			t.Errorf("%s: LFS-Authenticate %q with %d", name, r.header.Get("LFS-Authenticate"), r.status)
		}
		if name == "upload of what is there" && action(t, r, "upload") != "" {
			t.Error("what is there already is to be uploaded")
		}
	}

	r := lfs(readOnly, "POST", batch, ask("download", stored, 6))
	testkit.Equal(t, r.header.Get("Content-Type"), "application/vnd.git-lfs+json", "Content-Type")
	href := action(t, r, "download")
	if !strings.HasPrefix(href, w.server.URL+"/acme/site.git/info/lfs/objects/"+stored) {
		t.Errorf("the link is %s", href)
	}
	if r := lfs("", "GET", href, ""); r.status != 200 || r.text != "stored" {
		t.Errorf("download: %d %q", r.status, r.text)
	}
	testkit.Equal(t, lfs(readOnly, "GET", href, "").status, 400, "download with a token besides the signature")
	unsigned, _, _ := strings.Cut(href, "?")
	testkit.Equal(t, lfs("", "GET", unsigned, "").status, 403, "download without a signature")
	testkit.Equal(t, lfs("", "PUT", href, "stored").status, 403, "upload to a link for downloads")
	testkit.Contains(t, lfs(full, "POST", batch, ask("download", fresh, 3)).text, "Object does not exist on the server")

	r = lfs(full, "POST", batch, ask("upload", fresh, 3))
	up, verify := action(t, r, "upload"), action(t, r, "verify")
	item := fmt.Sprintf(`{"oid":%q,"size":3}`, fresh)
	testkit.Equal(t, lfs("", "POST", verify, item).status, 404, "verify before the upload")
	testkit.Equal(t, lfs("", "PUT", up, "old").status, 422, "upload of something else")
	if r := lfs("", "PUT", up, "new"); r.status != 200 {
		t.Errorf("upload: %d %s", r.status, r.text)
	}
	if r := lfs("", "POST", verify, item); r.status != 200 {
		t.Errorf("verify: %d %s", r.status, r.text)
	}
	if r := lfs("", "POST", verify, strings.Replace(item, ":3", ":4", 1)); r.status != 422 {
		t.Errorf("verify of another size: %d", r.status)
	}
	if text, ok := w.repo.Object(fresh); !ok || text != "new" {
		t.Errorf("Object: %q, %v", text, ok)
	}
	for _, request := range w.gh.Requests() {
		if strings.HasSuffix(request.Path, "objects/"+fresh) && request.Body != "" {
			t.Error("the content of an object was recorded")
		}
		if strings.HasSuffix(request.Path, "/batch") && request.Body == "" {
			t.Error("the body of a batch was not recorded")
		}
	}

	w.gh.SetClockOffset(time.Hour)
	testkit.Equal(t, lfs("", "GET", href, "").status, 403, "an hour later the link answers")
}

func TestLFSStorageOnAnotherHost(t *testing.T) {
	w := newGitWorld(t)
	store := httptest.NewServer(w.gh)
	defer store.Close()
	w.gh.SetStorageURL(store.URL)
	w.repo.AddObject("stored")
	sum := sha256.Sum256([]byte("stored"))
	body := fmt.Sprintf(`{"operation":"download","objects":[{"oid":"%x","size":6}]}`, sum)
	r := ask(t, w.gh, "POST", "/acme/site.git/info/lfs/objects/batch", "Basic "+basicAuth(w.mint(t, "")), body)
	href := action(t, r, "download")
	if !strings.HasPrefix(href, store.URL+"/") {
		t.Fatalf("the link is %s", href)
	}
	res := testkit.Must(http.Get(href))(t)
	if r := read(t, res); r.text != "stored" {
		t.Errorf("download: %d %q", r.status, r.text)
	}
}
