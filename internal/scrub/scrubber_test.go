package scrub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// Of the shapes that GitHub hands out.
var (
	shortToken  = "ghs_" + strings.Repeat("aB3", 12)
	dottedToken = "ghs_1234567_eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJ" + strings.Repeat("a-B_3", 70) + "." +
		strings.Repeat("c-9_", 21) + "c9"
	pattern = strings.Repeat("0123456789abcdef", 4)
)

const canary = "canary-a1b2c3d4e5f6a7b8c9d0"

func TestScrubsByValue(t *testing.T) {
	for _, value := range []string{
		shortToken, dottedToken, canary, pattern,
		`wéb"höok\secret/<&>+= 100%`, "line\nline\ttab", "bell\a\x01\x7f", "a:b@c;d,e&f g", "é<\x01>", "four", "日本語の秘密",
	} {
		html := testkit.Must(json.Marshal(value))(t)
		var plain strings.Builder
		encoder := json.NewEncoder(&plain)
		encoder.SetEscapeHTML(false)
		testkit.OK(t, encoder.Encode(value))
		request := &http.Request{Header: http.Header{}}
		request.SetBasicAuth("x-access-token", value)
		texts := map[string]string{
			"plain":        value,
			"query":        url.Values{"token": {value}}.Encode(),
			"query, lower": regexp.MustCompile("%..").ReplaceAllStringFunc(url.QueryEscape(value), strings.ToLower),
			"path":         "/" + url.PathEscape(value) + "/",
			"userinfo": (&url.URL{Scheme: "https", Host: "github.com", Path: "/acme/site",
				User: url.UserPassword("x-access-token", value)}).String(),
			"JSON":           string(html),
			"JSON, not HTML": plain.String(),
			"Go":             fmt.Sprintf("%q", value),
			"Go, ASCII":      fmt.Sprintf("%+q", value),
			"Basic":          request.Header.Get("Authorization"),
			"Bearer":         "authorization: bearer " + value,
			"twice in a row": value + value,
		}
		for user := range 7 { // more than three, for all offsets and lengths of the rest
			pair := strings.Repeat("u", user) + value + strings.Repeat("v", user/2)
			texts[fmt.Sprintf("base64, %d before", user)] = base64.StdEncoding.EncodeToString([]byte(pair))
			texts[fmt.Sprintf("base64url, %d before", user)] = base64.RawURLEncoding.EncodeToString([]byte(pair))
		}
		scrubber := New(secret.New("another-secret"), secret.New(value))
		for how, text := range texts {
			t.Run(fmt.Sprintf("%.8s/%s", value, how), func(t *testing.T) {
				got := scrubber.String("before " + text + " after")
				if strings.Count(got, secret.Placeholder) != 1 || !strings.HasPrefix(got, "before ") ||
					!strings.HasSuffix(got, " after") {
					t.Fatalf("%s becomes %s", text, got)
				}
				for _, form := range forms(value) {
					testkit.Lacks(t, got, form)
				}
			})
		}
	}
}

