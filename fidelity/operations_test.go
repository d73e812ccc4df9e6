package fidelity

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/fidelity/description"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestOperationsAnswerAsGitHubDescribes(t *testing.T) {
	type answer struct {
		operation string
		status    int
	}
	met := map[answer]bool{} // of all flavours
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			here := map[answer]bool{}
			for _, q := range questions() {
				if !slices.Contains(f.operations(), q.operation) {
					continue
				}
				t.Run(q.name, func(t *testing.T) {
					w, x := q.put(t, f)
					q.check(t, w, x)
					here[answer{q.operation, x.Status}] = true
				})
			}
			d := f.describe(t)
			for _, operation := range f.operations() {
				for _, status := range d.Statuses(operation) {
					if !here[answer{operation, status}] && !isNeverAnswered(operation, status) {
						t.Errorf("GitHub describes %d for %s, and nothing here brings it about", status, operation)
					}
				}
			}
			for a := range here {
				met[a] = true
			}
		})
	}
	for _, b := range beyondDescription {
		for _, operation := range b.operations {
			if !met[answer{operation, b.status}] {
				t.Errorf("%d for %s is let through, and nothing brings it about (%s)", b.status, operation, b.reason)
			}
		}
	}
	for _, b := range neverAnswered {
		for _, operation := range b.operations {
			if met[answer{operation, b.status}] {
				t.Errorf("%s is answered with %d, which was said never to be (%s)", operation, b.status, b.reason)
			}
		}
	}
}

// put asks a question of a new world, and returns what went over the wire.
func (q question) put(t *testing.T, f flavour) (*world, *description.Exchange) {
	w := newWorld(t, f)
	if q.arrange != nil {
		q.arrange(t, w)
	}
	authorization := ""
	if q.as != nil {
		authorization = q.as(t, w)
	}
	w.take() // what it took to get there
	method, path, _ := strings.Cut(q.operation, " ")
	if q.path != "" {
		path = q.path
	}
	w.ask(t, method, w.fill(path), authorization, w.fill(q.body), q.header)
	list := w.take()
	if len(list) != 1 {
		t.Fatalf("%d requests went over the wire", len(list))
	}
	return w, list[0]
}

// check holds an exchange against the question and against the description.
func (q question) check(t *testing.T, w *world, x *description.Exchange) {
	t.Helper()
	testkit.Equal(t, x.Status, q.status, "status, %s", x.Body)
	if q.message != "" {
		var refusal struct{ Message, Status string }
		testkit.OK(t, json.Unmarshal(x.Body, &refusal), "in %s", x.Body)
		if want := w.fill(q.message); refusal.Message != want {
			t.Errorf("message %q, want %q", refusal.Message, want)
		}
		if x.Status >= 400 && refusal.Status != strconv.Itoa(x.Status) {
			t.Errorf("status %q in the body of a %d", refusal.Status, x.Status)
		}
	}
	testkit.Equal(t, w.description.Operation(described(x)), q.operation, "this is operation")
	complains(t, "request", w.description.CheckRequest(described(x)), q.badRequest)
	if q.badAnswer == "" {
		w.checkResponse(t, x)
		return
	}
	complains(t, "answer", w.description.CheckResponse(described(x)), q.badAnswer)
}

// complains compares what the description says with what it is expected to say.
func complains(t *testing.T, what string, err error, part string) {
	t.Helper()
	switch {
	case part == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case part != "" && (err == nil || !strings.Contains(err.Error(), part)):
		t.Errorf("%s: the description says %v, want %q", what, err, part)
	}
}

// parameter is one of a path.
var parameter = regexp.MustCompile(`\{[^}]+\}`)

// Every operation GitHub describes is either driven above or not there: none that
// the stand-in has is forgotten.
func TestNoOperationIsForgotten(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			w := newWorld(t, f)
			w.SetRateLimit(-1)
			fill := strings.NewReplacer("{owner}", "acme", "{repo}", "site", "{org}", "acme", "{username}",
				"acme", "{enterprise}", "acme",
				"{installation_id}", w.fill("{id}"), "{repository_id}", w.fill("{site}"), "{app_slug}", w.app.Slug)
			credentials := []string{w.jwt(t), asInstallation(t, w)}
			for _, operation := range f.openAPI(t).Operations() {
				if slices.Contains(f.operations(), operation) {
					continue
				}
				method, path, _ := strings.Cut(operation, " ")
				for _, credential := range credentials {
					status, _ := w.ask(t, method, parameter.ReplaceAllString(fill.Replace(path), "1"), credential, "", nil)
					testkit.Equal(t, status, http.StatusNotFound, "%s is answered", operation)
				}
			}
		})
	}
}
