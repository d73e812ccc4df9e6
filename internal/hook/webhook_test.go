package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// GitHub's own example: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func TestGitHubsExampleOfASignature(t *testing.T) {
	const (
		webhookSecret = "It's a Secret to Everybody"
		payload       = "Hello, World!"
		want          = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
	)
	s, ok := parseSignature(want)
	if !ok || !s.signed([]byte(payload), []secret.Text{secret.New(webhookSecret)}) {
		t.Error("it is not taken")
	}
	if s.signed([]byte(payload+"\n"), []secret.Text{secret.New(webhookSecret)}) {
		t.Error("it is taken for another payload")
	}
	h := &Handler{Secrets: []secret.Text{secret.New(webhookSecret)},
		OnPush: func(Push, func(error)) bool { t.Error("told"); return true }}
	r := delivered("push", payload, header(signatureHeader, want))
	wantAnswer(t, h, r, 400, "the payload is not GitHub's JSON") // so the signature was right
}

// A delivery with a wrong signature is one answer, whatever else is right or wrong about it, and nothing is told.
func TestOnlyASignatureOfTheSecretCounts(t *testing.T) {
	body := pushed("acme/site", ref, first, second)
	old := hmac.New(sha1.New, []byte(webhookSecret))
	old.Write([]byte(body))
	right := sign(webhookSecret, body)
	changes := map[string]func(*http.Request){
		"none":             header(signatureHeader, ""),
		"another secret":   header(signatureHeader, sign("other", body)),
		"the empty secret": header(signatureHeader, sign("", body)),
		"another body":     header(signatureHeader, sign(webhookSecret, body+" ")),
		"SHA-1": func(r *http.Request) {
			r.Header.Del(signatureHeader)
			r.Header.Set("X-Hub-Signature", "sha1="+hex.EncodeToString(old.Sum(nil)))
		},
		"SHA-1 in its place": header(signatureHeader, "sha1="+hex.EncodeToString(old.Sum(nil))),
		"SHA-256 in SHA-1's": func(r *http.Request) { r.Header.Del(signatureHeader); r.Header.Set("X-Hub-Signature", right) },
		"no algorithm":       header(signatureHeader, strings.TrimPrefix(right, "sha256=")),
		"cut":                header(signatureHeader, right[:len(right)-2]),
		"half a byte cut":    header(signatureHeader, right[:len(right)-1]),
		"longer":             header(signatureHeader, right+"00"),
		"a blank before":     header(signatureHeader, "sha256= "+right[8:]),
		"not hexadecimal":    header(signatureHeader, right[:len(right)-1]+"g"),
		"twice":              func(r *http.Request) { r.Header.Add(signatureHeader, right) },
		"wrong and right":    func(r *http.Request) { r.Header[signatureHeader] = []string{sign("other", body), right} },
		"garbage": func(r *http.Request) {
			*r = *delivered("", "{", header("X-GitHub-Delivery", "x"), header(signatureHeader, sign("other", "{")))
		},
	}
	w := new(watcher)
	h := w.handler()
	h.Secrets = append(h.Secrets, secret.Text{})
	var answers []string
	for name, change := range changes {
		status, text := ask(h, delivered("push", body, change))
		testkit.Equal(t, status, http.StatusUnauthorized, "%s, %s", name, text)
		answers = append(answers, text)
	}
	for _, text := range answers {
		testkit.Equal(t, text, answers[0], "answers differ")
	}
	testkit.Equal(t, w.count(), 0, "the watcher was told")
	wantAnswer(t, h, delivered("push", body, header(signatureHeader, "sha256="+strings.ToUpper(right[7:]))), 202, "taken")
}

func TestAnyOfTheSecretsMaySign(t *testing.T) {
	body := pushed("acme/site", ref, first, second)
	for _, key := range []string{webhookSecret, older} {
		w := new(watcher)
		wantAnswer(t, w.handler(), delivered("push", body, header(signatureHeader, sign(key, body))), 202, "taken")
	}
}

func TestWithoutASecretTheDoorIsClosed(t *testing.T) {
	for name, secrets := range map[string][]secret.Text{"none": nil, "empty": {{}}, "empty text": {secret.New("")}} {
		w := new(watcher)
		h := w.handler()
		h.Secrets, h.SyncSecrets = secrets, secrets
		body := pushed("acme/site", ref, first, second)
		wantAnswer(t, h, delivered("push", body, header(signatureHeader, sign("", body))), 404, "nothing here")
		wantAnswer(t, h, delivered("push", body, header(signatureHeader, "")), 404, "nothing here")
		for _, bearer := range []string{"Bearer ", "Bearer", ""} {
			wantAnswer(t, h, wished(`{"all":true}`, header("Authorization", bearer)), 404, "nothing here")
		}
		testkit.Equal(t, w.count(), 0, "%s: the watcher was told", name)
		testkit.Equal(t, len(w.wishes), 0, "%s: the watcher was told", name)
	}
}

