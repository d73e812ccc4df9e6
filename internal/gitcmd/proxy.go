package gitcmd

import (
	"bytes"
	"io"
	"net/url"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// checkProxy refuses variables by which git would ask another host than the proxy meant.
func (s Scope) checkProxy(env environ) error {
	origin, err := url.Parse(s.Origin)
	if err != nil || s.Origin == "" {
		return nil // validate has told of the first
	}
	if err := api.CheckGitsProxy(origin, env.get); err != nil {
		return &api.NetworkError{Host: origin.Host, Err: err}
	}
	return nil
}

// proxyMarks stand before what libcurl and git take for the proxy. Where the address of one holds a
// raw # or /, that is a part of the login.
func proxyMarks() []string {
	return []string{"Could not resolve proxy: ", "Unsupported proxy syntax in ", "Invalid proxy URL "}
}

// unnamedProxy leaves the name of a proxy out of what git prints. It is to be closed.
type unnamedProxy struct {
	w       io.Writer
	held    []byte // may be the beginning of a mark
	leaving bool   // until the end of the line
}

// Write implements [io.Writer].
func (u *unnamedProxy) Write(b []byte) (int, error) {
	n := len(b)
	b = append(u.held, b...)
	u.held = nil
	for len(b) > 0 {
		if u.leaving {
			end := bytes.IndexAny(b, "\r\n")
			if end < 0 {
				return n, nil
			}
			b, u.leaving = b[end:], false
		}
		shown, rest, found := cutMark(b)
		if !found {
			u.held = append(u.held, rest...)
		}
		if _, err := u.w.Write(shown); err != nil {
			return 0, err
		}
		if !found {
			return n, nil
		}
		if _, err := io.WriteString(u.w, "(the address of the proxy)"); err != nil {
			return 0, err
		}
		b, u.leaving = rest, true
	}
	return n, nil
}

// Close writes what was held back.
func (u *unnamedProxy) Close() error {
	_, err := u.w.Write(u.held)
	u.held = nil
	return err
}

// cutMark cuts b behind its first mark, or else before what may be the beginning of one.
func cutMark(b []byte) (before, after []byte, found bool) {
	end := -1
	for _, mark := range proxyMarks() {
		if at := bytes.Index(b, []byte(mark)); at >= 0 && (end < 0 || at+len(mark) < end) {
			end = at + len(mark)
		}
	}
	if end >= 0 {
		return b[:end], b[end:], true
	}
	for at := max(len(b)-32, 0); at < len(b); at++ {
		for _, mark := range proxyMarks() {
			if bytes.HasPrefix([]byte(mark), b[at:]) {
				return b[:at], b[at:], false
			}
		}
	}
	return b, nil, false
}
