package signer

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// testdata returns what testdata/make.sh made, by name.
func testdata(t testing.TB) map[string][]byte {
	t.Helper()
	paths := testkit.Must(filepath.Glob("testdata/*.b64"))(t)
	files := map[string][]byte{}
	for _, path := range paths {
		text := testkit.Must(os.ReadFile(path))(t)
		data, err := base64.StdEncoding.DecodeString(string(text))
		testkit.OK(t, err, "%s", path)
		files[strings.TrimSuffix(filepath.Base(path), ".b64")] = data
	}
	if len(files) == 0 {
		t.Fatal("there is no test data")
	}
	return files
}

var lineBreaks = strings.NewReplacer("\n", `\n`)

// mendable are the things that happen to PEM on its way.
var mendable = map[string]func(string) string{
	"as it is":           func(s string) string { return s },
	"no last line break": func(s string) string { return strings.TrimSpace(s) },
	"escaped":            func(s string) string { return lineBreaks.Replace(s) },
	"escaped, last lost": func(s string) string { return lineBreaks.Replace(strings.TrimSpace(s)) },
	"escaped twice":      func(s string) string { return strings.ReplaceAll(s, "\n", `\\n`) },
	"escaped CRLF":       func(s string) string { return strings.ReplaceAll(s, "\n", `\r\n`) },
	"escaped and broken": func(s string) string { return strings.ReplaceAll(s, "\n", "\\n\n") },
	"escaped code point": func(s string) string { return strings.ReplaceAll(s, "\n", `\u000a`) },
	"continued lines":    func(s string) string { return strings.ReplaceAll(s, "\n", "\\\n") },
	"JSON":               func(s string) string { text, _ := json.Marshal(s); return string(text) },
	"JSON twice": func(s string) string {
		text, _ := json.Marshal(s)
		text, _ = json.Marshal(string(text))
		return string(text)
	},
	"JSON object": func(s string) string {
		text, _ := json.Marshal(map[string]any{"id": 1, "pem": s})
		return string(text)
	},
	"slashes escaped":      func(s string) string { return strings.ReplaceAll(lineBreaks.Replace(s), "/", `\/`) },
	"equals signs escaped": func(s string) string { return strings.ReplaceAll(s, "=", `\u003d`) },
	"CRLF":                 func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
	"CR":                   func(s string) string { return strings.ReplaceAll(s, "\n", "\r") },
	"empty lines":          func(s string) string { return strings.ReplaceAll(s, "\n", "\n\n") },
	"double quotes":        func(s string) string { return `"` + s + `"` },
	"single quotes":        func(s string) string { return "'" + s + "'" },
	"quoted and escaped":   func(s string) string { return `"` + lineBreaks.Replace(s) + `"` },
	"each line quoted": func(s string) string {
		return `"` + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\"\n\"") + `"`
	},
	"leading blanks":        func(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") },
	"escaped tabs":          func(s string) string { return strings.ReplaceAll(s, "\n", `\n\t`) },
	"leading tabs":          func(s string) string { return "\t" + strings.ReplaceAll(s, "\n", "\n\t") },
	"trailing blanks":       func(s string) string { return strings.ReplaceAll(s, "\n", "  \n") },
	"no-break spaces":       func(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") },
	"zero-width characters": func(s string) string { return strings.ReplaceAll(s, "\n", "\u200b\n\u2060") },
	"invisible in armour":   func(s string) string { return strings.ReplaceAll(s, " ", " \u200d") },
	"headers":               withHeader,
	"headers, CR":           func(s string) string { return strings.ReplaceAll(withHeader(s), "\n", "\r") },
	"byte order mark":       func(s string) string { return "\ufeff" + s },
	"UTF-16, little endian": func(s string) string { return utf16Text(s, binary.LittleEndian) },
	"UTF-16, big endian":    func(s string) string { return utf16Text(s, binary.BigEndian) },
	"one line":              func(s string) string { return strings.ReplaceAll(s, "\n", " ") },
	"no line breaks":        func(s string) string { return strings.ReplaceAll(s, "\n", "") },
	"no blanks":             func(s string) string { return strings.Join(strings.Fields(s), "") },
	"no padding":            func(s string) string { return strings.ReplaceAll(s, "=", "") },
	"base64":                func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64, unpadded":      func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64url":             func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64url, unpadded":   func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64, wrapped":       func(s string) string { return wrapped([]byte(s), 76) },
	"base64, escaped":       func(s string) string { return lineBreaks.Replace(wrapped([]byte(s), 76)) },
	"base64, quoted":        func(s string) string { return `"` + base64.StdEncoding.EncodeToString([]byte(s)) + `"` },
	"base64 of escaped": func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(lineBreaks.Replace(s)))
	},
	"base64 of CRLF":   func(s string) string { return wrapped([]byte(strings.ReplaceAll(s, "\n", "\r\n")), 64) },
	"base64 of UTF-16": func(s string) string { return wrapped([]byte(utf16Text(s, binary.LittleEndian)), 64) },
	"base64 of base64": func(s string) string { return wrapped([]byte(wrapped([]byte(s), 76)), 76) },
	"text before":      func(s string) string { return "Bag Attributes\n    friendlyName: app\nKey: <none>\n" + s },
	"text after":       func(s string) string { return s + "and that was the key: done\n" },
	".env file":        func(s string) string { return "APP_ID=1\nKEY=\"" + lineBreaks.Replace(s) + "\"\nOTHER=2\n" },
	"YAML":             func(s string) string { return "key: |\n  " + strings.ReplaceAll(s, "\n", "\n  ") },
	"twice":            func(s string) string { return s + s },
}

