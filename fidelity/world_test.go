package fidelity

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ghapp-dev/ghapp/fidelity/description"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func pemOf(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// world is a stand-in on a loopback port, and all that goes over its wire. In it
// the App is installed on acme with site and docs, of acme's four repositories.
type world struct {
	*githubtest.GitHub
	flavour
	description  *description.Description
	server       *httptest.Server
	app          *githubtest.App
	installation *githubtest.Installation
	key, wrong   *rsa.PrivateKey
	code         string // of an App from a manifest

	underway  sync.WaitGroup
	mu        sync.Mutex
	exchanges []*description.Exchange
}

func newWorld(t *testing.T, f flavour) *world {
	t.Helper()
	gh := testkit.Must(githubtest.New(githubtest.Options{}))(t)
	w := &world{GitHub: gh, flavour: f, description: f.describe(t), key: testkit.Key(t), wrong: testkit.NthKey(t, 1)}
	w.server = httptest.NewServer(w)
	t.Cleanup(func() {
		w.server.Close()
		testkit.OK(t, gh.Close())
	})
	w.app = gh.AddApp(githubtest.AppOptions{Permissions: map[string]string{"contents": "write"}})
	w.app.AddKey(&w.key.PublicKey)
	for _, name := range []string{"acme/site", "acme/docs", "acme/private"} {
		gh.AddRepository(name, githubtest.RepositoryOptions{})
	}
	gh.AddRepository("acme/public", githubtest.RepositoryOptions{Public: true, Description: "for all to see"})
	w.installation = w.app.Install("acme", githubtest.InstallOptions{Repositories: []string{"site", "docs"}})
	return w
}

// base is the root of the REST API.
func (w *world) base() string { return w.server.URL + w.flavour.base }

// isREST tells the REST API from git's part of the stand-in.
func isREST(r *http.Request) bool {
	return !strings.Contains(r.URL.Path, ".git/") && !strings.Contains(r.URL.Path, "/git-upload-pack") &&
		!strings.HasSuffix(r.URL.Path, "/info/refs")
}

// ServeHTTP is the stand-in's, recorded.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if !isREST(r) {
		w.GitHub.ServeHTTP(out, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	x := &description.Exchange{Method: r.Method, URL: r.URL, RequestHeader: r.Header.Clone(), RequestBody: body}
	w.underway.Add(1)
	defer w.underway.Done() // after the client has its answer
	w.mu.Lock()
	w.exchanges = append(w.exchanges, x)
	w.mu.Unlock()
	w.GitHub.ServeHTTP(&tee{out, x}, r)
}

// tee writes an answer into an exchange as well.
type tee struct {
	http.ResponseWriter
	x *description.Exchange
}

func (t *tee) WriteHeader(status int) {
	t.x.Status, t.x.Header = status, t.Header().Clone()
	t.ResponseWriter.WriteHeader(status)
}

func (t *tee) Write(p []byte) (int, error) {
	if t.x.Status == 0 {
		t.WriteHeader(http.StatusOK)
	}
	t.x.Body = append(t.x.Body, p...)
	return t.ResponseWriter.Write(p)
}

// Unwrap lets an http.ResponseController reach the connection.
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// take returns the exchanges since the last call.
func (w *world) take() []*description.Exchange {
	w.underway.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.exchanges
	w.exchanges = nil
	return list
}

// byID is the form in which GitHub names a repository that was renamed. It is not
// in the descriptions; the answers are those of the form with owner and name.
var byID = regexp.MustCompile(`/repositories/[0-9]+`)

func described(x *description.Exchange) *description.Exchange {
	if !byID.MatchString(x.URL.Path) {
		return x
	}
	same := *x
	u := *x.URL
	u.Path = byID.ReplaceAllString(u.Path, "/repos/owner/name")
	same.URL = &u
	return &same
}

func isMoved(x *description.Exchange) bool { return x.Status == http.StatusMovedPermanently }

