package setup

import (
	"context"
	"errors"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

const (
	origin = "https://github.example"
	code   = "0123456789abcdef0123456789abcdef01234567"
)

// plan is that of most tests.
func plan() Plan {
	return Plan{
		Origin: origin, Organization: "acme", Name: "ghapp build1", Machine: "build1", KeyPlace: "/home/ada/.config/ghapp",
		Permissions: ghapp.Permissions{"contents": "read", "metadata": "read"},
	}
}

func theApp() *App {
	return &App{Name: "ghapp build1", Slug: "ghapp-build1", Owner: "acme", Page: origin + "/apps/ghapp-build1"}
}

func theInstallation() *ghapp.InstallationInfo {
	return &ghapp.InstallationInfo{ID: 7, Account: "acme", AllRepositories: true,
		URL: origin + "/organizations/acme/settings/installations/7"}
}

// side is what is done between the pages of a test's flow.
type side struct {
	traded     chan string // codes
	registered chan error  // an answer is waited for
	installed  atomic.Bool
	asked      atomic.Int32 // for the installation
	proved     Proof
	failure    error // of Prove
}

func newSide() *side {
	return &side{traded: make(chan string, 10), registered: make(chan error, 1),
		proved: Proof{Repository: "acme/site", Refs: 3}}
}

func (s *side) steps() Steps {
	return Steps{
		Register: func(ctx context.Context, code secret.Text) (*App, error) {
			s.traded <- code.Reveal()
			select {
			case err := <-s.registered:
				return theApp(), err
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		Installation: func(context.Context) (*ghapp.InstallationInfo, error) {
			s.asked.Add(1)
			if !s.installed.Load() {
				return nil, nil
			}
			return theInstallation(), nil
		},
		Prove:   func(context.Context, *ghapp.InstallationInfo) (*Proof, error) { return &s.proved, s.failure },
		Explain: func(err error) (string, string) { return err.Error(), "do <this>\nand that" },
	}
}

// served is a flow whose pages are there.
type served struct {
	*Flow
	*side
	t       *testing.T
	address string
	end     func(context.Context) error
}

func serve(t *testing.T, app *App, edit ...func(*Flow)) *served {
	t.Helper()
	s := newSide()
	f := &served{Flow: New(plan(), s.steps(), app, nil), side: s, t: t}
	for _, e := range edit {
		e(f.Flow)
	}
	listener := testkit.Must(Listen(0))(t)
	f.address, f.end = f.Serve(listener)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nobody is waited for
		if err := f.end(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return f
}

type outcome struct {
	installation *ghapp.InstallationInfo
	proof        *Proof
	err          error
}

// run runs the flow until the test ends.
func (f *served) run(ctx context.Context) chan outcome {
	ended := make(chan outcome, 1)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	f.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		i, p, err := f.Run(ctx, func(*App) {})
		ended <- outcome{i, p, err}
	}()
	return ended
}

// browser is a browser that follows no redirect.
type browser struct {
	t      *testing.T
	client *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar := testkit.Must(cookiejar.New(nil))(t)
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request,
		[]*http.Request) error {
		return http.ErrUseLastResponse
	}}
	t.Cleanup(client.CloseIdleConnections)
	return &browser{t, client}
}

// seen is a page as it came.
type seen struct {
	status int
	header http.Header
	text   string
}

// typed are the headers of an address that was typed, and fromGitHub those of a
// redirect from there.
var (
	typed      = []string{"Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
	fromGitHub = []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
)

func (b *browser) get(address string, headers ...string) seen {
	b.t.Helper()
	return b.send(http.MethodGet, address, headers...)
}

func (b *browser) send(method, address string, headers ...string) seen {
	b.t.Helper()
	r := testkit.Must(http.NewRequestWithContext(b.t.Context(), method, address, nil))(b.t)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	answer := testkit.Must(b.client.Do(r))(b.t)
	defer answer.Body.Close()
	text := testkit.Must(io.ReadAll(answer.Body))(b.t)
	return seen{answer.StatusCode, answer.Header, string(text)}
}

var (
	actionPattern   = regexp.MustCompile(`<form method="post" action="([^"]*)">`)
	manifestPattern = regexp.MustCompile(`name="manifest" value="([^"]*)"`)
)

// form returns where the form of the first page is sent, with which state, and the
// manifest in it.
func (s seen) form(t *testing.T) (action *url.URL, state, manifest string) {
	t.Helper()
	a, m := actionPattern.FindStringSubmatch(s.text), manifestPattern.FindStringSubmatch(s.text)
	if a == nil || m == nil {
		t.Fatalf("status %d, and no form in\n%s", s.status, s.text)
	}
	action = testkit.Must(url.Parse(html.UnescapeString(a[1])))(t)
	return action, action.Query().Get("state"), html.UnescapeString(m[1])
}

// begin opens the first page and returns its state.
func (f *served) begin(b *browser) string {
	f.t.Helper()
	_, state, _ := b.get(f.address+"/", typed...).form(f.t)
	return state
}

// back is the address to which GitHub sends the browser with the code.
func (f *served) back(state string) string {
	return f.address + "/created?" + url.Values{"code": {code}, "state": {state}}.Encode()
}
