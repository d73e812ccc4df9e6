package hook

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestWishIsTaken(t *testing.T) {
	for body, want := range map[string][]string{
		`{"targets":["site"]}`:               {"site"},
		`{"targets":["site","site"]}`:        {"site", "site"},
		`{"all":true}`:                       {"*"},
		` {"all":true,"wait":false} ` + "\n": {"*"},
	} {
		w := new(watcher)
		wantAnswer(t, w.handler(), wished(body), 202, `{"status":"queued"}`)
		if len(w.wishes) != 1 || !slices.Equal(w.wishes[0], want) {
			t.Errorf("%s: the watcher was told %q, want %q", body, w.wishes, want)
		}
	}
	w := new(watcher)
	h := w.handler()
	h.SyncSecrets = append([]secret.Text{secret.New("new"), {}}, h.SyncSecrets...)
	wantAnswer(t, h, wished(`{"all":true}`), 202, "queued")
	wantAnswer(t, h, wished(`{"all":true}`, header("Authorization", "bearer new")), 202, "queued")
}

func TestWishIsRefused(t *testing.T) {
	const good = `{"targets":["site"]}`
	tests := []struct {
		name   string
		r      *http.Request
		status int
		text   string
	}{
		{"no secret", wished(good, header("Authorization", "")), 401, "Authorization: Bearer"},
		{"wrong secret", wished(good, header("Authorization", "Bearer x"+syncSecret)), 401, "Authorization: Bearer"},
		{"a part of it", wished(good, header("Authorization", "Bearer "+syncSecret[:8])), 401, "Authorization: Bearer"},
		{"an empty secret", wished(good, header("Authorization", "Bearer ")), 401, "Authorization: Bearer"},
		{"the webhook's secret", wished(good, header("Authorization", "Bearer "+webhookSecret)),
			401, "Authorization: Bearer"},
		{"Basic", wished(good, header("Authorization", "Basic "+syncSecret)), 401, "Authorization: Bearer"},
		{"two secrets", wished(good, func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+syncSecret) }),
			401, "Authorization: Bearer"},
		{"in the address", wished(good, header("Authorization", ""),
			func(r *http.Request) { r.URL.RawQuery = "access_token=" + syncSecret }), 401, "Authorization: Bearer"},
		{"a web page", wished(good, header("Origin", "https://evil.example")), 403, "a web page"},
		{"a form", wished(good, header("Content-Type", formType)), 415, "application/json"},
		{"a form of plain text", wished(good, header("Content-Type", "text/plain")), 415, "application/json"},
		{"GET", wished("", func(r *http.Request) { r.Method = "GET" }), 405, "only POST"},
		{"an unknown target", wished(`{"targets":["site","other","th\u001bird"]}`), 404,
			`there is no target other, th\\x1bird`},
		{"nothing named", wished(`{}`), 400, `{\"all\":true} means all of them`},
		{"an empty list", wished(`{"targets":[],"wait":true}`), 400, "no target is named"},
		{"both", wished(`{"targets":["site"],"all":true}`), 400, "either"},
		{"a word more", wished(`{"all":true,"force":true}`), 400, "not of the form"},
		{"JSON and more", wished(`{"all":true}{}`), 400, "not of the form"},
		{"null", wished(`null`), 400, "no target is named"},
		{"a name that is none", wished(`{"targets":"site"}`), 400, "not of the form"},
		{"empty", wished(``), 400, "not of the form"},
		{"too large", wished(`{"all":true}` + strings.Repeat(" ", maxSyncRequest)), 413, "64 KiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := new(watcher)
			h := w.handler()
			h.SyncSecrets = append(h.SyncSecrets, secret.Text{})
			status, text := ask(h, test.r)
			testkit.Equal(t, status, test.status)
			testkit.Contains(t, text, test.text)
			if kind := regexp.MustCompile(`"kind":"[a-z-]+"`); test.r.Method == "POST" && !kind.MatchString(text) {
				t.Errorf("the error has no kind: %s", text)
			}
			testkit.Equal(t, len(w.wishes), 0, "the watcher was told %q", w.wishes)
		})
	}
}

func TestWishWaitsForItsOutcome(t *testing.T) {
	const body = `{"targets":["site"],"wait":true}`
	tests := []struct {
		name   string
		after  time.Duration
		err    error
		status int
		text   string
		took   time.Duration
	}{
		{"done", 50 * time.Second, nil, 200, `{"status":"done"}`, 50 * time.Second},
		{"failed", time.Second, errFailed, 500,
			`{"status":"failed","error":{"message":"disk full","kind":"failed","exit_code":1}}`, time.Second},
		{"at once", 0, nil, 200, `{"status":"done"}`, 0},
		{"later than a minute", 61 * time.Second, nil, 202, `{"status":"running"}`, time.Minute},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := new(watcher)
				h := w.handler()
				go func() {
					time.Sleep(test.after)
					synctest.Wait()
					w.end(test.err)
					w.end(errFailed) // a watcher that says it twice
				}()
				begun := time.Now()
				wantAnswer(t, h, wished(body), test.status, test.text)
				testkit.Equal(t, time.Since(begun), test.took, "it took")
				testkit.Lacks(t, w.told(), "refused")
				time.Sleep(2 * time.Minute)
			})
		})
	}
}

func TestWhoeverWaitsMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		h := w.handler()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		ask(h, wished(`{"all":true,"wait":true}`).WithContext(ctx))
		testkit.Equal(t, time.Since(begun), 3*time.Second, "it took")
		w.end(nil) // and this does not hang
	})
}
