package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// A proxy that shows what it was sent shows the credential too, also where nobody
// looks for it.
func TestHeadersThatRepeatTheCredentialAreNotRepeated(t *testing.T) {
	const canary = "ghs_CanaryInAHeaderOfTheAnswer0123456789"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := strings.TrimPrefix(r.Header.Get("Authorization"), "token ")
		w.Header().Set("X-GitHub-Request-Id", "seen:"+sent)
		w.Header().Set("X-Accepted-GitHub-Permissions", sent)
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	host := testkit.Must(api.ParseHost(server.URL, ""))(t)
	client := testkit.Must(api.New(api.Options{Host: host, UserAgent: "test"}))(t)
	refusal := client.RevokeToken(t.Context(), secret.New(canary))
	answer, ok := refusal.(*api.Error)
	if !ok || !strings.HasPrefix(answer.RequestID, "seen:") {
		t.Fatalf("%v", refusal)
	}
	for _, text := range []string{refusal.Error(), answer.RequestID, answer.AcceptedPermissions} {
		testkit.Lacks(t, text, canary)
	}
}