func withHeader(s string) string {
	return strings.Replace(s, "KEY-----\n", "KEY-----\nComment: app\n\n", 1)
}

func utf16Text(s string, order binary.AppendByteOrder) string {
	var text []byte
	for _, unit := range utf16.Encode([]rune("\ufeff" + s)) {
		text = order.AppendUint16(text, unit)
	}
	return string(text)
}

func TestParseMends(t *testing.T) {
	want := Fingerprint(&rsaKey().PublicKey)
	forms := map[string]string{"PKCS#1": pemPKCS1(rsaKey()), "PKCS#8": pemPKCS8(t, rsaKey())}
	for form, text := range forms {
		for name, mangle := range mendable {
			t.Run(form+"/"+name, func(t *testing.T) {
				key := testkit.Must(Parse([]byte(mangle(text))))(t)
				testkit.Equal(t, key.Fingerprint(), want, "fingerprint")
			})
		}
	}
}

func TestParseMendsEveryPairOfMishaps(t *testing.T) {
	text := pemPKCS1(rsaKey())
	want := Fingerprint(&rsaKey().PublicKey)
	// Each is harmless after any other; base64 and UTF-16 hide what comes after.
	for _, second := range []string{"escaped", "double quotes", "one line", "base64url"} {
		for first, mangle := range mendable {
			if strings.Contains(first, "UTF-16,") && !strings.HasPrefix(second, "base64") {
				continue // no tool writes ASCII into UTF-16
			}
			if strings.HasPrefix(first, "headers") && second != "double quotes" && second != "base64url" {
				continue // headers need their lines
			}
			if first == "base64 of base64" && strings.HasPrefix(second, "base64") {
				continue // two layers are the limit
			}
			key, err := Parse([]byte(mendable[second](mangle(text))))
			if err != nil {
				t.Errorf("%s, then %s: %v", first, second, err)
			} else if key.Fingerprint() != want {
				t.Errorf("%s, then %s: another key", first, second)
			}
		}
	}
}

func TestParseUsesThePrivateKeyAmongSeveralBlocks(t *testing.T) {
	files := testdata(t)
	text := pemPKCS1(rsaKey())
	for _, other := range []string{"certificate", "public.spki", "ec.sec1", "certificate.request",
		"openssh.ed25519", "encrypted.pkcs8"} {
		for name, both := range map[string]string{"before": string(files[other]) + text,
			"after": text + string(files[other])} {
			key, err := Parse([]byte(both))
			if err != nil {
				t.Errorf("%s %s: %v", other, name, err)
			} else if key.Fingerprint() != Fingerprint(&rsaKey().PublicKey) {
				t.Errorf("%s %s: another key", other, name)
			}
		}
	}
}

