package lfsbatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/text"
)

const (
	// maxRedirects is how many of them are followed.
	maxRedirects = 3
	// maxHeaders bounds what the API may have sent to a link.
	maxHeaders = 32
)

// transferError is why a file did not come. Its text never has a link in it, which is a
// credential.
type transferError struct {
	err   error
	again bool // it may come at another try
}

func (e *transferError) Error() string { return e.err.Error() }

func (e *transferError) Unwrap() error { return e.err }

func never(format string, args ...any) error { return &transferError{err: fmt.Errorf(format, args...)} }

func later(format string, args ...any) error {
	return &transferError{err: fmt.Errorf(format, args...), again: true}
}

// download fetches a file into the directory of incoming ones. An error that is no
// [*transferError] is the system's, a [*RoomError], or that of ctx.
func (f *fetch) download(ctx context.Context, p lfsstore.Pointer, from *link) error {
	if f.Room != nil {
		if room := f.Room(); p.Size > room {
			return &RoomError{p, room}
		}
	}
	if f.stalled.Load() >= mostStalled {
		return never("nothing comes from there any more")
	}
	timed, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	at := newPace(f.Stall, cancel)
	defer at.end()

	answer, err := f.follow(timed, from)
	if err == nil {
		defer answer.Body.Close()
		err = f.receive(p, &body{answer.Body, func(n int) {
			at.count(n)
			f.bytes.Add(int64(n))
			if f.Received != nil {
				f.Received(int64(n))
			}
		}})
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case timed.Err() != nil && err != nil:
		f.stalled.Add(1)
		return later("%w", context.Cause(timed))
	case err == nil:
		f.stalled.Store(0)
	}
	return err
}

// follow asks for what a link leads to.
func (f *fetch) follow(ctx context.Context, from *link) (*http.Response, error) {
	at, err := f.address(nil, from.Href)
	if err != nil {
		return nil, err
	}
	header, err := headers(from.Header)
	if err != nil {
		return nil, err
	}
	for range maxRedirects + 1 {
		f.requests.Add(1)
		request := (&http.Request{Method: http.MethodGet, URL: at, Host: at.Host, Header: header}).WithContext(ctx)
		answer, err := f.Transport.RoundTrip(request)
		if err != nil {
			return nil, later("%s cannot be reached: %s", at.Host, printable(err.Error()))
		}
		switch answer.StatusCode {
		case http.StatusOK:
			return answer, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect,
			http.StatusPermanentRedirect:
		default:
			return nil, refused(answer, at.Host)
		}
		_ = answer.Body.Close()
		to, err := f.address(at, answer.Header.Get("Location"))
		if err != nil {
			return nil, err
		}
		if to.Scheme != at.Scheme || to.Host != at.Host { // what was for one host is for no other
			header, _ = headers(nil)
		}
		at = to
	}
	return nil, never("%s leads from one place to the next", at.Host)
}

// refused is an answer that is no file.
func refused(answer *http.Response, host string) error {
	_ = answer.Body.Close()
	switch code := answer.StatusCode; {
	// A link that is not valid any more is answered in one of these ways.
	case code == http.StatusForbidden, code == http.StatusUnauthorized, code == http.StatusGone,
		code == http.StatusTooManyRequests, code >= 500, code == http.StatusBadRequest, code == http.StatusRequestTimeout:
		return later("%s answers with %d", host, code)
	default:
		return never("%s answers with %d", host, code)
	}
}

// address is where a link leads.
func (f *fetch) address(from *url.URL, href string) (*url.URL, error) {
	to, err := url.Parse(href)
	if err == nil && from != nil {
		to = from.ResolveReference(to)
	}
	switch {
	case err != nil || to.Host == "" || to.Opaque != "":
		return nil, never("the server's link to it cannot be read")
	case to.User != nil:
		return nil, never("the server's link to it has a user in it")
	case to.Scheme != "https" && (to.Scheme != "http" || strings.HasPrefix(f.Origin, "https:")):
		return nil, never("the server's link to it leads to %s without TLS", printable(to.Host))
	}
	to.Fragment, to.RawFragment = "", ""
	return to, nil
}

// headers are those that a link takes, and ours.
func headers(asked map[string]string) (http.Header, error) {
	if len(asked) > maxHeaders {
		return nil, never("the server's link to it takes %d headers", len(asked))
	}
	h := http.Header{}
	for name, value := range asked {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Range",
			"Accept-Encoding", "Expect", "Proxy-Authorization":
		default:
			h.Set(name, value)
		}
	}
	h.Set("User-Agent", gitauth.UserAgent)
	h.Set("Accept-Encoding", "identity")
	return h, nil
}

// receive writes a file, and looks whether it is the one.
func (f *fetch) receive(p lfsstore.Pointer, from *body) error {
	name := filepath.Join(f.Incoming, p.ID)
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	sum := sha256.New()
	to := &disk{w: io.MultiWriter(file, sum)}
	n, err := io.Copy(to, io.LimitReader(from, p.Size+1))
	if closed := file.Close(); to.err == nil {
		to.err = closed
	}
	switch {
	case to.err != nil:
		err = to.err
	case err != nil:
		err = later("it was cut off after %d of %d bytes: %s", n, p.Size, printable(err.Error()))
	case n > p.Size:
		err = never("more came than its %d bytes", p.Size)
	case n < p.Size:
		err = later("%d of its %d bytes came", n, p.Size)
	case hex.EncodeToString(sum.Sum(nil)) != p.ID:
		err = never("what came has another SHA-256")
	}
	if err != nil {
		_ = os.Remove(name) // else it goes with all that is there
	}
	return err
}

// body tells of all that is read.
type body struct {
	io.Reader
	told func(n int)
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.told(n)
	return n, err
}

// disk remembers how writing failed.
type disk struct {
	w   io.Writer
	err error
}

// Write implements [io.Writer].
func (d *disk) Write(p []byte) (int, error) {
	n, err := d.w.Write(p)
	d.err = err
	return n, err
}

// printable is a text of the network's, in one short line.
func printable(s string) string { return text.Shorten(text.OneLine(s), 200) }
