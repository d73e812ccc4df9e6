package fidelity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// octokit is a run of octokit.mjs, which says what is what.
type octokit struct {
	BaseURL          string            `json:"baseUrl"`
	Headers          map[string]string `json:"headers"`
	Auth             map[string]any    `json:"auth"`
	Token            string            `json:"token,omitempty"` // in place of the App
	Steps            []step            `json:"steps"`
	JWTFromTheFuture bool              `json:"jwtFromTheFuture,omitempty"`
}

// step is one call of Octokit's.
type step struct {
	Auth    map[string]any `json:"auth,omitempty"`
	Request []any          `json:"request,omitempty"`
}

func request(route string, parameters map[string]any) step {
	if parameters == nil {
		parameters = map[string]any{}
	}
	return step{Request: []any{route, parameters}}
}

// installationAuth asks for a token of acme's installation, unless parameters say
// otherwise.
func installationAuth(parameters map[string]any) step {
	if parameters == nil {
		parameters = map[string]any{}
	}
	parameters["type"] = "installation"
	return step{Auth: parameters}
}

// outcome is what came of a step.
type outcome struct {
	Value struct {
		// Of a request.
		Status int
		URL    string
		Data   json.RawMessage
		// Of an authentication.
		Type, Token, ExpiresAt, RepositorySelection string
		InstallationID                              int64
		RepositoryNames                             []string
		RepositoryIDs                               []int64
		Permissions                                 map[string]string
	}
	Error *struct {
		Name    string
		Status  int
		Message string
	}
}

// octokit runs Octokit as the App, on the installation on acme.
func (w *world) octokit(t *testing.T, change func(*octokit), steps ...step) (results []outcome, warnings []string) {
	t.Helper()
	node := testkit.Must(exec.LookPath("node"))(t)
	for _, name := range []string{"@octokit/auth-app", "@octokit/core"} {
		nodePackage(t, name)
	}
	o := &octokit{
		BaseURL: w.base(),
		Headers: map[string]string{"x-github-api-version": w.version},
		Auth: map[string]any{"appId": w.app.ClientID, "privateKey": string(pemOf(w.key)),
			"installationId": w.installation.ID},
		Steps: steps,
	}
	if change != nil {
		change(o)
	}
	input := testkit.Must(json.Marshal(o))(t)
	command := exec.CommandContext(t.Context(), node, "octokit.mjs")
	command.Stdin = bytes.NewReader(input)
	command.Env = slices.DeleteFunc(os.Environ(), func(setting string) bool { return strings.HasPrefix(setting, "NODE_") })
	var complaint bytes.Buffer
	command.Stderr = &complaint
	output, err := command.Output()
	testkit.OK(t, err, "node, %s", complaint.Bytes())
	var answer struct {
		Results  []outcome
		Warnings []string
	}
	testkit.OK(t, json.Unmarshal(output, &answer), "in %s", output)
	if len(answer.Results) != len(steps) {
		t.Fatalf("%d results of %d steps", len(answer.Results), len(steps))
	}
	return answer.Results, answer.Warnings
}

// worked fails where a step did not.
func worked(t *testing.T, results []outcome) {
	t.Helper()
	for i, r := range results {
		if r.Error != nil {
			t.Fatalf("step %d: %s %d: %s", i, r.Error.Name, r.Error.Status, r.Error.Message)
		}
	}
}

// refused fails where a step was not refused with this status and this text of
// GitHub's, to which Octokit adds the address of a page.
func refused(t *testing.T, r outcome, status int, message string) {
	t.Helper()
	switch {
	case r.Error == nil:
		t.Errorf("was not refused, but %+v", r.Value)
	case r.Error.Name != "HttpError" || r.Error.Status != status || !strings.HasPrefix(r.Error.Message, message+" - http"):
		t.Errorf("%s %d: %s; want %d %s", r.Error.Name, r.Error.Status, r.Error.Message, status, message)
	}
}

// thing is what tells an App, an installation or a repository from another.
type thing struct {
	ID       int64
	Slug     string
	FullName string `json:"full_name"`
}

// unmarshal reads what Octokit was given.
func unmarshal[T any](t *testing.T, text json.RawMessage) (value T) {
	t.Helper()
	testkit.OK(t, json.Unmarshal(text, &value))
	return value
}