// checkResponse checks an answer, and that a status the description lacks is one
// of beyondDescription.
func (w *world) checkResponse(t *testing.T, x *description.Exchange) {
	t.Helper()
	x = described(x)
	err := w.description.CheckResponse(x)
	if errors.Is(err, description.ErrStatus) && isBeyond(w.description.Operation(x), x.Status) {
		err = withoutStatus(err)
	}
	testkit.OK(t, err, "%s", x.Body)
}

// withoutStatus is what is left of a joined error without ErrStatus.
func withoutStatus(err error) error {
	joined, ok := errors.Unwrap(err).(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	return errors.Join(slices.DeleteFunc(slices.Clone(joined.Unwrap()), func(err error) bool {
		return errors.Is(err, description.ErrStatus)
	})...)
}

// oddity is something in a client's request that GitHub takes and does not
// describe.
type oddity struct{ problem, reason string }

// nullBody is what go-github and ghinstallation send to mint without options.
var nullBody = oddity{"Value is not nullable", `go-github and ghinstallation mint for everything with the body "null"`}

// verify checks every exchange since the last one: what a client that nobody told
// about the stand-in asked, and what it was told. There must be some, and each of
// the oddities among them.
func (w *world) verify(t *testing.T, known ...oddity) []*description.Exchange {
	t.Helper()
	list := w.take()
	if len(list) == 0 {
		t.Fatal("nothing went over the wire")
	}
	met := map[int]bool{}
	for _, x := range list {
		if err := w.description.CheckRequest(described(x)); err != nil {
			i := slices.IndexFunc(known, func(o oddity) bool { return strings.Contains(err.Error(), o.problem) })
			if i < 0 {
				t.Errorf("%v\n%s", err, x.RequestBody)
			}
			met[i] = true
		}
		w.checkResponse(t, x)
	}
	for i, o := range known {
		if !met[i] {
			t.Errorf("no request has the problem %q any more (%s)", o.problem, o.reason)
		}
	}
	return list
}

// mints counts the requests for a token.
func mints(list []*description.Exchange) int {
	n := 0
	for _, x := range list {
		if strings.HasSuffix(x.URL.Path, "/access_tokens") {
			n++
		}
	}
	return n
}

// claims are those of a good JWT.
func (w *world) claims() jwt.MapClaims {
	now := time.Now().Unix()
	return jwt.MapClaims{"iss": w.app.ClientID, "iat": now - 60, "exp": now + 540}
}

// sign signs claims with a library of other people.
func sign(t *testing.T, key *rsa.PrivateKey, claims jwt.MapClaims) string {
	t.Helper()
	text := testkit.Must(jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key))(t)
	return text
}

// jwt is the Authorization header of the App.
func (w *world) jwt(t *testing.T) string {
	t.Helper()
	return "Bearer " + sign(t, w.key, w.claims())
}

// fill puts the numbers of a world into a path, a body or a message.
func (w *world) fill(text string) string {
	site := w.Repository("acme/site")
	if site == nil {
		site = w.Repository("acme/home")
	}
	id := strconv.FormatInt(w.installation.ID, 10)
	return strings.NewReplacer("{installation_id}", id, "{id}", id, "{site}", strconv.FormatInt(site.ID, 10),
		"{code}", w.code).Replace(text)
}

// ask sends a request, with GitHub's headers and then the given ones, follows no
// redirect, and reads the answer.
func (w *world) ask(t *testing.T, method, path, authorization, body string, header http.Header) (int, []byte) {
	t.Helper()
	request := testkit.Must(http.NewRequestWithContext(t.Context(), method, w.base()+path, strings.NewReader(body)))(t)
	request.Header.Set("User-Agent", "fidelity")
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("X-GitHub-Api-Version", w.version)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	client := *w.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer := testkit.Must(client.Do(request))(t)
	defer answer.Body.Close()
	text := testkit.Must(io.ReadAll(answer.Body))(t)
	return answer.StatusCode, text
}
