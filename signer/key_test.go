package signer

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/google/go-cmp/cmp"
)

// generate makes RSA keys once for all tests: that is slow under -race.
func generate(bits int) func() *rsa.PrivateKey {
	return sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		return key
	})
}

var (
	rsaKey   = generate(2048)
	otherKey = generate(2048)
)

func pemPKCS1(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func pemPKCS8(t testing.TB, key any) string {
	t.Helper()
	der := testkit.Must(x509.MarshalPKCS8PrivateKey(key))(t)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func mustParse(t testing.TB, text string) *Key {
	t.Helper()
	key := testkit.Must(Parse([]byte(text)))(t)
	return key
}

func TestSignIsRS256OfTheMessage(t *testing.T) {
	key := mustParse(t, pemPKCS1(rsaKey()))
	for _, message := range []string{"", "header.payload", strings.Repeat("a", 1<<16)} {
		signature := testkit.Must(key.Sign(t.Context(), []byte(message)))(t)
		digest := sha256.Sum256([]byte(message))
		if err := rsa.VerifyPKCS1v15(key.Public().(*rsa.PublicKey), crypto.SHA256, digest[:], signature); err != nil {
			t.Errorf("a signature of %d bytes does not verify: %v", len(message), err)
		}
	}
}

func TestSignObeysItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	signature, err := mustParse(t, pemPKCS1(rsaKey())).Sign(ctx, []byte("message"))
	if signature != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Sign with an ended context = %d bytes, %v", len(signature), err)
	}
}

func TestSignConcurrently(t *testing.T) {
	key := mustParse(t, pemPKCS1(rsaKey()))
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if _, err := key.Sign(t.Context(), []byte("message")); err != nil {
				t.Error(err)
			}
			_ = key.String()
		})
	}
	group.Wait()
}

func TestZeroKey(t *testing.T) {
	var key Key
	testkit.Fails(t, testkit.ErrorOf(key.Sign(t.Context(), nil)), "the zero Key signs")
	if key.Public() != nil || key.Fingerprint() != "" || key.String() != "" {
		t.Errorf("the zero Key has a public key %v, a fingerprint %q", key.Public(), key.Fingerprint())
	}
}

// The expected value was computed by the openssl command in GitHub's page
// "Managing private keys for GitHub Apps".
func TestFingerprintIsWhatOpensslComputes(t *testing.T) {
	want := "SHA256:" + strings.TrimSpace(string(testdata(t)["rsa.fingerprint"]))
	for _, name := range []string{"rsa.pkcs1", "rsa.pkcs8", "bundle"} {
		key := mustParse(t, string(testdata(t)[name]))
		testkit.Equal(t, key.Fingerprint(), want, "fingerprint of %s", name)
		testkit.Equal(t, Fingerprint(key.Public().(*rsa.PublicKey)), want, "Fingerprint of the public key of %s", name)
	}
}

func TestFingerprintOfNothing(t *testing.T) {
	for _, public := range []*rsa.PublicKey{nil, {}} {
		testkit.Equal(t, Fingerprint(public), "", "Fingerprint(%v)", public)
	}
}

