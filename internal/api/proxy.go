package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// ProxyError is a proxy that was reached and does not lead on (RFC 9110 section
// 9.3.6), or a variable that names none.
type ProxyError struct {
	Proxy  string // host and port, without a login; "" where the variable is wrong
	Status int
}

func (e *ProxyError) Error() string {
	if e.Proxy == "" {
		return "the variable of the proxy holds no address of one"
	}
	return fmt.Sprintf("the proxy %s answered %d %s", e.Proxy, e.Status, http.StatusText(e.Status))
}

// ledOn reports whether a proxy led on to the host it was asked for.
func ledOn(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return &ProxyError{Proxy: proxy.Host, Status: answer.StatusCode}
	}
	return nil
}