func TestOctokitAuthenticates(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, f)
			docs := []int64{w.Repository("acme/docs").ID}
			results, warnings := w.octokit(t, nil,
				step{Auth: map[string]any{"type": "app"}},
				request("GET /app", nil),
				request("GET /app/installations", map[string]any{"per_page": 1}),
				request("GET /repos/{owner}/{repo}/installation", map[string]any{"owner": "acme", "repo": "site"}),
				installationAuth(map[string]any{"repositoryNames": []string{"site"},
					"permissions": map[string]string{"contents": "read"}}),
				installationAuth(map[string]any{"repositoryIds": docs}),
				request("GET /installation/repositories", nil),
				request("DELETE /installation/token", nil),
			)
			w.verify(t)
			worked(t, results)
			if len(warnings) > 0 {
				t.Errorf("Octokit warns: %q", warnings)
			}
			if v := results[0].Value; v.Type != "app" || strings.Count(v.Token, ".") != 2 {
				t.Errorf("%+v", v)
			}
			if app := unmarshal[thing](t, results[1].Value.Data); app.ID != w.app.ID || app.Slug != w.app.Slug {
				t.Errorf("%+v", app)
			}
			if list := unmarshal[[]thing](t, results[2].Value.Data); len(list) != 1 || list[0].ID != w.installation.ID {
				t.Errorf("%+v", list)
			}
			testkit.Equal(t, unmarshal[thing](t, results[3].Value.Data).ID, w.installation.ID)
			v := results[4].Value
			if v.InstallationID != w.installation.ID || v.RepositorySelection != "selected" ||
				!strings.HasPrefix(v.Token, "ghs_") {
				t.Errorf("%+v", v)
			}
			testkit.Diff(t, v.RepositoryNames, []string{"site"})
			testkit.Diff(t, v.Permissions, map[string]string{"contents": "read", "metadata": "read"})
			if expires, err := time.Parse(time.RFC3339, v.ExpiresAt); err != nil || time.Until(expires) < 58*time.Minute ||
				time.Until(expires) > time.Hour {
				t.Errorf("expires at %s (%v)", v.ExpiresAt, err)
			}
			testkit.Diff(t, results[5].Value.RepositoryIDs, docs)
			reach := unmarshal[struct {
				TotalCount   int `json:"total_count"`
				Repositories []thing
			}](t, results[6].Value.Data)
			if reach.TotalCount != 2 || len(reach.Repositories) != 2 || reach.Repositories[0].FullName != "acme/site" {
				t.Errorf("%+v", reach)
			}
			testkit.Equal(t, results[7].Value.Status, http.StatusNoContent, "revoke")
		})
	}
}

// Octokit corrects its clock only where it recognises the text, word for word.
func TestOctokitRecognisesClockMessages(t *testing.T) {
	for _, c := range []struct {
		name    string
		offset  time.Duration
		future  bool
		message string
	}{
		{"its clock is fast", -20 * time.Minute, false, expTooFar},
		{"its clock is slow", 20 * time.Minute, false, expPast},
		{"its clock is fast by less than a JWT's life", 0, true, iatInFuture},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, flavours[0])
			w.SetClockOffset(c.offset)
			results, warnings := w.octokit(t, func(o *octokit) { o.JWTFromTheFuture = c.future }, request("GET /app", nil))
			list := w.verify(t)
			worked(t, results)
			if len(warnings) != 2 || !strings.HasPrefix(warnings[0], c.message) {
				t.Fatalf("Octokit warns: %q", warnings)
			}
			_, after, _ := strings.Cut(warnings[1], "are different by ")
			var measured int
			testkit.OK(t, testkit.ErrorOf(fmt.Sscanf(after, "%d seconds.", &measured)), "in %q", warnings[1])
			if off := time.Duration(measured)*time.Second - c.offset; off.Abs() > 5*time.Second {
				t.Errorf("Octokit measured %d seconds, want %s", measured, c.offset)
			}
			if len(list) != 2 || list[0].Status != http.StatusUnauthorized || list[1].Status != http.StatusOK {
				t.Errorf("over the wire went %v", list)
			}
		})
	}
}

