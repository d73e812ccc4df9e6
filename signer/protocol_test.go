package signer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// vault is an [Importer] that has one place.
type vault struct {
	holder
	got, kept []byte // what came, and a copy
	fails     error
}

func (v *vault) Import(_ context.Context, _ string, privateKey []byte) ([]byte, error) {
	v.got, v.kept = privateKey, bytes.Clone(privateKey)
	if v.fails != nil {
		return nil, v.fails
	}
	return x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
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
	der = testkit.Must(x509.MarshalPKCS8PrivateKey(rsaKey()))(t)
	text, err := json.Marshal(question{Request{Version: ProtocolVersion, Operation: OperationImport, Key: uri, Seconds: 9}, der})
	testkit.OK(t, err)
	return string(text), der
}

func TestImporterGetsTheKeyAndItIsOverwritten(t *testing.T) {
	request, der := importOf(t, "exec:vault")
	v := new(vault)
	response := answered(t, v, request)
	public, err := publicKey(response.PublicKey)
	if err != nil || !rsaKey().PublicKey.Equal(public) || !bytes.Equal(v.kept, der) {
		t.Errorf("%+v, %v", response, err)
	}
	if len(v.got) == 0 || len(bytes.Trim(v.got, "\x00")) > 0 {
		t.Error("the private key is still in its buffer")
	}
}

func TestImportIsRefusedWithAKind(t *testing.T) {
	request, _ := importOf(t, "exec:vault")
	empty := `{"version":1,"operation":"import","key":"exec:vault","seconds":9}`
	for name, test := range map[string]struct {
		holder  Holder
		request string
		want    Failure
	}{
		"no importer": {holder{}, request, Failure{"unsupported", "this program takes no keys in"}},
		"no key":      {new(vault), empty, Failure{"failed", "the request has no private_key"}},
		"exists":      {&vault{fails: &Failure{"exists", "slot 9a"}}, request, Failure{"exists", "slot 9a"}},
		"other":       {&vault{fails: errors.New("no room")}, request, Failure{"failed", "no room"}},
		"late":        {&vault{fails: context.DeadlineExceeded}, request, Failure{"timeout", context.DeadlineExceeded.Error()}},
	} {
		if got := answered(t, test.holder, test.request); got.Error == nil || *got.Error != test.want || got.PublicKey != nil {
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
