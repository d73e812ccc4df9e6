package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestProxyThatDoesNotLeadOnIsNamed(t *testing.T) {
	for status, temporary := range map[int]bool{http.StatusProxyAuthRequired: false, http.StatusForbidden: false,
		http.StatusBadGateway: true} {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
		defer proxy.Close()
		address := testkit.Must(url.Parse(proxy.URL))(t)
		address.User = url.UserPassword("corp", "s3cret")
		transport := NewTransport(nil)
		transport.Proxy = http.ProxyURL(address)
		client, err := New(Options{Host: Host{API: "https://api.github.test"}, Transport: transport,
			UserAgent: "test", MaxWait: -1})
		testkit.OK(t, err)
		_, err = client.App(t.Context(), nil)
		refused := testkit.ErrorAs[*ProxyError](t, err)
		testkit.Equal(t, refused.Status, status)
		testkit.Equal(t, refused.Proxy, address.Host)
		if text := err.Error(); strings.Contains(text, "s3cret") || strings.Contains(text, "corp") ||
			!strings.Contains(text, "the proxy "+address.Host) {
			t.Errorf("%d: %s", status, text)
		}
		network, _ := errors.AsType[*NetworkError](err)
		testkit.Equal(t, network.Temporary(), temporary, "%d: a second attempt makes sense", status)
	}
}

func TestProxyThatCannotBeReadIsRefused(t *testing.T) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	for _, address := range []string{
		"http://corp:s3#cret@proxy.test:3128", "http://corp:s3/cret@proxy.test:3128", "http://corp:12/cret@proxy.test:3128",
		"http://corp:1#cret@proxy.test",
		"http://corp:s3?cret@proxy.test:3128", "http://corp:s3%zzcret@proxy.test", "http://corp:s3 cret@proxy.test",
		"corp:s3#cret@proxy.test:3128",
		"http://corp:s3\\cret@proxy.test", "http://corp:s3cret@", "ftp://corp:s3cret@proxy.test",
		"http://corp:s3cret@proxy.test/path", "http://corp:s3cret@proxy.test:port",
	} {
		for scheme, name := range map[string]string{"https": "https_proxy", "http": "http_proxy"} {
			t.Setenv(name, address)
			_, err := NewTransport(nil).RoundTrip(httptest.NewRequest("GET", scheme+"://github.test/", nil))
			if refused, ok := errors.AsType[*ProxyError](err); !ok || refused.Setting != name ||
				strings.Contains(err.Error(), "cret") {
				t.Errorf("%s=%s: %v", name, address, err)
			}
			t.Setenv(name, "")
		}
	}
	for _, address := range []string{
		"http://corp:s3cret@proxy.test:3128", "http://corp:s3%23%2F%40cret@proxy.test:3128/", "proxy.test:3128", "proxy",
		"socks5h://127.0.0.1:1080", "http://[::1]:3128",
		"http://corp:s3@cret@proxy.test", // everybody takes the last @
	} {
		if !ReadableProxy(address) {
			t.Errorf("%s is refused", address)
		}
	}
	// It is no trouble where it is not used.
	t.Setenv("https_proxy", "http://corp:s3#cret@proxy.test:3128")
	for _, without := range []string{"*", "github.test", ".test", "*.test",
		"a.example,github.test:443", "10.0.0.0/8 github.test"} {
		t.Setenv("no_proxy", without)
		if err := unreadable(&url.URL{Scheme: "https", Host: "github.test"}, []string{"https_proxy"}, os.Getenv); err != nil {
			t.Errorf("no_proxy=%s: %v", without, err)
		}
	}
	t.Setenv("no_proxy", "ub.test,10.0.0.0/8")
	if err := unreadable(&url.URL{Scheme: "https", Host: "github.test"}, []string{"https_proxy"}, os.Getenv); err == nil {
		t.Error("another host's exception is taken for this one's")
	}
	if _, err := Proxy(httptest.NewRequest("GET", "https://127.0.0.1:1/", nil)); err != nil {
		t.Errorf("refused for this machine itself: %v", err)
	}
}

func TestProxyThatRefusesIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		client, err := New(Options{Host: Host{API: "https://api.github.test"}, UserAgent: "test",
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				asked.Add(1)
				return nil, &ProxyError{Proxy: "proxy.test:3128", Status: http.StatusProxyAuthRequired}
			})})
		testkit.OK(t, err)
		begun := time.Now()
		if _, err := client.App(context.WithoutCancel(t.Context()), nil); err == nil ||
			asked.Load() != 1 || time.Since(begun) != 0 {
			t.Errorf("%v after %d attempts in %s", err, asked.Load(), time.Since(begun))
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMeasuringSaysHowCertainItIs(t *testing.T) {
	sent := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	header := http.Header{"Date": {sent.Add(5 * time.Minute).Format(http.TimeFormat)}}
	for round, want := range map[time.Duration]time.Duration{0: 500 * time.Millisecond, 3 * time.Second: 2 * time.Second} {
		offset, uncertain, ok := Measure(header, sent, sent.Add(round))
		if !ok || uncertain != want || (offset-5*time.Minute).Abs() > uncertain {
			t.Errorf("after %s: %s, give or take %s, %t", round, offset, uncertain, ok)
		}
	}
}