func TestDeliveriesAreToldInPlainWords(t *testing.T) {
	push := pushed("acme/site", ref, first, second)
	tests := []struct {
		name   string
		r      *http.Request
		status int
		text   string
	}{
		{"ping", delivered("ping", `{"zen":"Design for failure.","hook_id":1,"hook":{"type":"App","events":["push"]}}`), 200,
			"the secret is right, and pushes will be taken"},
		{"ping of a webhook without pushes", delivered("ping", `{"hook":{"events":["issues"]}}`),
			200, "does not send push events"},
		{"ping of a webhook for everything", delivered("ping", `{"hook":{"events":["*"]}}`), 200, "pushes will be taken"},
		{"another event", delivered("issues", `{"action":"opened"}`), 200,
			"ignored: events of the kind issues cause nothing here"},
		{"another ref", delivered("push", pushed("acme/site", "refs/heads/main", first, second)), 200,
			"ignored: no target follows refs/heads/main of acme/site"},
		{"another repository", delivered("push", pushed("acme/other", ref, first, second)), 200,
			"ignored: no target follows " + ref + " of acme/other"},
		{"a deleted ref", delivered("push", pushed("acme/site", ref, first, none)), 200,
			"ignored: " + ref + " of acme/site was deleted, so there is nothing to publish"},
		{"suspended", delivered("installation", `{"action":"suspend","installation":{"id":1,"account":{"login":"acme"}}}`),
			200, "noted: the App was suspended on acme"},
		{"unsuspended", delivered("installation", `{"action":"unsuspend","installation":{"account":{"login":"acme"}}}`), 200,
			"the App's suspension on acme was lifted"},
		{"uninstalled", delivered("installation", `{"action":"deleted","installation":{"account":{"login":"acme"}}}`), 200,
			"noted: the App was uninstalled from acme"},
		{"installed", delivered("installation", `{"action":"created","installation":{"account":{"login":"acme"}}}`),
			200, "ignored"},
		{"deselected", delivered("installation_repositories",
			`{"action":"removed","installation":{"account":{"login":"acme"}},"repositories_removed":[{"full_name":"acme/site"},{"full_name":"acme/lib"}]}`),
			200, "noted: the App may no longer read these repositories of acme: acme/site, acme/lib"},
		{"renamed", delivered("repository", `{"action":"renamed","repository":{"full_name":"acme/new"}}`), 200,
			"noted: a repository was renamed to acme/new"},
		{"transferred", delivered("repository", `{"action":"transferred","repository":{"full_name":"other/site"}}`), 200,
			"is other/site now"},
		{"deleted", delivered("repository", `{"action":"deleted","repository":{"full_name":"acme/site"}}`), 200,
			"noted: acme/site was deleted"},
		{"nothing in it", delivered("repository", `{"action":"deleted"}`), 200, "noted: a repository was deleted"},

		{"GET", delivered("push", push, func(r *http.Request) { r.Method = "GET" }), 405, "only POST"},
		{"another path", delivered("push", push, func(r *http.Request) { r.URL.Path = "/webhook/" }), 404, "nothing here"},
		{"XML", delivered("push", push, header("Content-Type", "text/xml")), 415, "application/json"},
		{"no type", delivered("push", push, header("Content-Type", "")), 415, "application/json"},
		{"compressed", delivered("push", push, header("Content-Encoding", "gzip")), 415, "not compressed"},
		{"no event", delivered("", push), 400, "X-GitHub-Event"},
		{"a strange event", delivered("push\x1b[2J", push), 400, "X-GitHub-Event"},
		{"no GUID", delivered("push", push, header("X-GitHub-Delivery", "")), 400, "not a GUID"},
		{"a strange GUID", delivered("push", push, header("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc095")),
			400, "not a GUID"},
		{"a GUID with more", delivered("push", push, header("X-GitHub-Delivery", guid+"-00")), 400, "not a GUID"},
		{"two GUIDs", delivered("push", push, func(r *http.Request) { r.Header.Add("X-GitHub-Delivery", guid) }),
			400, "not a GUID"},
		{"no JSON", delivered("push", "<html>"), 400, "not GitHub's JSON"},
		{"null", delivered("push", "null"), 400, "not GitHub's JSON"},
		{"a list", delivered("push", "[]"), 400, "not GitHub's JSON"},
		{"JSON and more", delivered("push", push+"{}"), 400, "not GitHub's JSON"},
		{"empty", delivered("push", ""), 400, "not GitHub's JSON"},
		{"empty object", delivered("push", "{}"), 400, "full_name names no repository"},
		{"a form without payload", delivered("push", "pay=load", header("Content-Type", formType)), 400, "no field payload"},
		{"a form with two", delivered("push", url.Values{"payload": {push, push}}.Encode(), header("Content-Type", formType)),
			400, "no field payload"},
		{"a short ref", delivered("push", pushed("acme/site", "deployment", first, second)), 400, "ref is not a full name"},
		{"a ref with a line in it", delivered("push", pushed("acme/site", ref+"\nx", first, second)),
			400, "ref is not a full name"},
		{"a short object ID", delivered("push", pushed("acme/site", ref, first, second[:12])), 400, "not object IDs"},
		{"an option for an object ID",
			delivered("push", pushed("acme/site", ref, first, "--upload-pack="+strings.Repeat("a", 26))), 400, "not object IDs"},
		{"deleted, and not", delivered("push", strings.Replace(push, `"deleted":false`, `"deleted":true`, 1)),
			400, "contradicts"},
		{"no ID", delivered("push", strings.Replace(push, `"id":400000001`, `"id":0`, 1)), 400, "repository.id"},
		{"no address", delivered("push", strings.ReplaceAll(push, `https://GitHub.com/acme/site.git`, ``)), 400, "clone_url"},
		{"a path for a name", delivered("push", pushed("../..", ref, first, second)), 400, "full_name names no repository"},
		{"an address for a name", delivered("push", pushed("https://evil.example/acme/site", ref, first, second)), 400,
			"full_name names no repository"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := new(watcher)
			wantAnswer(t, w.handler(), test.r, test.status, test.text)
			testkit.Equal(t, w.count(), 0, "the watcher was told")
			if noted, told := strings.HasPrefix(test.text, "noted"),
				strings.Contains(w.told(), strings.TrimPrefix(test.text, "noted: ")); noted && !told {
				t.Errorf("the log does not tell: %s", w.told())
			}
		})
	}
}