func TestScrubs(t *testing.T) {
	pem := "-----BEGIN RSA PRIVATE KEY-----\n" + strings.Repeat(pattern+"\n", 4) +
		"AAAA==\n-----END RSA PRIVATE KEY-----\n"
	public := strings.ReplaceAll(pem, "RSA PRIVATE", "PUBLIC")
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0.c2lnbmF0-XJl_A"
	const p = secret.Placeholder
	for name, row := range map[string]struct{ text, want string }{
		"nothing":   {"", ""},
		"no secret": {"Cloning into 'site'...\n", "Cloning into 'site'...\n"},
		"commit": {"HEAD is now at 0123456789abcdef0123456789abcdef01234567",
			"HEAD is now at 0123456789abcdef0123456789abcdef01234567"},
		"not UTF-8": {"\xff\xfe" + shortToken + "\x80", "\xff\xfe" + p + "\x80"},
		"token":     {"token=" + shortToken + "&x", "token=" + p + "&x"},
		"token in a URL": {"https://x-access-token:" + shortToken + "@github.com/",
			"https://x-access-token:" + p + "@github.com/"},
		"token behind a letter": {"x" + shortToken, "x" + p},
		"every kind of token": {"ghp_" + pattern + " gho_" + pattern + " ghu_" + pattern + " ghr_" + pattern +
			" github_pat_" + pattern, p + " " + p + " " + p + " " + p + " " + p},
		"dotted token to its end":     {"(" + dottedToken + ")", "(" + p + ")"},
		"token that ends in a hyphen": {shortToken + "- x", p + " x"},
		"35 characters":               {shortToken[:39] + " x", shortToken[:39] + " x"},
		"36 characters":               {shortToken[:40] + " x", p + " x"},
		"prefix in a prefix":          {"ghs_ghs_" + pattern, p},
		"prefix alone":                {"gh ghs ghs_ github_pat", "gh ghs ghs_ github_pat"},
		"JSON Web Token":              {"Bearer " + jwt + "\n", "Bearer " + p + "\n"},
		"unsigned JSON Web Token":     {"eyJhbGciOiJub25lIn0.eyJpc3MiOiIxIn0.", p},
		"JSON in base64":              {"eyJpc3MiOiIxIn0 eyJpc3MiOiIxIn0.x", "eyJpc3MiOiIxIn0 eyJpc3MiOiIxIn0.x"},
		"two dots but no JSON":        {"eyJx.eyJy.z", "eyJx.eyJy.z"},
		"header beyond measure": {"eyJ" + strings.Repeat("a", maxHeader) + ".eyJ",
			"eyJ" + strings.Repeat("a", maxHeader) + ".eyJ"},
		"private key":                {"key:\n" + pem + "x", "key:\n" + p + "\nx"},
		"private key, PKCS#8":        {strings.ReplaceAll(pem, "RSA ", "") + "x", p + "\nx"},
		"private key, PGP":           {strings.ReplaceAll(pem, "KEY-", "KEY BLOCK-") + "x", p + "\nx"},
		"private key in JSON":        {`{"pem":"` + strings.ReplaceAll(pem, "\n", `\n`) + `"}`, `{"pem":"` + p + `\n"}`},
		"private key on one line":    {strings.ReplaceAll(pem, "\n", " ") + "x", p + " x"},
		"private key without blanks": {strings.Join(strings.Fields(pem), "") + "!", p + "!"},
		"encrypted private key": {strings.Replace(pem, "\n",
			"\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A1B\n\n", 1), p + "\n"},
		"two private keys":         {pem + pem, p + "\n" + p + "\n"},
		"private key without END":  {pem[:200] + "; and more", p + "; and more"},
		"END without BEGIN":        {"-----END RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"},
		"public key":               {public, public},
		"public key, then private": {public + pem, public + p + "\n"},
		"dashes":                   {"----- ------- -----BEGIN", "----- ------- -----BEGIN"},
		"label beyond measure": {"-----BEGIN PRIVATE KEY" + strings.Repeat(" A", 30) + "-----!",
			"-----BEGIN PRIVATE KEY" + strings.Repeat(" A", 30) + "-----!"},
		"token and private key":         {shortToken + "\n" + pem, p + "\n" + p + "\n"},
		"redact.Placeholder":            {p + p, p + p},
		"known secret":                  {"a" + canary + "b", "a" + p + "b"},
		"known secret, first half":      {canary[:20], p},
		"known secret, cut off early":   {canary[:minCut-1], canary[:minCut-1]},
		"known secret, half, then more": {canary[:20] + "!", canary[:20] + "!"},
		"known secret in a token":       {"ghs_" + canary + strings.Repeat("x", 40) + ".", p},
		"known secret behind a token":   {shortToken + canary + "!?", p + "!?"},
	} {
		t.Run(name, func(t *testing.T) {
			scrubber := New(secret.New(canary))
			if got := scrubber.String(row.text); got != row.want {
				t.Errorf("%s\nbecomes %s\nwant    %s", row.text, got, row.want)
			}
			for at := range len(row.text) {
				if got := write(t, scrubber, row.text[:at], row.text[at:]); got != row.want {
					t.Fatalf("cut at %d, it becomes %s\nwant %s", at, got, row.want)
				}
			}
		})
	}
}

func TestBlockWithoutEndIsBounded(t *testing.T) {
	text := "-----BEGIN PRIVATE KEY-----" + strings.Repeat("a", maxPEM)
	want := secret.Placeholder + strings.Repeat("a", len("-----BEGIN PRIVATE KEY-----"))
	scrubber := New()
	if got := scrubber.String(text); got != want {
		t.Errorf("%d bytes become %d, want %d", len(text), len(got), len(want))
	}
	if got := write(t, scrubber, text[:100], text[100:maxPEM], text[maxPEM:]); got != want {
		t.Errorf("%d bytes in pieces become %d, want %d", len(text), len(got), len(want))
	}
}

