package execsigner

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// holder is a [Holder] that takes no keys in.
type holder struct{ key *rsa.PrivateKey }

func (h holder) PublicKey(context.Context, string) ([]byte, error) {
	return x509.MarshalPKIXPublicKey(&h.key.PublicKey)
}

func (h holder) Sign(_ context.Context, _ string, _, digest []byte) ([]byte, error) {
	return rsa.SignPKCS1v15(nil, h.key, crypto.SHA256, digest)
}

// vault is an [Importer] that has one place.
type vault struct {
	holder
	got, kept []byte // what came, and a copy
	fails     error
}

func (v *vault) Import(ctx context.Context, key string, privateKey []byte) ([]byte, error) {
	v.got, v.kept = privateKey, bytes.Clone(privateKey)
	if v.fails != nil {
		return nil, v.fails
	}
	return v.PublicKey(ctx, key)
}

// answered is what a Holder answers to a request, in JSON.
func answered(t testing.TB, h Holder, request string) Response {
	t.Helper()
	var out bytes.Buffer
	testkit.OK(t, Answer(t.Context(), strings.NewReader(request), &out, h))
	var response Response
	if err := json.Unmarshal(out.Bytes(), &response); err != nil || response.Version != ProtocolVersion {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	return response
}

// importOf is a request to take in the key of these tests.
func importOf(t testing.TB, uri string) (request string, der []byte) {
	t.Helper()
	der = testkit.Must(x509.MarshalPKCS8PrivateKey(testkit.Key(t)))(t)
	text, err := json.Marshal(
		question{Request{Version: ProtocolVersion, Operation: OperationImport, Key: uri, Seconds: 9}, der})
	testkit.OK(t, err)
	return string(text), der
}

func TestImporterGetsTheKeyAndItIsOverwritten(t *testing.T) {
	request, der := importOf(t, "exec:vault")
	key := holder{testkit.Key(t)}
	v := &vault{holder: key}
	response := answered(t, v, request)
	public, err := x509.ParsePKIXPublicKey(response.PublicKey)
	if err != nil || !testkit.Key(t).PublicKey.Equal(public) || !bytes.Equal(v.kept, der) {
		t.Errorf("%+v, %v", response, err)
	}
	if len(v.got) == 0 || len(bytes.Trim(v.got, "\x00")) > 0 {
		t.Error("the private key is still in its buffer")
	}
}

func TestImportIsRefusedWithAKind(t *testing.T) {
	request, _ := importOf(t, "exec:vault")
	key := holder{testkit.Key(t)}
	empty := `{"version":1,"operation":"import","key":"exec:vault","seconds":9}`
	for name, test := range map[string]struct {
		holder  Holder
		request string
		want    Failure
	}{
		"no importer": {key, request, Failure{"unsupported", "this program takes no keys in"}},
		"no key":      {&vault{holder: key}, empty, Failure{"failed", "the request has no private_key"}},
		"exists":      {&vault{holder: key, fails: &Failure{"exists", "slot 9a"}}, request, Failure{"exists", "slot 9a"}},
		"other":       {&vault{holder: key, fails: errors.New("no room")}, request, Failure{"failed", "no room"}},
		"late": {&vault{holder: key, fails: context.DeadlineExceeded}, request,
			Failure{"timeout", context.DeadlineExceeded.Error()}},
	} {
		if got := answered(t, test.holder, test.request); got.Error == nil ||
			*got.Error != test.want || got.PublicKey != nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Whoever logs a Request, or answers with one by mistake, tells no key.
func TestRequestHoldsNoPrivateKey(t *testing.T) {
	text, _ := importOf(t, "exec:vault")
	var request Request
	if err := json.Unmarshal([]byte(text), &request); err != nil || request.Operation != OperationImport {
		t.Fatal(err)
	}
	again := testkit.Must(json.Marshal(request))(t)
	for _, printed := range []string{string(again), fmt.Sprintf("%v", request), fmt.Sprintf("%#v", request)} {
		if len(printed) > 200 || strings.Contains(printed, "MII") {
			t.Errorf("a request prints as %s", printed)
		}
	}
}
