package markup_test

import (
	"testing"

	"github.com/ghapp-dev/ghapp/internal/markup"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// An address that a server names leads to a page, and runs nothing.
func TestLinksLeadToPages(t *testing.T) {
	for url, want := range map[string]string{
		"https://github.com/x": "https://github.com/x", "http://127.0.0.1:1/x": "http://127.0.0.1:1/x", "/": "/",
		"javascript:alert(1)": "#", " javascript:alert(1)": "#", "JavaScript:alert(1)": "#",
		"data:text/html,x": "#", "": "#", "vbscript:x": "#",
	} {
		testkit.Equal(t, markup.Address(url), want, "%q leads to", url)
	}
}

// A text neither ends an element nor a value, has no character that a document may not hold, and
// is no place for another text.
func TestTextsAreNoHTML(t *testing.T) {
	var d markup.Document
	d.Add(`<p title="{}">{}</p>`, `"><b>{}`, "a\x00\xff\u0085<i>\n")
	testkit.Equal(t, d.String(), "<p title=\"&#34;&gt;&lt;b&gt;{}\">a\uFFFD\uFFFD\uFFFD&lt;i&gt;\n</p>")
}
