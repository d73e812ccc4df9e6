package page

import (
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/markup"
	"github.com/ghapp-dev/ghapp/internal/text"
)

const (
	// maxText is the length of the longest text that is shown, in bytes.
	maxText = 600
	// maxLines is how many lines of a text are shown at most.
	maxLines = 8
)

// document is a page on its way.
type document struct {
	markup.Document
	now time.Time
	ids int // that were given
}

// add writes HTML with texts filled in, each of which is made fit to be shown.
func (d *document) add(m markup.HTML, texts ...string) {
	shown := make([]string, len(texts))
	for i, t := range texts {
		shown[i] = text.Shorten(text.OneLine(t), maxText)
	}
	d.Add(m, shown...)
}

// id is one that no other element has.
func (d *document) id() string {
	d.ids++
	return "e" + strconv.Itoa(d.ids)
}

// lines writes each line of a text in a paragraph.
func (d *document) lines(class markup.HTML, s string) {
	n := 0
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if n++; n > maxLines {
			return
		}
		d.add(`<p class="`+class+`">{}</p>`+"\n", line)
	}
}

// moment writes a time by its name, which a pointer on it shows in full.
func (d *document) moment(at time.Time, name string) {
	at = at.UTC()
	d.add(`<time datetime="{}" title="{}">{}</time>`,
		at.Format(time.RFC3339), at.Format("2006-01-02 15:04:05")+" UTC", name)
}

// ago writes how long something is past.
func (d *document) ago(at time.Time) {
	if at.IsZero() {
		d.add("never")
		return
	}
	if past := d.now.Sub(at); past < time.Second {
		d.moment(at, "just now")
	} else {
		d.moment(at, duration(past)+" ago")
	}
}

// until writes how long it is until then.
func (d *document) until(at time.Time) {
	if left := at.Sub(d.now); left < time.Second {
		d.moment(at, "now")
	} else {
		d.moment(at, "in "+duration(left))
	}
}

// pill writes how something is, in a word or two.
func (d *document) pill(t tone, words string) {
	d.add(`<span class="pill {}">{}</span>`, string(t), words)
}

// failure writes what failed, why, and what next.
func (d *document) failure(f *Failure) {
	d.add("<div class=\"failure\">\n")
	d.lines("what", f.Message)
	d.lines("hint", f.Hint)
	d.add(`<p class="again">`)
	if !f.At.IsZero() {
		d.add("failed ")
		d.ago(f.At)
	}
	if !f.Again.IsZero() {
		d.add(` <span class="dot">·</span> tried again `)
		d.until(f.Again)
	}
	if f.Kind != "" {
		d.add(` <span class="dot">·</span> <code>{}</code>`, f.Kind)
	}
	d.add("</p>\n</div>\n")
}

// Failure is what failed last.
type Failure struct {
	Message string    // what failed, and why
	Hint    string    // what next; "": nothing is known
	Kind    string    // a short code, as in the errors of the command
	At      time.Time // when it failed
	Again   time.Time // when it is tried again by itself; zero: it is not
}

// duration is how long something is, in the largest unit of which it has some.
func duration(d time.Duration) string {
	d = max(d, 0)
	n := func(unit time.Duration) string { return strconv.Itoa(int(d / unit)) }
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return n(time.Millisecond) + " ms"
	case d < time.Minute:
		return n(time.Second) + " s"
	case d < time.Hour:
		return n(time.Minute) + " min"
	case d < 2*day:
		return n(time.Hour) + " h"
	}
	return number(int64(d/day)) + " days"
}

// number is a count as people read it: 12,345.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// counted is a number of things: "1 directory", "12 directories".
func counted(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(int64(n)) + " " + several
}