func TestDeliveryUnderAnotherGUIDIsWorkOfItsOwn(t *testing.T) {
	w := new(watcher)
	h := w.handler()
	body := pushed("acme/site", ref, first, second)
	wantAnswer(t, h, delivered("push", body), 202, "taken")
	wantAnswer(t, h, delivered("push", body, header("X-GitHub-Delivery", strings.ToUpper(guid))), 202, "already under way")
	// The branch went back, and forth again: the same commits, another delivery.
	wantAnswer(t, h,
		delivered("push", body, header("X-GitHub-Delivery", "00000000-cc78-11e3-81ab-4c9367dc0958")), 202, "taken")
	// And the GUID of one delivery does not cover another body.
	wantAnswer(t, h, delivered("push", pushed("acme/site", ref, second, first)), 202, "taken")
	testkit.Equal(t, w.count(), 3, "there was work")
}

func TestIgnoredDeliveryIsNotRemembered(t *testing.T) {
	w := new(watcher)
	h := w.handler()
	body := pushed("acme/site", "refs/heads/main", first, second)
	for range 2 {
		wantAnswer(t, h, delivered("push", body), 200, "ignored: no target follows")
	}
	testkit.Equal(t, len(h.deliveries.known)+h.deliveries.order.Len(), 0, "deliveries are remembered")
}

func TestDeliveriesAreForgottenAfterThreeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		h := w.handler()
		body := pushed("acme/site", ref, first, second)
		wantAnswer(t, h, delivered("push", body), 202, "taken")
		w.end(nil)
		time.Sleep(72*time.Hour - time.Second)
		wantAnswer(t, h, delivered("push", body), 200, "already done")
		time.Sleep(2 * time.Second)
		wantAnswer(t, h, delivered("push", body), 202, "taken")
		if len(h.deliveries.known) != 1 || h.deliveries.order.Len() != 1 {
			t.Errorf("%d and %d deliveries are remembered, want 1", len(h.deliveries.known), h.deliveries.order.Len())
		}
	})
}

