// Package page is the status of what goes on, as a person sees it in a browser: of directories
// ([Sync]), of mirrors ([Mirrors]), and of tokens that are handed out ([Server]). Each is one document
// in which everything is, that runs no script and leads to nothing that acts. It knows nothing of where
// its facts come from. What others wrote is shown on one line, with everything spelled out that is
// not printable.
package page

import (
	"context"
	_ "embed"
	"net/http"
	"strconv"
	"time"

	"github.com/ghapp-dev/ghapp/internal/markup"
)

//go:embed style.css
var style string

// refresh is the time after which a browser fetches the page again, in seconds.
const refresh = "30"

// Page is what is shown: a [Sync], [Mirrors] or [Server].
type Page interface {
	// build looks at everything there is, for what a person has asked for.
	build(q query, now time.Time) *view
}

// view is a page about to be written.
type view struct {
	err     error  // why it cannot be; nil: it can
	program string // whose page it is: ghapp sync
	version string
	title   string // of its window
	mark    tone   // the color of its icon
	body    func(d *document)
}

// Handler answers with the page that show makes, for each request anew. Of an error the person
// is told no more than that there is one: to tell the log is for show.
func Handler(show func(context.Context) (Page, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		q, now := readQuery(r.URL), time.Now()
		v := &view{}
		p, err := show(r.Context())
		if err == nil {
			v = p.build(q, now)
		}
		if err != nil || v.err != nil {
			http.Error(w, "the status cannot be read; the log says why", http.StatusInternalServerError)
			return
		}
		text := v.render(q, now)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		_, _ = w.Write(text)
	})
}

// secure sets the headers that every answer has.
func secure(h http.Header) {
	for name, value := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; style-src " + markup.Source(style) +
			"; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"Cache-Control":                "no-store",
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
	} {
		h.Set(name, value)
	}
}

// render writes the document.
func (v *view) render(q query, now time.Time) []byte {
	d := &document{now: now}
	d.add(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
`)
	if !q.Still { // without an address it is this page again, with what was asked for
		d.add("<meta http-equiv=\"refresh\" content=\"" + refresh + "\">\n")
	}
	d.add("<title>{} – {}</title>\n<link rel=\"icon\" href=\"{}\">\n<style>", v.title, v.program, v.mark.icon())
	d.WriteString(style)
	d.add("</style>\n</head>\n<body>\n<header class=\"top\">\n<p class=\"brand\">{}", v.program)
	if v.version != "" {
		d.add(` <span class="version">{}</span>`, v.version)
	}
	d.add("</p>\n<p class=\"when\">")
	d.moment(now, now.UTC().Format("2 Jan 2006, 15:04:05")+" UTC")
	if q.Still {
		d.add(` <span class="dot">·</span> stands still <span class="dot">·</span> <a href="{}">Refresh</a>`,
			q.with(func(q *query) { q.Still = false }))
	} else {
		d.add(` <span class="dot">·</span> refreshes every `+refresh+` s <span class="dot">·</span> <a href="{}">Stop</a>`,
			q.with(func(q *query) { q.Still = true }))
	}
	d.add("</p>\n</header>\n<main>\n")
	v.body(d)
	d.add("</main>\n</body>\n</html>\n")
	return []byte(d.String())
}

// tone is how well something is, as the style has it.
type tone string

// The tones.
const (
	good  tone = "good"
	bad   tone = "bad"
	warn  tone = "warn"
	plain tone = "plain"
)

// icon is a dot of that color, for the tab of the browser.
func (t tone) icon() string {
	color := map[tone]string{good: "1a8f3c", bad: "d1242f", warn: "c47f00", plain: "6e7781"}[t]
	return "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E" +
		"%3Ccircle cx='8' cy='8' r='7' fill='%23" + color + "'/%3E%3C/svg%3E"
}
