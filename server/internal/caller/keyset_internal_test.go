package caller

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ghapp-dev/ghapp/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// published is a key and the set that has it.
type published struct {
	id  string
	key *ecdsa.PrivateKey
}

func newPublished(t testing.TB, id string) published {
	return published{id, testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)}
}

func (p published) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: p.key.Public(), KeyID: p.id, Algorithm: "ES256", Use: "sig"}
}

func (p published) sign(t testing.TB, payload []byte) string {
	signer := testkit.Must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256,
		Key: jose.JSONWebKey{Key: p.key, KeyID: p.id}}, nil))(t)
	signed := testkit.Must(signer.Sign(payload))(t)
	return testkit.Must(signed.CompactSerialize())(t)
}

func TestRetiredKeyIsBelievedForAnHourAndAnUnreachableIssuersForTwelve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, young := newPublished(t, "old"), newPublished(t, "young")
		now, fetches, down := []jose.JSONWebKey{old.jwk()}, 0, error(nil)
		set := &keySet{fetch: func(context.Context) ([]jose.JSONWebKey, error) {
			time.Sleep(time.Second)
			fetches++
			return now, down
		}}
		verify := func(p published) error {
			return testkit.ErrorOf(set.VerifySignature(t.Context(), p.sign(t, []byte("{}"))))
		}
		testkit.OK(t, verify(old))
		now = []jose.JSONWebKey{young.jwk()}
		testkit.Fails(t, verify(young), "within the minute nobody asks again")
		testkit.Equal(t, fetches, 1)
		time.Sleep(refreshEvery)
		testkit.OK(t, verify(young), "a key that is new")
		testkit.Fails(t, verify(old), "a key that is retired")

		time.Sleep(renewAfter)
		testkit.OK(t, verify(young))
		testkit.Equal(t, fetches, 2, "it is asked while this is answered")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		testkit.Equal(t, fetches, 3, "it was asked")

		time.Sleep(freshFor)
		down = errors.New("down")
		testkit.OK(t, verify(young), "the issuer is down")
		testkit.Equal(t, fetches, 4)
		testkit.OK(t, verify(young))
		testkit.Equal(t, fetches, 4, "a failure is not repeated at once")
		time.Sleep(staleFor)
		testkit.ErrorIs(t, verify(young), ErrIssuerUnreachable)
		down = nil
		time.Sleep(retryEvery)
		testkit.OK(t, verify(young), "the issuer is back")
	})
}

func TestWaitForAnIssuerIsSharedAndEndsWithEachWaitersOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, fetches := newPublished(t, "a"), 0
		set := &keySet{fetch: func(ctx context.Context) ([]jose.JSONWebKey, error) {
			fetches++
			time.Sleep(5 * time.Second)
			return []jose.JSONWebKey{p.jwk()}, ctx.Err()
		}}
		token := p.sign(t, []byte("{}"))
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		results := make(chan error, 2)
		go func() { results <- testkit.ErrorOf(set.VerifySignature(first, token)) }()
		synctest.Wait()
		go func() { results <- testkit.ErrorOf(set.VerifySignature(t.Context(), token)) }()
		testkit.ErrorIs(t, <-results, context.DeadlineExceeded)
		testkit.OK(t, <-results, "who waits on")
		testkit.Equal(t, fetches, 1)
	})
}

func TestPanicOverAnIssuersAnswerEndsInAnError(t *testing.T) {
	t.Parallel()
	p := newPublished(t, "a")
	set := &keySet{fetch: func(context.Context) ([]jose.JSONWebKey, error) { panic("a text") }}
	_, err := set.VerifySignature(t.Context(), p.sign(t, []byte("{}")))
	testkit.ErrorIs(t, err, ErrIssuerUnreachable)
	testkit.Lacks(t, err.Error(), "a text")
}

// Case 29: a byte a second.
func TestIssuerThatDripsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	drips := githubtest.NewIssuer()
	server := httptest.NewServer(drips)
	defer server.Close()
	drips.SetURL(server.URL)
	drips.SetFault(githubtest.IssuerFault{Drip: time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	issuer := Issuer{URL: server.URL, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	testkit.ErrorIs(t, testkit.ErrorOf(issuer.fetchKeys(ctx)), context.DeadlineExceeded)
}

func TestKeysThatAreNotForStrongSignaturesAreLeftOut(t *testing.T) {
	t.Parallel()
	good := newPublished(t, "good").jwk()
	encryption, nameless, secretKey := good, good, jose.JSONWebKey{Key: []byte("secret"), KeyID: "oct"}
	encryption.Use, nameless.KeyID = "enc", ""
	var list []json.RawMessage
	for _, key := range []jose.JSONWebKey{encryption, nameless, secretKey} {
		list = append(list, testkit.Must(json.Marshal(key))(t))
	}
	list = append(list, []byte(`{"kty":"RSA","kid":"short","n":"AQAB","e":"AQAB"}`), []byte(`7`),
		[]byte(`{"kty":"OKP","crv":"X448"}`))
	testkit.Fails(t, testkit.ErrorOf(usableKeys(list)))
	keys := testkit.Must(usableKeys(append(list, testkit.Must(json.Marshal(good))(t))))(t)
	testkit.Equal(t, len(keys), 1)
}

// FuzzClaims has an issuer that signs anything: whatever is taken is for us, in time, of one
// reading, and has a subject.
func FuzzClaims(f *testing.F) {
	const issuer, audience = "https://issuer.example.com", "https://ghapp.example.com"
	key := newPublished(f, "a")
	v := testkit.Must(New(Config{Audience: audience, Issuers: []Issuer{{URL: issuer}}}))(f)
	v.issuers[issuer].fetch = func(context.Context) ([]jose.JSONWebKey, error) { return []jose.JSONWebKey{key.jwk()}, nil }
	begin := `{"iss":"` + issuer + `","aud":"` + audience + `","sub":"s","exp":4102444800`
	for _, seed := range []string{
		begin + `}`, begin + `,"jti":"a","nbf":1,"iat":1.5}`, begin + `,"aud":"other"}`, begin + `,"AUD":["other"]}`,
		begin + `,"a":{"b":[1,2,{"c":null}]}}`, begin + `} {}`, begin + `,"exp":"4102444800"}`, ` ` + begin + `}`,
		`[]`, `{"iss":1}`, begin + `,"x":"` + "\xff" + `"}`, begin + `,"exp":1e400}`, begin + `,"a":[[[[[[[[[[]]]]]]]]]]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, err := v.Verify(t.Context(), secret.New(key.sign(t, payload)))
		if err != nil {
			testkit.ErrorAs[*Refused](t, err)
			return
		}
		var plain map[string]any
		testkit.OK(t, json.Unmarshal(payload, &plain))
		testkit.Diff(t, c.Claims, plain)
		list, _ := plain["aud"].([]any)
		if plain["aud"] != any(audience) && (len(list) != 1 || list[0] != any(audience)) {
			t.Errorf("taken for the audience %v", plain["aud"])
		}
		if c.Issuer != issuer || c.Subject == "" || !c.Expires.After(time.Now().Add(-leeway)) {
			t.Errorf("taken: %+v", c)
		}
	})
}
