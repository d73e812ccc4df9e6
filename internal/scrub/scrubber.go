// Package scrub takes secrets out of text that other programs wrote: by value, as
// they are and in their encodings, and by the shapes that GitHub's tokens have.
package scrub

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
)

// Scrubber puts [secret.Placeholder] in the place of secrets in text that others wrote:
// what git prints, what a server answers.
//
// It knows the secrets it was given, by value, and finds them also as base64 (so
// in an Authorization header of the Basic kind), in URLs, and in JSON and Go
// strings. Beside those it takes out what has the shape of a GitHub token, of a
// JSON Web Token, or of a PEM private key, no matter whose.
//
// The zero value knows no secret, and is ready. A Scrubber is safe for concurrent
// use and must not be copied.
type Scrubber struct {
	mu    sync.Mutex // held by Add
	known atomic.Pointer[known]
}

// known is never changed once it is stored.
type known struct {
	secrets []knownSecret
	forms   [256][]string // of all secrets, by their first byte
}

// knownSecret is known for ever where until is zero.
type knownSecret struct {
	text  string
	until time.Time
}

// shortest is how many bytes a secret must have to be removed by value. What is
// shorter is found in ordinary words; to black those out hides nothing.
const shortest = 4

// New returns a Scrubber that knows secrets.
func New(secrets ...secret.Text) *Scrubber {
	r := new(Scrubber)
	for _, secret := range secrets {
		r.Add(secret)
	}
	return r
}

// Add makes secret known: to String from now on, to a [Writer] from its next
// Write. Add it before others can print it. A secret of fewer than four bytes is
// left out.
func (r *Scrubber) Add(secret secret.Text) { r.AddUntil(secret, time.Time{}) }

// AddUntil is Add for a secret that ends at some time, and may be forgotten
// then: a process that runs for months hands out a token an hour. The zero time is never.
func (r *Scrubber) AddUntil(added secret.Text, until time.Time) {
	text := added.Reveal()
	if len(text) < shortest {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := new(known)
	now := time.Now()
	if old := r.known.Load(); old != nil {
		for _, s := range old.secrets {
			alive := s.until.IsZero() || now.Before(s.until)
			switch {
			case s.text == text && alive && (s.until.IsZero() || !until.IsZero()):
				return
			case s.text != text && alive:
				next.secrets = append(next.secrets, s)
			}
		}
	}
	next.secrets = append(next.secrets, knownSecret{text, until})
	for _, s := range next.secrets {
		for _, form := range forms(s.text) {
			next.forms[form[0]] = append(next.forms[form[0]], form)
		}
	}
	r.known.Store(next)
}

// String returns s without secrets. Secrets that touch or overlap become one
// [secret.Placeholder]. A known secret that the end of s cuts off is removed too, if
// eight bytes of it are there.
func (r *Scrubber) String(s string) string {
	var state scan
	out, _ := state.next(nil, []byte(s), r.known.Load(), true)
	return string(out)
}

// forms returns the ways in which text is written. Each has shortest bytes or
// more.
func forms(text string) []string {
	all := []string{
		text,
		url.QueryEscape(text), url.PathEscape(text), url.User(text).String(), // RFC 3986 section 2.1
		inJSON(text, true), inJSON(text, false), // RFC 8259 section 7
		inQuotes(strconv.Quote(text)), inQuotes(strconv.QuoteToASCII(text)), // Go's %q
	}
	for _, escaped := range all[1:4] {
		all = append(all, percent().ReplaceAllStringFunc(escaped, strings.ToLower))
	}
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 {
			all = append(all, inBase64(alphabet, text, offset))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

var percent = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`%[0-9A-F]{2}`) })

func inQuotes(quoted string) string { return quoted[1 : len(quoted)-1] }

func inJSON(text string, html bool) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(html)
	if err := encoder.Encode(text); err != nil {
		return text // a string always encodes
	}
	return inQuotes(strings.TrimSuffix(b.String(), "\n"))
}

// inBase64 returns the characters that text has in the base64 of a longer text,
// in which it begins at a multiple of three bytes and offset. The first and the
// last character may belong to a neighbour too; such a one is left out.
//
// That covers user and password of Basic authentication (RFC 7617 section 2)
// of any user.
func inBase64(alphabet *base64.Encoding, text string, offset int) string {
	encoded := alphabet.EncodeToString([]byte(strings.Repeat("\x00", offset) + text))
	shared := []int{0, 2, 3}[offset]
	if (offset+len(text))%3 != 0 {
		encoded = encoded[:len(encoded)-1]
	}
	return encoded[shared:]
}