func TestParseReadsWhatOpensslWrites(t *testing.T) {
	for _, name := range []string{"rsa.pkcs1", "rsa.pkcs8", "rsa.3primes", "bundle"} {
		key := mustParse(t, string(testdata(t)[name]))
		testkit.OK(t, testkit.ErrorOf(key.Sign(t.Context(), []byte("message"))), "%s", name)
	}
}

type mistake struct {
	name string
	text string
	want Problem
}

// textMistakes are values that hold no usable key, each with its own Problem.
func textMistakes(t testing.TB) []mistake {
	text, files := pemPKCS1(rsaKey()), testdata(t)
	lines := strings.SplitAfter(strings.TrimSpace(text), "\n")
	first, last, body := lines[0], lines[len(lines)-1], strings.Join(lines[1:len(lines)-1], "")
	armoured := func(body string) string { return first + body + last }
	//nolint:staticcheck // what openssl writes
	legacy, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey()),
		[]byte("example"), x509.PEMCipherAES256)
	testkit.OK(t, err)
	rows := []mistake{
		{"nothing", "", errEmpty},
		{"blanks", " \r\n\t", errEmpty},
		{"quotes", `""`, errEmpty},
		{"escaped line breaks", `\n\r\n`, errEmpty},
		{"mark only", "\ufeff", errEmpty},

		{"first line", first, errFirstLine},
		{"first line, quoted", `"` + strings.TrimSpace(first), errFirstLine},
		{"first word", "-----BEGIN", errFirstLine},
		{"first words", "-----BEGIN RSA PRIVATE", errFirstLine},
		{"first line, base64", base64.StdEncoding.EncodeToString([]byte(first)), errFirstLine},

		{"no END line", first + body, errTruncated},
		{"half an END line", first + body + "-----END RSA PRI", errTruncated},
		{"half a body", first + body[:len(body)/2], errTruncated},
		{"no BEGIN line", body + last, errTruncated},
		{"no body", first + last, errTruncated},
		{"first line of the body missing", armoured(strings.Join(lines[2:len(lines)-1], "")), errDamaged},
		{"line of the body missing",
			armoured(strings.Join(slices.Delete(slices.Clone(lines[1:len(lines)-1]), 5, 6), "")), errTruncated},
		{"base64 cut off", base64.StdEncoding.EncodeToString([]byte(text))[:1501], errTruncated},

		{"foreign character", armoured(body[:100] + "!" + body[101:]), errDamaged},
		{"dots", armoured("...\n"), errDamaged},
		{"one character too few", armoured(strings.TrimRight(body, "=\n")[1:]), errDamaged},
		{"three layers of base64", wrapped([]byte(wrapped([]byte(wrapped([]byte(text), 76)), 76)), 76), errUnknown},
		{"four dashes", strings.ReplaceAll(text, "-----", "----"), errDamaged},
		{"no dashes", strings.ReplaceAll(text, "-----", ""), errDamaged},
		{"no DER", armoured(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("no DER "), 100))), errDamaged},
		{"more than DER", pemBlock("RSA PRIVATE KEY", append(x509.MarshalPKCS1PrivateKey(rsaKey()), 0)), errDamaged},

		{"no armour", body, errNoArmour},
		{"no armour, one line", strings.ReplaceAll(body, "\n", ""), errNoArmour},
		{"no armour, cut off", body[:300], errNoArmour},
		{"DER", string(x509.MarshalPKCS1PrivateKey(rsaKey())), errDER},
		{"DER of another size", string(derRSA(t, 1024, nil)), errTooShort},
		{"no armour, another size", base64.StdEncoding.EncodeToString(derRSA(t, 1024, nil)), errTooShort},
		{"two keys", text + pemPKCS1(otherKey()), errSeveral},

		{"encrypted by Go", string(pem.EncodeToMemory(legacy)), ErrEncrypted},
		{"encrypted, one line", strings.ReplaceAll(string(files["encrypted.pkcs1"]), "\n", " "), ErrEncrypted},
		{"encrypted, escaped", lineBreaks.Replace(string(files["encrypted.pkcs8"])), ErrEncrypted},
		{"PGP", pemBlock("PGP PRIVATE KEY BLOCK", []byte("example")), errAlgorithm},
		{"OpenSSH, DSA", pemBlock("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00\x00\x00\x00\x07ssh-dss")), errDSA},
		{"PuTTY", "PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\nComment: example\nPublic-Lines: 6\n", errPuTTY},
		{"JWK", `{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}`, errJWK},
		{"JWK set", `{"keys": [{"kty": "RSA", "n": "AQAB"}]}`, errJWK},

		{"1024 bits, made up", pemRSA(t, 1024, nil), errTooShort},
		{"512 bits", pemRSA(t, 512, nil), errTooShort},
		{"2047 bits", pemRSA(t, 2047, nil), errTooShort},
		{"16385 bits", pemRSA(t, 16385, nil), errTooLong},
		{"numbers made up", pemRSA(t, 2048, nil), errInvalid},
		{"even exponent", pemRSA(t, 2048, func(k *pkcs1) { k.E = big.NewInt(65536) }), errInvalid},
		{"exponent of one", pemRSA(t, 2048, func(k *pkcs1) { k.E = big.NewInt(1) }), errInvalid},
		{"huge exponent", pemRSA(t, 2048, func(k *pkcs1) { k.E = k.N }), errInvalid},
		{"another prime", pemRSA(t, 2048, func(k *pkcs1) { k.P = otherKey().Primes[0] }), errInvalid},
		{"no private exponent", pemRSA(t, 2048, func(k *pkcs1) { k.D = new(big.Int) }), errInvalid},
		{"three primes, another private exponent",
			pemBlock("RSA PRIVATE KEY", threePrimes(t, files["rsa.3primes"])), errInvalid},
		{"negative modulus", pemRSA(t, 2048, func(k *pkcs1) { k.N = new(big.Int).Neg(k.N) }), errInvalid},

		{"fingerprint", Fingerprint(&rsaKey().PublicKey), errFingerprint},
		{"fingerprint, unpadded", strings.TrimSuffix(Fingerprint(&rsaKey().PublicKey), "="), errFingerprint},
		{"fingerprint with colons", strings.Repeat("a0:", 19) + "a0", errFingerprint},
		{"client secret", strings.Repeat("0a1b2c3d", 5), errClientSecret},
		{"client secret, quoted", `"` + strings.Repeat("0a1b2c3d", 5) + `"`, errClientSecret},
		{"App ID", "1234567\n", errAppID},
		{"client ID", "Iv23liAbCdEfGhIjKlMn", errAppID},
		{"client ID, older", "Iv1.0123456789abcdef", errAppID},
		{"token", "ghs_" + strings.Repeat("aB3", 12), errToken},
		{"token, dotted", "ghs_1234_" + strings.Repeat("aB3", 12) + "." + strings.Repeat("c-_", 40) + "." +
			strings.Repeat("d", 86), errToken},
		{"fine-grained token", "github_pat_" + strings.Repeat("a1", 11) + "_" + strings.Repeat("b", 59), errToken},
		{"JSON Web Token", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0.c2lnbmF0dXJl", errToken},
		{"path", "/etc/ghapp/app.pem", errPath},
		{"path, at home", "~/app", errPath},
		{"path, relative", "keys/my-app.2026-01-01.private-key.pem", errPath},
		{"path, Windows", `C:\new\app.txt`, errPath},
		{"path, quoted", `"/run/secrets/key"`, errPath},
		{"secret of a workflow", "${{ secrets.APP_KEY }}", errUnexpanded},
		{"variable", "$GHAPP_PRIVATE_KEY", errUnexpanded},
		{"command", "$(cat app.pem)", errUnexpanded},
		{"variable of Windows", "%GHAPP_PRIVATE_KEY%", errUnexpanded},

		{"webhook secret", "correct horse battery staple", errUnknown},
		{"one word", "secret", errUnknown},
		{"random text", "xK9vQ2mZp7", errUnknown},
		{"random bytes", "\x00\x01\x02\xff", errUnknown},
		{"other JSON", `{"a": 1}`, errUnknown},
		{"parameters only", pemBlock("EC PARAMETERS", []byte("example")), errUnknown},
		{"too large", strings.Repeat("a", maxSize+1), errTooLarge},
	}
	problems := map[string]Problem{
		"bundle.p12":            errUnknown,
		"certificate":           errCertificate,
		"certificate.request":   errCertificate,
		"dsa":                   errDSA,
		"dsa.pkcs8":             errDSA,
		"ec.pkcs8":              errEC,
		"ec.sec1":               errEC,
		"ed25519":               errEd25519,
		"encrypted.pkcs1":       ErrEncrypted,
		"encrypted.pkcs8":       ErrEncrypted,
		"openssh.ecdsa":         errEC,
		"openssh.ed25519":       errEd25519,
		"openssh.rsa":           errOpenSSH,
		"openssh.rsa-encrypted": errOpenSSH,
		"public.openssh":        errPublicKey,
		"public.pkcs1":          errPublicKey,
		"public.rfc4716":        errPublicKey,
		"public.spki":           errPublicKey,
		"rsa-pss":               errAlgorithm,
		"rsa.1024":              errTooShort,
		"rsa.der":               errDER,
		"x25519":                errAlgorithm,
	}
	for name, data := range files {
		problem, ok := problems[name]
		switch {
		case ok:
			rows = append(rows, mistake{"made by openssl or ssh-keygen: " + name, string(data), problem})
		case !slices.Contains([]string{"rsa.fingerprint", "rsa.pkcs1", "rsa.pkcs8", "rsa.3primes", "bundle"}, name):
			t.Fatalf("testdata/%s.b64 is in no test", name)
		}
		delete(problems, name)
	}
	if len(problems) > 0 {
		t.Fatalf("testdata lacks %v", slices.Collect(maps.Keys(problems)))
	}
	return rows
}