func TestMemoryOfDeliveriesIsBounded(t *testing.T) {
	var d deliveries
	id := func(i int) identity { return identity{guid: fmt.Sprint(i)} }
	oldest, _, _ := d.begin(id(0))
	for i := range 2 * maxRemembered {
		d.begin(id(i + 1))
	}
	if len(d.known) != maxRemembered || d.order.Len() != maxRemembered {
		t.Errorf("%d and %d are remembered, want %d", len(d.known), d.order.Len(), maxRemembered)
	}
	again, known, _ := d.begin(id(0))
	if known {
		t.Error("the oldest is remembered")
	}
	d.end(oldest, errFailed) // of the work that was forgotten
	if _, known, _ := d.begin(id(0)); !known {
		t.Error("the end of forgotten work counts for the work of now")
	}
	d.end(again, nil)
	if _, known, done := d.begin(id(0)); !known || !done {
		t.Error("the end of the work of now does not count")
	}
}

// GitHub waits ten seconds, whatever the watcher does.
func TestAnswerComesThoughTheWatcherHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var mu sync.Mutex
		calls := 0
		h := &Handler{Secrets: []secret.Text{secret.New(webhookSecret)}, OnPush: func(Push, func(error)) bool {
			mu.Lock()
			calls++
			mu.Unlock()
			<-release
			return true
		}}
		body := pushed("acme/site", ref, first, second)
		begun := time.Now()
		wantAnswer(t, h, delivered("push", body), 503, "the watcher does not answer")
		if took := time.Since(begun); took > patience {
			t.Errorf("it took %s", took)
		}
		wantAnswer(t, h, delivered("push", body), 202, "already under way")
		var all sync.WaitGroup
		for i := range 2 * maxCalls {
			all.Go(func() {
				ask(h, delivered("push", body, header("X-GitHub-Delivery", fmt.Sprintf("%08x-cc78-11e3-81ab-4c9367dc0958", i))))
			})
		}
		all.Wait()
		mu.Lock()
		testkit.Equal(t, calls, maxCalls, "calls at once")
		mu.Unlock()
		if n := len(h.deliveries.known); n != maxCalls {
			t.Errorf("%d deliveries are remembered, want %d: those that were sent away have to come again", n, maxCalls)
		}
		close(release)
		synctest.Wait()
		wantAnswer(t, h,
			delivered("push", body, header("X-GitHub-Delivery", "ffffffff-cc78-11e3-81ab-4c9367dc0958")), 202, "taken")
	})
}

func TestTwentyFiveMegabytesAndNoMore(t *testing.T) {
	w := new(watcher)
	h := w.handler()
	wantAnswer(t, h, delivered("push", strings.Repeat("x", maxBody)), 400, "not GitHub's JSON") // so all of it was signed
	over := func(length int64, body io.Reader) *http.Request {
		return delivered("push", "", func(r *http.Request) { r.ContentLength, r.Body = length, io.NopCloser(body) })
	}
	wantAnswer(t, h, over(-1, strings.NewReader(strings.Repeat("x", maxBody+1))), 413, "25 MB at most")
	wantAnswer(t, h, over(maxBody+1, endless{}), 413, "25 MB at most") // and what says so itself is not even read
	testkit.Equal(t, len(h.large), 0, "places are held")
}

// endless is a body that does not end before it is told to.
type endless struct {
	ctx context.Context
	end chan struct{}
}

func (b endless) Read(p []byte) (int, error) {
	select {
	case <-b.end:
		return 0, http.ErrBodyReadAfterClose
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

// While large bodies trickle in, others of their kind are told to come again, and small ones go through.
func TestLargeBodiesAreFewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		h := w.handler()
		end := make(chan struct{})
		var all sync.WaitGroup
		for range maxLarge {
			all.Go(func() {
				r := delivered("push", "")
				r.Body = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat(" ", maxSmall)), endless{t.Context(), end}))
				r.ContentLength = 2 * maxSmall
				wantAnswer(t, h, r, 400, "came to no end")
			})
		}
		synctest.Wait()
		large := pushed("acme/site", ref, first, second) + strings.Repeat(" ", maxSmall)
		begun := time.Now()
		wantAnswer(t, h, delivered("push", large), 503, "too many large deliveries")
		testkit.Equal(t, time.Since(begun), patience, "it took")
		wantAnswer(t, h, delivered("push", pushed("acme/site", ref, first, second)), 202, "taken")
		close(end)
		all.Wait()
		wantAnswer(t, h, delivered("push", large), 202, "taken")
	})
}

func TestRefusalsDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		h := w.handler()
		for range 1000 {
			ask(h, delivered("push", "{}", header(signatureHeader, sign("other", "{}")),
				func(r *http.Request) { r.URL.Path += strings.Repeat("x\n", 1000) }))
		}
		if lines := strings.Count(w.told(), "\n"); lines != 1 || len(w.told()) > 500 {
			t.Errorf("%d lines\n%s", lines, w.told())
		}
		time.Sleep(refusalPeriod)
		ask(h, delivered("push", "{}", header(signatureHeader, "")))
		testkit.Contains(t, w.told(), "untold_before=999")
	})
}

func TestNoSecretIsToldByAnswerOrLog(t *testing.T) {
	w := new(watcher)
	h := w.handler()
	right := sign(webhookSecret, pushed("acme/site", ref, first, second))
	var answers strings.Builder
	for _, r := range []*http.Request{
		delivered("push", pushed("acme/site", ref, first, second)),
		delivered("push", "{}", header(signatureHeader, right)),
		delivered("push", webhookSecret), delivered(webhookSecret, "{}"),
		delivered("push", "{}", header("X-GitHub-Delivery", webhookSecret)),
		delivered("push", "{}", header("Content-Type", webhookSecret)),
		wished(`{"targets":["site"]}`), wished(`{"targets":["site"],"` + syncSecret + `":1}`),
		wished(`{}`, header("Authorization", "Basic "+syncSecret)),
		wished(syncSecret), wished(`{}`, header("Content-Type", syncSecret)),
	} {
		h.refusals.last = time.Time{}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		fmt.Fprintln(&answers, answer.Code, answer.Header(), answer.Body)
	}
	fmt.Fprintf(&answers, "%+v %#v", h, h.Secrets)
	for _, text := range []string{answers.String(), w.told()} {
		for _, canary := range []string{webhookSecret, older, syncSecret, right, right[7:]} {
			testkit.Lacks(t, text, canary)
		}
	}
	if strings.Count(w.told(), "\n") < 8 {
		t.Errorf("the log has little in it: this test proves nothing\n%s", w.told())
	}
}

func FuzzSignatureHeader(f *testing.F) {
	f.Add("sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", []byte("Hello, World!"))
	f.Add(sign(webhookSecret, "{}"), []byte("{}"))
	f.Add("sha1=", []byte(nil))
	f.Fuzz(func(t *testing.T, value string, body []byte) {
		s, ok := parseSignature(value)
		good := ok && s.signed(body, []secret.Text{secret.New(webhookSecret), {}})
		if want := strings.HasPrefix(value, "sha256=") &&
			strings.EqualFold(value, sign(webhookSecret, string(body))); good != want {
			t.Errorf("%q of %q: %t, want %t", value, body, good, want)
		}
	})
}

func FuzzPayload(f *testing.F) {
	f.Add(false, []byte(pushed("acme/site", ref, first, second)))
	f.Add(false, []byte(pushed("acme/site", ref, first, none)))
	f.Add(true,
		[]byte(url.Values{"payload": {pushed("acme/site", "refs/tags/v1", none, strings.Repeat("a", 40))}}.Encode()))
	f.Add(false, []byte(`{"action":"removed","repositories_removed":[{"full_name":"a\u001b[2J"}]}`))
	f.Add(false, []byte(`{"repository":null,"hook":{"events":[""]}}`))
	f.Add(false, []byte(created("branch", "feature/x")))
	f.Add(false, []byte(chosen("added", `{"id":1,"full_name":"acme/site"},{"id":-1,"full_name":"../x"}`)))
	f.Fuzz(func(t *testing.T, form bool, body []byte) {
		kind := jsonType
		if form {
			kind = formType
		}
		p, err := parse(kind, body)
		if err != nil {
			return
		}
		for _, event := range []string{"installation", "installation_repositories", "repository"} {
			if text := p.lifecycle(event); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) ||
				len(text) > 2000 {
				t.Errorf("%q", text)
			}
		}
		p.pong(true)
		for _, kind := range Kinds() {
			checkEvent(t, p, kind)
		}
		push, _, err := p.push()
		if err != nil {
			if len(err.Error()) > 200 {
				t.Errorf("the error repeats what came: %v", err)
			}
			return
		}
		if again, err := ghapp.ParseRepository(push.Repository.String()); err != nil ||
			again.String() != push.Repository.String() {
			t.Errorf("repository %q: %v", push.Repository, err)
		}
		if !strings.HasPrefix(push.Ref, "refs/") || len(strings.Fields(push.Ref)) != 1 ||
			!isObjectID(push.After) || push.RepositoryID <= 0 {
			t.Errorf("%+v", push)
		}
	})
}
