package identity

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The metadata service of a virtual machine has one address, which no test may go to.
func TestVirtualMachineOfAzureIsAskedAsDocumented(t *testing.T) {
	t.Parallel()
	jwt := testapp.JWT(t, testkit.NthKey(t, 1), map[string]any{"exp": time.Now().Add(time.Minute).Unix()})
	direct := testkit.RoundTrip(func(r *http.Request) (*http.Response, error) {
		testkit.Equal(t, r.URL.String(), "http://169.254.169.254/metadata/identity/oauth2/token"+
			"?api-version=2018-02-01&resource=api%3A%2F%2Fghapp")
		testkit.Equal(t, r.Header.Get("Metadata"), "true")
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r,
			Body: io.NopCloser(strings.NewReader(`{"access_token":"` + jwt + `"}`))}, nil
	})
	who := testkit.Must(Open("azure", Options{direct: direct}))(t)
	got := testkit.Must(who.Token(t.Context(), func(context.Context) (string, error) { return "api://ghapp", nil }))(t)
	testkit.Equal(t, got.Reveal(), jwt)
}

// A proxy would get the token of this machine, or give one of its own.
func TestMetadataServicesAreAskedWithoutAProxy(t *testing.T) {
	t.Parallel()
	direct, ok := prepare(Options{}).direct.(*http.Transport)
	testkit.Equal(t, ok && direct.Proxy == nil, true, "without a proxy")
}

func FuzzSVID(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x05\x0a\x03\x12\x01a"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if token, err := svidIn(body); err == nil && (token == "" || len(token) > len(body)) {
			t.Errorf("%q is read as %q", body, token)
		}
	})
}
