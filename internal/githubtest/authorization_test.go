package githubtest_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestJWT(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	keyless := gh.AddApp(githubtest.AppOptions{})
	good := claims(app)
	now := time.Now().Unix()
	rs256 := func(c map[string]any) string { return "Bearer " + sign(t, testkit.Key(t), "RS256", c) }
	const (
		notDecoded = "A JSON web token could not be decoded"
		past       = "'Expiration time' claim ('exp') must be a numeric value representing the future time " +
			"at which the assertion expires"
		tooFar    = "'Expiration time' claim ('exp') is too far in the future"
		issuedAt  = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
		noInteger = "'Issuer' claim ('iss') must be an Integer"
		noIssuer  = "Missing 'issuer' claim ('iss') in assertion"
	)
	for _, test := range []struct {
		name          string
		authorization string
		status        int
		message       string
	}{
		{"client ID", rs256(good), 200, ""},
		{"App ID as a number", rs256(with(good, "iss", app.ID)), 200, ""},
		{"App ID as a string", rs256(with(good, "iss", strconv.FormatInt(app.ID, 10))), 200, ""},
		{"no iat in the past", rs256(with(good, "iat", now)), 200, ""},
		{"lower case scheme", strings.Replace(rs256(good), "Bearer", "bearer", 1), 200, ""},
		{"nothing", "", 401, notDecoded},
		{"a text", "Bearer something", 401, notDecoded},
		{"three parts that are no JSON", "Bearer eyJ.eyJ.eyJ", 401, notDecoded},
		{"Basic", "Basic eDp5", 401, notDecoded},
		{"token scheme", strings.Replace(rs256(good), "Bearer", "token", 1), 401, "Bad credentials"},
		{"another key", "Bearer " + sign(t, testkit.NthKey(t, 1), "RS256", good), 401, notDecoded},
		{"RS512", "Bearer " + sign(t, testkit.Key(t), "RS512", good), 401, notDecoded},
		{"none", "Bearer " + sign(t, testkit.Key(t), "none", good), 401, notDecoded},
		{"another App's client ID", rs256(with(good, "iss", keyless.ClientID)), 401,
			"Integration must generate a public key"},
		{"no iss", rs256(with(good, "iss", nil)), 401, noIssuer},
		{"client ID with something after it", rs256(with(good, "iss", app.ClientID+"\n")), 401, noInteger},
		{"iss with a fraction", rs256(with(good, "iss", 1.5)), 401, noInteger},
		{"iss of no App", rs256(with(good, "iss", 42)), 404, "Integration not found"},
		{"no exp", rs256(with(good, "exp", nil)), 401, past},
		{"exp past", rs256(with(good, "exp", now-1)), 401, past},
		{"exp with a fraction", rs256(with(good, "exp", float64(now)+60.5)), 401, past},
		{"exp a string", rs256(with(good, "exp", "soon")), 401, past},
		{"exp too far", rs256(with(good, "exp", now+660)), 401, tooFar},
		{"no iat", rs256(with(good, "iat", nil)), 401, issuedAt},
		{"iat in the future", rs256(with(good, "iat", now+30)), 401, issuedAt},
		{"iat with a fraction", rs256(with(good, "iat", float64(now)-60.5)), 401, issuedAt},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := ask(t, gh, "GET", "/app", test.authorization, "")
			testkit.Equal(t, r.status, test.status)
			testkit.Equal(t, r.message(), test.message)
		})
	}
}

func TestKeyRotation(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	app.AddKey(&testkit.NthKey(t, 1).PublicKey)
	status := func(key int) int {
		return ask(t, gh, "GET", "/app", "Bearer "+sign(t, testkit.NthKey(t, key), "RS256", claims(app)), "").status
	}
	testkit.Equal(t, status(0), 200)
	testkit.Equal(t, status(1), 200)
	app.RemoveKey(&testkit.Key(t).PublicKey)
	testkit.Equal(t, status(0), 401)
	testkit.Equal(t, status(1), 200)
	key := testkit.Must(app.RotateKey())(t)
	testkit.Equal(t, status(1), 401, "a rotated key is still accepted")
	if r := ask(t, gh, "GET", "/app", "Bearer "+sign(t, key, "RS256", claims(app)), ""); r.status != 200 {
		t.Errorf("the new key is refused: %s", r.text)
	}
}

func TestClockOffsetMovesTheJWTChecksAndTheDate(t *testing.T) {
	gh := newGitHub(t)
	app := newApp(t, gh, githubtest.AppOptions{})
	for offset, message := range map[time.Duration]string{
		0: "", time.Minute: "", 6 * time.Minute: "must be a numeric value",
		-2 * time.Minute: "must be an Integer", -time.Hour: "too far",
	} {
		gh.SetClockOffset(offset)
		r := ask(t, gh, "GET", "/app", bearer(t, app), "")
		if !strings.Contains(r.message(), message) || (message == "") != (r.status == 200) {
			t.Errorf("offset %v: got %d %q, want %q", offset, r.status, r.message(), message)
		}
		date := testkit.Must(time.Parse(time.RFC1123, r.header.Get("Date")))(t)
		if off := time.Until(date) - offset; off.Abs() > 30*time.Second {
			t.Errorf("offset %v: the Date header is off by %v", offset, off)
		}
	}
}
