// Package markup writes HTML. It does without html/template, which keeps every method of the
// program alive and made it a fifth larger: there is no other place for a text here than between
// elements and in double quotes, and one way to get there.
package markup

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"strings"
	"unicode"
)

// HTML is what stands in our files, with {} where a text goes, or the value of an attribute in
// double quotes. What comes from elsewhere is a string, and becomes no HTML without a conversion
// that can be seen.
type HTML string

// Document is a page on its way. The zero value is an empty one.
type Document struct{ strings.Builder }

// Add writes HTML with texts filled in, one for each {}.
func (d *Document) Add(m HTML, texts ...string) {
	for i, part := range strings.Split(string(m), "{}") {
		if i > 0 {
			d.WriteString(escaped(texts[i-1]))
		}
		d.WriteString(part)
	}
}

// escaped is a text as it stands between elements or in quotes
// (https://html.spec.whatwg.org/multipage/syntax.html#syntax-attributes). What no document
// may hold is replaced.
func escaped(text string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar))))
}

// Address is where a link or a form leads. A scheme that runs something is none, and leads nowhere.
func Address(url string) string {
	for _, prefix := range []string{"https://", "http://", "/"} {
		if strings.HasPrefix(url, prefix) {
			return url
		}
	}
	return "#"
}

// Source is that by which the policy of a page allows the style or the script that is in it, and
// nothing else (https://www.w3.org/TR/CSP3/#framework-directive-source-list), in its quotes.
func Source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