// A refusal that is not about the clock is not taken for one.
func TestOctokitTellsOtherRefusalsFromTheClock(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrange func(*world, *octokit)
		status  int
		message string
	}{
		{"wrong key", func(w *world, o *octokit) { o.Auth["privateKey"] = string(pemOf(w.wrong)) }, 401, notDecoded},
		{"App of another host", func(_ *world, o *octokit) { o.Auth["appId"] = 1 }, 404, appUnknown},
		{"mistyped client ID", func(w *world, o *octokit) { o.Auth["appId"] = w.app.ClientID + "." }, 401, issNoInteger},
		{"no key at GitHub", func(w *world, _ *octokit) { w.app.RemoveKey(&w.key.PublicKey) }, 401, appWithoutKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, flavours[0])
			results, warnings := w.octokit(t, func(o *octokit) { c.arrange(w, o) }, request("GET /app", nil))
			list := w.verify(t)
			refused(t, results[0], c.status, c.message)
			if len(list) != 1 || len(warnings) != 0 {
				t.Errorf("over the wire went %v, and Octokit warns: %q", list, warnings)
			}
		})
	}
}

func TestOctokitWaitsForANewToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, flavours[0])
	w.SetPropagationDelay(500 * time.Millisecond)
	results, warnings := w.octokit(t, nil, request("GET /installation/repositories", nil))
	list := w.verify(t)
	worked(t, results)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "account for token replication delay (retry: 1,") {
		t.Errorf("Octokit warns: %q", warnings)
	}
	if mints(list) != 1 || len(list) != 3 || list[1].Status != http.StatusUnauthorized || list[2].Status != http.StatusOK {
		t.Errorf("over the wire went %v", list)
	}
}

func TestOctokitIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, flavours[0])
	sleepy := w.app.Install("sleepy", githubtest.InstallOptions{All: true})
	sleepy.Suspend()
	repository := func(name string) step {
		return request("GET /repos/{owner}/{repo}", map[string]any{"owner": "acme", "repo": name})
	}
	results, _ := w.octokit(t, nil,
		installationAuth(map[string]any{"installationId": sleepy.ID}),
		installationAuth(map[string]any{"installationId": 1}),
		installationAuth(map[string]any{"repositoryNames": []string{"site", "private"}}),
		installationAuth(map[string]any{"permissions": map[string]string{"issues": "read"}}),
		repository("private"),
		request("DELETE /installation/token", nil),
		// With the token that has just died, which Octokit keeps: it waits for it six
		// seconds, then says that it did.
		repository("site"),
	)
	w.verify(t)
	refused(t, results[0], 403, suspended)
	refused(t, results[1], 404, notFound)
	refused(t, results[2], 422, notSelected)
	refused(t, results[3], 422, notGranted)
	refused(t, results[4], 404, notFound)
	worked(t, results[5:6])
	if e := results[6].Error; e == nil || e.Status != http.StatusUnauthorized ||
		!strings.HasPrefix(e.Message, "After 3 retries") {
		t.Errorf("%+v", e)
	}
}

func TestOctokitFollowsARename(t *testing.T) {
	t.Parallel()
	w := newWorld(t, flavours[0])
	rename(t, w)
	site := map[string]any{"owner": "acme", "repo": "site"}
	results, _ := w.octokit(t, nil, request("GET /repos/{owner}/{repo}", site),
		request("GET /repos/{owner}/{repo}/installation", site))
	w.verify(t)
	worked(t, results)
	testkit.Equal(t, unmarshal[thing](t, results[0].Value.Data).FullName, "acme/home")
	if id := strconv.FormatInt(w.Repository("acme/home").ID, 10); !strings.HasSuffix(results[0].Value.URL,
		"/repositories/"+id) {
		t.Errorf("Octokit ended at %s", results[0].Value.URL)
	}
	testkit.Equal(t, unmarshal[thing](t, results[1].Value.Data).ID, w.installation.ID)
}

func TestOctokitTakesAStatelessToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, flavours[0])
	w.SetTokenFormat(githubtest.Stateless)
	results, _ := w.octokit(t, nil, installationAuth(nil), request("GET /installation/repositories", nil))
	w.verify(t)
	worked(t, results)
	if token := results[0].Value.Token; len(token) < 400 || strings.Count(token, ".") != 2 {
		t.Errorf("token of %d characters", len(token))
	}
}
