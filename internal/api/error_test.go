package api

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// answerOf is an error made of an answer, as of noon on a right clock.
func answerOf(status int, body string, headers ...string) *Error {
	return answerAt(noon, 0, status, body, headers...)
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func answerAt(now time.Time, offset time.Duration, status int, body string, headers ...string) *Error {
	h := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	e := NewError(&http.Response{StatusCode: status, Header: h}, []byte(body), now, offset)
	e.Method, e.Path = "GET", "/app"
	return e
}

func TestErrorCarriesGitHubsMessageAndRequestID(t *testing.T) {
	for _, test := range []struct{ name, body, message, text string }{
		{"message", `{"message":"A JSON web token could not be decoded","documentation_url":"https://docs.github.com/rest"}`,
			"A JSON web token could not be decoded", `GET /app: 401 "A JSON web token could not be decoded" (request 9A1C:2)`},
		{"errors are texts", `{"message":"Bad Request","errors":["one","two"]}`, "Bad Request; one; two",
			`GET /app: 401 "Bad Request; one; two" (request 9A1C:2)`},
		{"errors are objects",
			`{"message":"Validation Failed","errors":[{"resource":"Token","field":"repositories","code":"invalid"},{"message":"said"},{}]}`,
			"Validation Failed; Token repositories invalid; said",
			`GET /app: 401 "Validation Failed; Token repositories invalid; said" (request 9A1C:2)`},
		{"errors is no list", `{"message":"Bad Request","errors":"text"}`, "", `GET /app: 401 (request 9A1C:2)`},
		{"page", "<html>", "", `GET /app: 401 (request 9A1C:2)`},
		{"nothing", "", "", `GET /app: 401 (request 9A1C:2)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := answerOf(401, test.body, "X-GitHub-Request-Id", "9A1C:2")
			testkit.Equal(t, e.Message, test.message)
			testkit.Equal(t, e.Error(), test.text)
		})
	}
}

func TestErrorIsMadeHarmless(t *testing.T) {
	evil := "\x1b]0;title\x07\x1b[31mred\x1b[0m\r\nsecond line\x00\u009b1m\u202egnp.exe\xff"
	e := answerOf(404,
		`{"message":"\u001b[31mred\u001b[0m\r\nsecond\tline\u009b1m\u202egnp.exe\u0000","documentation_url":"\u001bx","errors":["\u001b[2J"]}`,
		"X-GitHub-Request-Id", evil, "X-Accepted-GitHub-Permissions", evil)
	testkit.Equal(t, e.Message, `\x1b[31mred\x1b[0m second line\u009b1m\u202egnp.exe\x00; \x1b[2J`, "message")
	for _, text := range []string{e.Message, e.DocumentationURL, e.RequestID, e.AcceptedPermissions, e.Error()} {
		for _, r := range text {
			if !unicode.IsPrint(r) {
				t.Errorf("%q holds %U", text, r)
			}
		}
	}
	long := answerOf(404, `{"message":"`+strings.Repeat("é", 5000)+`"}`, "X-GitHub-Request-Id", strings.Repeat("x", 5000))
	if len(long.Error()) > 700 || !utf8.ValidString(long.Message) {
		t.Errorf("%d bytes of error", len(long.Error()))
	}
}

func TestLimitsAreToldFromRefusals(t *testing.T) {
	const secondary = `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`
	in := func(d time.Duration) time.Time { return noon.Add(d) }
	for _, test := range []struct {
		name    string
		status  int
		body    string
		headers []string
		limit   Limit
		until   time.Time
	}{
		{"permission", 403, `{"message":"Resource not accessible by integration"}`,
			[]string{"X-RateLimit-Remaining", "4999", "X-RateLimit-Reset", "1795352400"}, NoLimit, time.Time{}},
		{"permission, no headers", 403, `{"message":"This installation has been suspended"}`, nil, NoLimit, time.Time{}},
		{"primary 403", 403, `{"message":"API rate limit exceeded"}`,
			[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1795352400"}, PrimaryLimit, time.Unix(1795352400, 0)},
		{"primary 429", 429, "", []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1795352400"},
			PrimaryLimit, time.Unix(1795352400, 0)},
		{"primary, garbled reset", 403, "", []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "soon"},
			PrimaryLimit, time.Time{}},
		{"secondary with Retry-After", 403, secondary, []string{"Retry-After", "30"}, SecondaryLimit, in(30 * time.Second)},
		{"secondary with a date", 403, secondary, []string{"Retry-After", "Sun, 22 Nov 2026 12:00:40 GMT"},
			SecondaryLimit, in(40 * time.Second)},
		{"secondary with a past date", 403, secondary,
			[]string{"Retry-After", "Sun, 22 Nov 2026 11:00:00 GMT"}, SecondaryLimit, in(0)},
		{"secondary without", 403, secondary, nil, SecondaryLimit, in(time.Minute)},
		{"secondary, garbled Retry-After", 403, secondary, []string{"Retry-After", "-5"}, SecondaryLimit, in(time.Minute)},
		{"secondary with budget used up too", 403, secondary,
			[]string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1795352400"}, SecondaryLimit, in(time.Minute)},
		{"abuse detection of old", 403, `{"message":"You have triggered an abuse detection mechanism."}`, nil,
			SecondaryLimit, in(time.Minute)},
		{"429 alone", 429, "", nil, SecondaryLimit, in(time.Minute)},
		{"secondary for years", 403, secondary, []string{"Retry-After", "630720000"}, SecondaryLimit, in(time.Hour)},
		{"secondary beyond numbers", 403, secondary, []string{"Retry-After", "99999999999999999999"},
			SecondaryLimit, in(time.Hour)},
		{"secondary until 2046", 403, secondary, []string{"Retry-After", "Thu, 22 Nov 2046 12:00:40 GMT"},
			SecondaryLimit, in(time.Hour)},
		{"primary until 2100", 403, "", []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "4102444800"},
			PrimaryLimit, in(time.Hour)},
		{"primary beyond time", 403, "", []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "9223372036854775807"},
			PrimaryLimit, in(time.Hour)},
		{"primary until 1970", 403, "", []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "0"},
			PrimaryLimit, in(time.Minute)},
		{"primary before 1970", 403, "", []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "-9223372036854775808"},
			PrimaryLimit, in(time.Minute)},
		{"maintenance for years", 503, "", []string{"Retry-After", "630720000"}, NoLimit, in(time.Hour)},
		{"maintenance", 503, "", []string{"Retry-After", "30"}, NoLimit, in(30 * time.Second)},
		{"404 is never a limit", 404, secondary,
			[]string{"Retry-After", "30", "X-RateLimit-Remaining", "0"}, NoLimit, time.Time{}},
		{"401 is never a limit", 401, "", []string{"X-RateLimit-Remaining", "0"}, NoLimit, time.Time{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := answerOf(test.status, test.body, test.headers...)
			if e.Limit != test.limit || !e.Until.Equal(test.until) {
				t.Errorf("limit %d until %v, want %d until %v", e.Limit, e.Until, test.limit, test.until)
			}
		})
	}
}

func TestLimitsAreToldOnThisMachinesClock(t *testing.T) {
	// The server is three hours ahead: it is 15:00 there.
	const offset = 3 * time.Hour
	for name, headers := range map[string][]string{
		"reset": {"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1795359640"}, // 15:00:40
		"date":  {"Retry-After", "Sun, 22 Nov 2026 15:00:40 GMT"},
	} {
		e := answerAt(noon, offset, 403, "", headers...)
		if want := noon.Add(40 * time.Second); !e.Until.Equal(want) {
			t.Errorf("%s: until %v, want %v", name, e.Until.UTC(), want)
		}
	}
}

func FuzzError(f *testing.F) {
	f.Add(403, `{"message":"x","errors":[{"message":"y"}]}`, "30", "0")
	f.Add(401, "\x1b[31m", "Sun, 22 Nov 2026 12:00:40 GMT", "1795352400")
	f.Add(422, `{"errors":[1,null,"a",{"field":"f"}]}`, "99999999999999999999", "")
	f.Fuzz(func(t *testing.T, status int, body, retryAfter, remaining string) {
		e := answerOf(status, body, "Retry-After", retryAfter, "X-RateLimit-Remaining",
			remaining, "X-GitHub-Request-Id", body)
		if text := e.Error(); len(text) > 1500 ||
			strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("error %q", text)
		}
		if !e.Until.IsZero() && (e.Until.Before(noon) || e.Until.After(noon.Add(LongestWait))) {
			t.Errorf("until %v is in the past, or too far ahead", e.Until)
		}
	})
}

func TestRedirectErrorSaysWhy(t *testing.T) {
	got := []string{
		(&RedirectError{From: "https://a", To: "https://b", Status: 302}).Error(),
		(&RedirectError{From: "https://a", To: "https://a", Status: 302}).Error(),
	}
	want := []string{
		"https://a redirects (302) to https://b: not followed, since the credential is for the first host only",
		"https://a redirects (302) within itself: not followed, since it goes in circles or would lose the request's body",
	}
	testkit.Diff(t, got, want)
}
