package hook

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A page that has its name lead here reads nothing; those who ask by an address or a name of ours do.
func TestOnlyRequestsToOurNamesAreAnswered(t *testing.T) {
	handler := OnlyTo([]string{"Web1.example.com",
		"metrics"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	}))
	for host, ok := range map[string]bool{
		"127.0.0.1:8787": true, "127.0.0.1": true, "[::1]:8787": true, "[::1]": true,
		"10.1.2.3:8081": true, "[fe80::1]:80": true,
		"localhost": true, "LOCALHOST:8787": true, "localhost.:80": true, "web1.example.com:8081": true,
		"WEB1.EXAMPLE.COM.": true, "metrics:80": true,
		"": false, ":8787": false, "evil.example": false, "evil.example:8787": false, "127.0.0.1.evil.example:8787": false,
		"localhost.evil.example": false, "xlocalhost": false, "web1.example.com.evil.example": false, "1.2.3": false,
		"0x7f.1": false, "2130706433": false,
	} {
		r := httptest.NewRequest(http.MethodGet, "http://placeholder/metrics", nil)
		r.Host = host
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if want := map[bool]int{true: http.StatusOK, false: http.StatusMisdirectedRequest}[ok]; w.Code != want {
			t.Errorf("Host: %q is answered %d, want %d", host, w.Code, want)
		}
	}
}