type pkcs1 struct {
	Version                     int
	N, E, D, P, Q, Dp, Dq, Qinv *big.Int
}

// threePrimes is the key of three primes with another private exponent.
func threePrimes(t testing.TB, text []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	var numbers struct {
		Version                     int
		N, E, D, P, Q, Dp, Dq, Qinv *big.Int
		More                        []struct{ Prime, Exponent, Coefficient *big.Int }
	}
	testkit.Must(asn1.Unmarshal(block.Bytes, &numbers))(t)
	numbers.D.Sub(numbers.D, big.NewInt(2))
	der := testkit.Must(asn1.Marshal(numbers))(t)
	testkit.OK(t, testkit.ErrorOf(x509.ParsePKCS1PrivateKey(der)), "package x509 finds this itself")
	return der
}

func pemRSA(t testing.TB, bits int, change func(*pkcs1)) string {
	return pemBlock("RSA PRIVATE KEY", derRSA(t, bits, change))
}

// derRSA is a key whose numbers are wrong: those of a good one, changed, or
// where change is nil, of the length asked for and made up.
func derRSA(t testing.TB, bits int, change func(*pkcs1)) []byte {
	t.Helper()
	good := rsaKey()
	numbers := pkcs1{
		N: good.N, E: big.NewInt(int64(good.E)), D: good.D, P: good.Primes[0], Q: good.Primes[1],
		Dp: good.Precomputed.Dp, Dq: good.Precomputed.Dq, Qinv: good.Precomputed.Qinv,
	}
	if change == nil {
		odd := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), uint(bits-1)), big.NewInt(1))
		numbers.N, numbers.D = odd, odd
	} else {
		change(&numbers)
	}
	der := testkit.Must(asn1.Marshal(numbers))(t)
	return der
}

