package setup

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/markup"
)

// The paths of the pages.
const (
	startPath     = "/"
	createdPath   = "/created"   // where GitHub sends the browser with the code
	installedPath = "/installed" // and after the installation
)

const (
	// holdFor is how long a page that waits is left without an answer, before it is
	// told that nothing has happened.
	holdFor = 20 * time.Second
	// lingerFor is how long a browser has, in the end, to fetch the last page.
	lingerFor = 5 * time.Second
	// readFor is how long a request may take to arrive, and a connection may be silent
	// between two.
	readFor = 10 * time.Second
	// maxHeader bounds what a browser sends, in bytes.
	maxHeader = 32 << 10
)

// Listen opens a port of the loopback address; 0 is any.
func Listen(port int) (net.Listener, error) {
	return net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// Serve shows the pages on a listener of [Listen]. The function it returns ends that,
// after it has given a browser that takes part a moment to fetch the last page.
func (f *Flow) Serve(l net.Listener) (address string, end func(context.Context) error) {
	f.address = "http://" + l.Addr().String()
	var open connections
	server := &http.Server{
		Handler: f,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return open.begin(ctx, conn, f.plan.SudoUID)
		},
		ConnState:         open.changed,
		ReadHeaderTimeout: readFor,
		ReadTimeout:       readFor,
		IdleTimeout:       readFor,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0), // of connections that end halfway
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return f.address, func(ctx context.Context) error {
		f.linger(ctx)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if err != nil {
			err = server.Close() // somebody is in the middle of a request
		}
		if failed := <-served; !errors.Is(failed, http.ErrServerClosed) {
			err = errors.Join(err, failed)
		}
		return err
	}
}