// canaries are forms in which a part of a private key might show up in a text.
func canaries(key *rsa.PrivateKey) []string {
	var found []string
	for _, n := range []*big.Int{key.D, key.Primes[0], key.Primes[1], key.Precomputed.Dp,
		key.Precomputed.Dq, key.Precomputed.Qinv} {
		for _, format := range []string{"%d", "%x", "%X"} {
			found = append(found, fmt.Sprintf(format, n))
		}
	}
	for line := range strings.Lines(pemPKCS1(key)) {
		if !strings.HasPrefix(line, "-----") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func TestNothingPrintsAKey(t *testing.T) {
	key := mustParse(t, pemPKCS1(rsaKey()))
	holder := struct {
		Key     *Key
		Value   Key
		private *Key
		value   Key
	}{key, *key, key, *key}

	outputs := map[string]string{}
	for _, verb := range "vTtbcdoOqxXUeEfFgGsp" {
		for _, flags := range []string{"", "+", "#", " ", "0", "-80", ".3"} {
			format := "%" + flags + string(verb)
			outputs[format] = fmt.Sprintf(format+format+format+format, key, *key, holder, &holder)
		}
	}
	for name, value := range map[string]any{"pointer": key, "value": *key, "holder": holder} {
		text := testkit.Must(json.Marshal(value))(t)
		outputs["json "+name] = string(text)

		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("message", "key", value, slog.Group("group", "key", value))
		slog.New(slog.NewJSONHandler(&log, nil)).Info("message", "key", value, slog.Group("group", "key", value))
		outputs["slog "+name] = log.String()

		var encoded bytes.Buffer
		_ = gob.NewEncoder(&encoded).Encode(value) // an error is fine, and what it wrote must be clean
		outputs["gob "+name] = encoded.String()
	}
	type document struct{ Key *Key }
	text := testkit.Must(xml.Marshal(document{key}))(t)
	outputs["xml"] = string(text)
	// Fails at the unexported fields, after a look at all of them.
	func() {
		defer func() { outputs["cmp"] = fmt.Sprint(recover()) }()
		_ = cmp.Diff(holder, holder)
	}()
	outputs["cmp, fields allowed"] = cmp.Diff(*key, *mustParse(t, pemPKCS1(otherKey())), cmp.AllowUnexported(Key{}))

	canaries := canaries(rsaKey())
	for how, output := range outputs {
		for _, canary := range canaries {
			if strings.Contains(output, canary) {
				t.Errorf("%s prints a part of the private key", how)
			}
		}
	}
	for format, want := range map[string]string{
		"%v": key.Fingerprint(), "%+v": key.Fingerprint(), "%s": key.Fingerprint(),
		"%d": key.Fingerprint(), "%x": key.Fingerprint(),
		"%#v":  "signer.Key(" + key.Fingerprint() + ")",
		"%60s": fmt.Sprintf("%60s", key.Fingerprint()),
	} {
		testkit.Equal(t, fmt.Sprintf(format, key), want, "%s", format)
	}
	if got, want := outputs["json pointer"], `"`+key.Fingerprint()+`"`; got != want {
		t.Errorf("JSON = %s, want %s", got, want)
	}
}

// A printer that follows every pointer, exported or not, finds the public half and
// no more.
func TestNoFieldOfKeyHoldsThePrivateNumbers(t *testing.T) {
	key := mustParse(t, pemPKCS1(rsaKey()))
	if found := numbers(reflect.ValueOf(key)); !slices.ContainsFunc(found,
		func(n *big.Int) bool { return n.Cmp(rsaKey().N) == 0 }) {
		t.Fatal("the walk does not even find the modulus")
	}
	private := []*big.Int{rsaKey().D, rsaKey().Primes[0], rsaKey().Primes[1], rsaKey().Precomputed.Dp,
		rsaKey().Precomputed.Dq, rsaKey().Precomputed.Qinv}
	for _, n := range numbers(reflect.ValueOf(key)) {
		if slices.ContainsFunc(private, func(p *big.Int) bool { return n.Cmp(p) == 0 }) {
			t.Error("a field holds a private number")
		}
	}
}

// numbers returns every big number reachable from v.
func numbers(v reflect.Value) []*big.Int {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return numbers(v.Elem())
	case reflect.Struct:
		var found []*big.Int
		for i := range v.NumField() {
			found = append(found, numbers(v.Field(i))...)
		}
		return found
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint {
			words := make([]big.Word, v.Len())
			for i := range words {
				words[i] = big.Word(v.Index(i).Uint())
			}
			return []*big.Int{new(big.Int).SetBits(words)}
		}
		var found []*big.Int
		for i := range v.Len() {
			found = append(found, numbers(v.Index(i))...)
		}
		return found
	}
	return nil
}

func wrapped(data []byte, width int) string {
	var b strings.Builder
	text := base64.StdEncoding.EncodeToString(data)
	for len(text) > width {
		b.WriteString(text[:width] + "\n")
		text = text[width:]
	}
	return b.String() + text + "\n"
}
