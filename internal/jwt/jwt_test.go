package jwt_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	gojwt "github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/internal/jwt"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// local signs with the test key.
type local struct{ key *rsa.PrivateKey }

func (l local) Sign(_ context.Context, message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	return rsa.SignPKCS1v15(nil, l.key, crypto.SHA256, digest[:])
}

// failing is a Signer that fails.
type failing struct{ err error }

func (s failing) Sign(context.Context, []byte) ([]byte, error) { return nil, s.err }

// waiting is a Signer that waits for its context to end.
type waiting struct{}

func (waiting) Sign(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// signed is a JWT made at now.
func signed(t *testing.T, issuer string, now time.Time) (text string, expires time.Time) {
	t.Helper()
	secret, expires := testkit.Must2(jwt.Sign(t.Context(), local{testkit.Key(t)}, issuer, now))(t)
	return secret.Reveal(), expires
}

// part decodes one of the parts of a JWT.
func part(t *testing.T, text string, n int) map[string]json.RawMessage {
	t.Helper()
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		t.Fatalf("a JWT has three parts, this has %d", len(parts))
	}
	decoded := testkit.Must(base64.RawURLEncoding.DecodeString(parts[n]))(t)
	var fields map[string]json.RawMessage
	testkit.OK(t, json.Unmarshal(decoded, &fields))
	return fields
}

func TestClaimsAreWholeSecondsBackdatedAndWellInsideTenMinutes(t *testing.T) {
	// A time with a fraction, since GitHub refuses fractions in iat and exp.
	now := time.Date(2026, 11, 22, 10, 0, 0, 999_999_999, time.UTC)
	for _, issuer := range []string{"Iv23liABCDEFGHIJ1234", "12345"} {
		text, expires := signed(t, issuer, now)
		want := map[string]json.RawMessage{
			"iss": json.RawMessage(`"` + issuer + `"`),
			"iat": json.RawMessage("1795341540"), // 09:59:00
			"exp": json.RawMessage("1795341900"), // 10:05:00
		}
		if diff := cmp.Diff(want, part(t, text, 1)); diff != "" {
			t.Errorf("claims of %s (-want +got):\n%s", issuer, diff)
		}
		if want := time.Date(2026, 11, 22, 10, 5, 0, 0, time.UTC); !expires.Equal(want) {
			t.Errorf("expiry %v, want %v: the same second as exp", expires, want)
		}
		header := map[string]json.RawMessage{"alg": json.RawMessage(`"RS256"`), "typ": json.RawMessage(`"JWT"`)}
		testkit.Diff(t, part(t, text, 0), header)
	}
}

func TestRoomForAClockThatIsMinutesOff(t *testing.T) {
	if jwt.Backdate < 60*time.Second {
		t.Errorf("iat is %s back; GitHub advises 60 s", jwt.Backdate)
	}
	const most = 10 * time.Minute
	if room := most - jwt.Life; room < 2*time.Minute || jwt.Life < 2*time.Minute {
		t.Errorf("a life of %s leaves %s to GitHub's ten minutes", jwt.Life, room)
	}
}

func TestGolangJWTAcceptsIt(t *testing.T) {
	now := time.Now()
	text, _ := signed(t, "Iv23liABCDEFGHIJ1234", now)
	key := func(*gojwt.Token) (any, error) { return &testkit.Key(t).PublicKey, nil }
	parser := gojwt.NewParser(gojwt.WithValidMethods([]string{"RS256"}), gojwt.WithIssuedAt(),
		gojwt.WithExpirationRequired(),
		gojwt.WithIssuer("Iv23liABCDEFGHIJ1234"), gojwt.WithTimeFunc(func() time.Time { return now }))
	testkit.OK(t, testkit.ErrorOf(parser.Parse(text, key)), "golang-jwt")
	head, rest, _ := strings.Cut(text, ".")
	if _, err := parser.Parse(head+"."+strings.Replace(rest, rest[:4], "AAAA", 1), key); err == nil {
		t.Error("golang-jwt accepts a JWT that was tampered with: this test proves nothing")
	}
}

func TestGoJoseAcceptsIt(t *testing.T) {
	now := time.Now()
	text, _ := signed(t, "12345", now)
	parsed := testkit.Must(josejwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256}))(t)
	var claims josejwt.Claims
	testkit.OK(t, parsed.Claims(&testkit.Key(t).PublicKey, &claims), "go-jose")
	testkit.OK(t, claims.ValidateWithLeeway(josejwt.Expected{Issuer: "12345", Time: now}, 0), "go-jose")
}

func TestSignersErrorIsWrappedAndNoJWTComes(t *testing.T) {
	cause := errors.New("the token was pulled out")
	secret, _, err := jwt.Sign(t.Context(), failing{cause}, "12345", time.Now())
	testkit.ErrorIs(t, err, cause)
	if !secret.IsZero() {
		t.Error("a JWT came with the error")
	}
}

func TestSignerGetsTheCallersContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := jwt.Sign(ctx, waiting{}, "12345", time.Now()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}