// linger waits until a browser that is on its way has the last page.
func (f *Flow) linger(ctx context.Context) {
	late := time.NewTimer(lingerFor)
	defer late.Stop()
	for {
		f.mu.Lock()
		waiting, changed := f.away && !f.seen, f.changed
		f.mu.Unlock()
		if !waiting {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// refusal is a request that is not answered with what it asks for.
type refusal struct {
	status            int
	title, text, link string // the link, if any, leads to the first page
}

// ServeHTTP implements [http.Handler].
func (f *Flow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if no := f.refuse(r); no != nil {
		f.log.Info("a request was refused", "path", r.URL.EscapedPath(), "why", no.title)
		f.showRefusal(w, no)
		return
	}
	switch r.URL.Path {
	case startPath:
		f.start(w, r)
	case createdPath:
		f.created(w, r)
	case installedPath:
		select {
		case f.nudge <- struct{}{}:
		default:
		}
		f.status(w, r)
	default:
		f.showRefusal(w, &refusal{http.StatusNotFound, "There is no such page", "The setup has one page.", "Show it"})
	}
}

// refuse returns why a request is none of a person who uses the pages in a browser.
func (f *Flow) refuse(r *http.Request) *refusal {
	host := strings.TrimPrefix(f.address, "http://")
	site := r.Header.Get("Sec-Fetch-Site")
	cross := site == "cross-site" || site == "same-site"
	switch {
	case strangerAt(r.Context()) != "":
		return &refusal{http.StatusForbidden, "This is somebody else’s setup",
			"The pages answer the user alone who runs ghapp setup; this browser, or the tunnel it came through, is run by " +
				strangerAt(r.Context()) + ".", ""}
	case r.Host != host:
		return &refusal{http.StatusMisdirectedRequest, "This is not the address of the setup",
			"Open " + f.address + " instead. Through a tunnel, the port must be the same at both ends.", ""}
	case r.Method != http.MethodGet:
		return &refusal{http.StatusMethodNotAllowed, "Nothing is sent here",
			"The pages of the setup are only to be looked at.", "Show them"}
	case r.Header.Get("Origin") != "",
		r.Header.Get("Sec-Fetch-Mode") != "" && r.Header.Get("Sec-Fetch-Mode") != "navigate",
		r.Header.Get("Sec-Fetch-Dest") != "" && r.Header.Get("Sec-Fetch-Dest") != "document":
		return &refusal{http.StatusForbidden, "Another page asked for this",
			"The setup is not part of another page, nor asked by one.", ""}
	case r.URL.Path == startPath && cross && f.turnOf(r) == nil:
		return &refusal{http.StatusForbidden, "A link on another page led here",
			"If you run ghapp setup, go on.", "Go on with the setup"}
	}
	return nil
}

// cookieName has the port, since a browser keeps one set of cookies for all ports.
func (f *Flow) cookieName() string {
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(f.address, "http://"))
	return "ghapp-setup-" + port
}

func (f *Flow) cookieOf(r *http.Request) string {
	cookie, err := r.Cookie(f.cookieName())
	if err != nil {
		return ""
	}
	return cookie.Value
}

// turnOf returns the turn of a browser, or nil. The caller does not hold the lock.
func (f *Flow) turnOf(r *http.Request) *turn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.turns[f.cookieOf(r)]
}

// start shows the first page, or how far things are.
func (f *Flow) start(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.phase != asking {
		f.mu.Unlock()
		f.status(w, r)
		return
	}
	t, ok := f.turns[f.cookieOf(r)], true
	if t == nil {
		var cookie string
		if cookie, t, ok = f.begin(); ok {
			// Lax: it has to come along when GitHub sends the browser back.
			http.SetCookie(w, &http.Cookie{Name: f.cookieName(), Value: cookie, Path: "/", HttpOnly: true,
				SameSite: http.SameSiteLaxMode})
		}
	}
	var first bool
	var state string
	if ok {
		first, state, t.sent = !t.sent, t.state, true
	}
	f.mu.Unlock()
	if !ok {
		f.showRefusal(w, &refusal{http.StatusServiceUnavailable, "Too many browsers have opened this page",
			"End ghapp setup in the terminal with Ctrl-C, and start it again.", ""})
		return
	}
	f.show(w, http.StatusOK, f.startPage(state, first))
}

// created takes the code that GitHub sent the browser with, and sends it on to the
// installation.
func (f *Flow) created(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if err := f.take(f.cookieOf(r), query.Get("state"), query.Get("code")); err != nil {
		no := whyNot(err)
		f.log.Info("a code was refused", "why", err)
		f.showRefusal(w, &no)
		return
	}
	for held := time.After(time.Minute); ; {
		f.mu.Lock()
		phase, changed, app := f.phase, f.changed, f.app
		f.away = true
		f.mu.Unlock()
		if phase != registering {
			if phase != failed {
				w.Header().Set("Location", InstallURL(f.plan.Origin, app))
				f.secure(w)
				w.WriteHeader(http.StatusSeeOther)
				return
			}
			break
		}
		select {
		case <-changed:
			continue
		case <-r.Context().Done():
			return
		case <-held:
		}
		break
	}
	f.showStatus(w)
}

// whyNot is what a person is told when a code is refused.
func whyNot(err error) refusal {
	switch {
	case errors.Is(err, errForged):
		return refusal{http.StatusForbidden, "This is not an answer to this setup",
			"The address has another state than the one that was sent to GitHub. It may be left from an earlier setup, " +
				"or forged. Nothing was changed.", "Begin again"}
	case errors.Is(err, errBrowser):
		return refusal{http.StatusForbidden, "This setup was begun in another browser",
			"GitHub’s answer counts in the browser only that sent the question. Nothing was changed.",
			"Begin again in this browser"}
	case errors.Is(err, errUsed):
		return refusal{http.StatusGone, "This answer has been used",
			"An App is created once. See how far the setup is.", "Show the setup"}
	case errors.Is(err, errExpired):
		return refusal{http.StatusGone, "An hour has passed",
			"GitHub’s answer is good for an hour. Delete the App on GitHub, and run ghapp setup again.", ""}
	}
	return refusal{http.StatusBadRequest, "GitHub’s answer is not complete",
		"There is no code in the address. Nothing was changed.", "Begin again"}
}

// status shows how far things are. A page that waits already is answered when that
// changes.
func (f *Flow) status(w http.ResponseWriter, r *http.Request) {
	if known, err := strconv.Atoi(r.URL.Query().Get("after")); err == nil {
		f.hold(r.Context(), phase(known))
	}
	f.showStatus(w)
}

// hold returns when the phase is another than the one a browser shows.
func (f *Flow) hold(ctx context.Context, shown phase) {
	late := time.NewTimer(holdFor)
	defer late.Stop()
	for {
		f.mu.Lock()
		now, changed := f.phase, f.changed
		f.mu.Unlock()
		if now != shown {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (f *Flow) showStatus(w http.ResponseWriter) {
	f.mu.Lock()
	page := f.statusPage()
	last := f.phase == done || f.phase == failed
	f.away = f.away || !last
	f.mu.Unlock()
	f.show(w, http.StatusOK, page)
	if last {
		f.mu.Lock()
		f.seen = true
		f.become(f.phase)
		f.mu.Unlock()
	}
}

func (f *Flow) showRefusal(w http.ResponseWriter, no *refusal) {
	if no.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodGet)
	}
	f.show(w, no.status, page{Title: no.title, Lead: no.text, Back: no.link, Bad: true})
}

// secure sets the headers that every answer has.
func (f *Flow) secure(w http.ResponseWriter) {
	for name, value := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src " + markup.Source(styleText) + "; script-src " +
			markup.Source(scriptText) + "; img-src data:; form-action " +
			f.plan.Origin + "; base-uri 'none'; frame-ancestors 'none'",
		"Cache-Control":                "no-store",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		// With no-referrer a browser would post the manifest with "Origin: null", as
		// from a page that hides where it is from.
		"Referrer-Policy": "strict-origin",
	} {
		w.Header().Set(name, value)
	}
}

func (f *Flow) show(w http.ResponseWriter, status int, p page) {
	text := p.render()
	f.secure(w)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // a browser that went away is no failure of the flow
	if flusher, ok := w.(http.Flusher); ok {
		flusher.Flush()
	}
}