func pemBlock(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func TestParseNamesTheMistake(t *testing.T) {
	for _, row := range textMistakes(t) {
		t.Run(row.name, func(t *testing.T) {
			key, err := Parse([]byte(row.text))
			if key != nil || !errors.Is(err, row.want) {
				t.Fatalf("Parse = %v, %v; want the problem %q", key, err, row.want)
			}
			wantSafe(t, row.text, err)
		})
	}
}

func TestNamesTheMistakeInsideBase64(t *testing.T) {
	for name, want := range map[string]Problem{"encrypted.pkcs8": ErrEncrypted, "openssh.rsa": errOpenSSH,
		"certificate": errCertificate, "public.openssh": errPublicKey} {
		text := base64.StdEncoding.EncodeToString(testdata(t)[name])
		testkit.ErrorIs(t, testkit.ErrorOf(Parse([]byte(text))), want, "base64 of %s", name)
	}
}

func TestTooShortSaysHowLong(t *testing.T) {
	_, err := Parse(testdata(t)["rsa.1024"])
	if want := "cannot use the private key: shorter than 2048 bits: 1024 bits"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestFromTextNamesItsSource(t *testing.T) {
	testkit.Must(FromText("GHAPP_PRIVATE_KEY", pemPKCS1(rsaKey())))(t)
	_, err := FromText("GHAPP_PRIVATE_KEY", "")
	if want := "cannot use the private key in GHAPP_PRIVATE_KEY: empty"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// base64Run is what may be a line of a key.
var base64Run = regexp.MustCompile(`[A-Za-z0-9+/=_-]{16,}`)

// wantSafe fails if err is no KeyError with a hint of one line, or holds eight
// characters of a key in text.
func wantSafe(t testing.TB, text string, err error) {
	t.Helper()
	keyErr := testkit.ErrorAs[*KeyError](t, err)
	for _, line := range []string{keyErr.Error(), keyErr.Hint()} {
		if line == "" || strings.ContainsAny(line, "\r\n") {
			t.Errorf("%q is not one line", line)
		}
	}
	said := fmt.Sprintf("%v %+v %#v %s %v %#v", err, err, err, keyErr.Hint(), keyErr.Err, keyErr.Err)
	for _, run := range base64Run.FindAllString(text, -1) {
		for i := range len(run) - 7 {
			if strings.Contains(said, run[i:i+8]) {
				t.Errorf("the error holds a part of what was read: %s", said)
				return
			}
		}
	}
}

// FuzzParse shows that Parse never panics, that its errors are put together from
// words of this package only, and that a key it reads is written and read again
// as the same key.
func FuzzParse(f *testing.F) {
	text := pemPKCS1(rsaKey())
	for _, mangle := range mendable {
		f.Add([]byte(mangle(text)))
	}
	for _, row := range textMistakes(f) {
		f.Add([]byte(row.text))
	}
	var words []string
	for _, p := range problems(f) {
		words = append(words, regexp.QuoteMeta(string(p)))
	}
	details := []string{`\d+ bits`}
	for _, err := range []error{errNoBegin, errNoEnd, errNoBody, errShort} {
		details = append(details, regexp.QuoteMeta(err.Error()))
	}
	ours := regexp.MustCompile(`^cannot use the private key: (` + strings.Join(words, "|") + `)(: (` +
		strings.Join(details, "|") + `))?$`)
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := Parse(text)
		if err != nil {
			if key != nil || !ours.MatchString(err.Error()) {
				t.Fatalf("Parse = %v, %v", key, err)
			}
			return
		}
		private, keyErr := privateKey(text)
		if keyErr != nil {
			t.Fatal(keyErr)
		}
		again := testkit.Must(Parse([]byte(pemPKCS1(private))))(t)
		if again.Fingerprint() != key.Fingerprint() {
			t.Fatalf("fingerprint %s, then %s", key.Fingerprint(), again.Fingerprint())
		}
	})
}

func TestParseLeavesItsInputAlone(t *testing.T) {
	text := []byte(lineBreaks.Replace(pemPKCS1(rsaKey())))
	before := bytes.Clone(text)
	testkit.Must(Parse(text))(t)
	if !bytes.Equal(text, before) {
		t.Error("Parse changed what it was given")
	}
}