func TestScrubsSecretsThatOverlap(t *testing.T) {
	secrets := []secret.Text{secret.New("abcdef"), secret.New("defghi"), secret.New("cdefg"), secret.New("abcdefghijk")}
	scrubber := New(secrets...)
	slices.Reverse(secrets)
	reversed := New(secrets...)
	for text, want := range map[string]string{
		"-abcdefghi-":   "-" + secret.Placeholder + "-",
		"-abcdefg-":     "-" + secret.Placeholder + "-",
		"-cdefghi-":     "-" + secret.Placeholder + "-",
		"-abcdefghijk-": "-" + secret.Placeholder + "-",
		"-abcde-":       "-abcde-",
	} {
		testkit.Equal(t, scrubber.String(text), want, "%s becomes", text)
		testkit.Equal(t, reversed.String(text), want, "with the secrets reversed, %s becomes", text)
	}
}

func TestShortSecretsAreLeftOut(t *testing.T) {
	scrubber := New(secret.New(""), secret.New("a"), secret.New("abc"), secret.Text{})
	testkit.Equal(t, scrubber.String("abcabc"), "abcabc", "becomes")
}

func TestZeroScrubberKnowsShapes(t *testing.T) {
	var scrubber Scrubber
	testkit.Equal(t, scrubber.String("a "+dottedToken), "a "+secret.Placeholder, "becomes")
}

func TestAddConcurrently(t *testing.T) {
	scrubber := New()
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for j := range 8 {
				value := fmt.Sprintf("secret-%d-%d", i, j)
				scrubber.Add(secret.New(value))
				scrubber.Add(secret.New(value))
				testkit.Equal(t, scrubber.String(value), secret.Placeholder, "%s becomes", value)
			}
		})
	}
	group.Wait()
	testkit.Equal(t, len(scrubber.known.Load().secrets), 16*8, "secrets are known")
}

func TestNothingPrintsAScrubber(t *testing.T) {
	scrubber := New(secret.New(canary))
	var out strings.Builder
	writer := scrubber.Writer(&out)
	testkit.Must(writer.Write([]byte(canary[:20])))(t)
	type holder struct {
		scrubber *Scrubber
		writer   *Writer
		Any      []any
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		output := fmt.Sprintf(strings.Repeat(format+"\n", 5), scrubber, writer, *writer,
			holder{scrubber, writer, []any{scrubber, writer}}, &holder{scrubber, writer, nil})
		for _, form := range []string{canary[:8], fmt.Sprintf("%x", canary[:8]), fmt.Sprintf("%d", []byte(canary[:8])),
			strings.Trim(fmt.Sprintf("%#v", []byte(canary[:8])), "[]byte{}")} {
			if strings.Contains(output, form) {
				t.Errorf("%s prints a secret: %s", format, output)
			}
		}
	}
}

// A process that runs for months is told of a token an hour, for each of its repositories.
func TestForgetsWhatIsNoSecretAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scrubber := New(secret.New(canary))
		for hour := range 100 {
			for range 3 {
				scrubber.AddUntil(secret.New(fmt.Sprintf("token of hour %d", hour)), time.Now().Add(time.Hour))
			}
			time.Sleep(30 * time.Minute)
			if text := scrubber.String(fmt.Sprintf("%s, token of hour %d", canary, hour)); text != secret.Placeholder+", "+
				secret.Placeholder {
				t.Fatalf("after half of its time: %s", text)
			}
			time.Sleep(31 * time.Minute)
		}
		testkit.Equal(t, len(scrubber.known.Load().secrets), 2, "secrets are known after 100 hours")
		scrubber.Add(secret.New("token of hour 99")) // for ever, by now
		time.Sleep(24 * time.Hour)
		scrubber.AddUntil(secret.New("token of hour 99"), time.Now().Add(time.Hour))
		time.Sleep(24 * time.Hour)
		scrubber.AddUntil(secret.New("another"), time.Now().Add(time.Hour))
		if text := scrubber.String("token of hour 99"); text != secret.Placeholder {
			t.Error("what is secret for ever was forgotten")
		}
	})
}
