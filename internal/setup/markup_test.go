package setup

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// skeleton parses a page and returns its elements with the names of their attributes, and
// apart from these the texts and the values that attributes have.
func skeleton(t *testing.T, text string) (elements, texts []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict, d.AutoClose, d.Entity = false, []string{"meta", "link", "input"}, xml.HTMLEntity
	for {
		token, err := d.Token()
		if err == io.EOF {
			return elements, texts
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		switch e := token.(type) {
		case xml.StartElement:
			name := e.Name.Local
			for _, a := range e.Attr {
				name += " " + a.Name.Local
				texts = append(texts, a.Value)
			}
			elements = append(elements, name)
		case xml.EndElement:
			elements = append(elements, "/"+e.Name.Local)
		case xml.CharData:
			texts = append(texts, string(e))
		case xml.Comment, xml.ProcInst:
			elements = append(elements, "something else")
		}
	}
}

// full is a page with a text in every place where there can be one.
func full(text string) page {
	return page{
		Title: text, Lead: text, Steps: []step{{text, true, false}, {text, false, true}, {text, false, false}},
		Facts: []fact{{text, []string{text, text}}}, Action: "https://x/" + text, Manifest: text, Send: true,
		Link: "https://x/" + text, NewTab: true, Button: text, Busy: text, Refresh: text,
		Notes: []note{{text, "https://x/" + text, text}, {Text: text}}, Commands: []string{text},
		Hints: []string{text}, Back: text,
	}
}

// Whatever a text is, and wherever it stands, the page has the same elements, and the
// person reads that text.
func FuzzTextBecomesNoMarkup(f *testing.F) {
	for _, text := range []string{
		"x", `"><script>alert(1)</script>`, `' onclick='alert(1)`, `" onclick="alert(1)`, "</style><b>", "<!-- ",
		"<![CDATA[", "]]>", "{}", "{}{}",
		"&lt;b&gt;", "&amp;", "&", "<", "a\x00b", "\xff\xfe", "\u2028", "javascript:alert(1)", "`", "<?x ?>", "\x1b[31m",
	} {
		f.Add(text)
	}
	plain := full("x")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.TrimSpace(text) == "" || strings.ContainsFunc(text, func(r rune) bool {
			return r == '\r' || !unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S, unicode.Zs, unicode.C)
		}) {
			t.Skip() // nothing, or what a parser of XML reads otherwise than one of HTML
		}
		for _, way := range []func(*page){func(*page) {}, func(p *page) { p.Bad = true }, func(p *page) { p.Good = true }} {
			p, plain := full(text), plain
			way(&p)
			way(&plain)
			elements, texts := skeleton(t, p.render())
			if want, _ := skeleton(t, plain.render()); !slices.Equal(elements, want) {
				t.Fatalf("with %q the page is\n%s", text, p.render())
			}
			readable := strings.Map(func(r rune) rune {
				if unicode.IsControl(r) && r != '\n' && r != '\t' || r == unicode.ReplacementChar {
					return unicode.ReplacementChar
				}
				return r
			}, strings.ToValidUTF8(text, string(unicode.ReplacementChar)))
			if n := strings.Count(strings.Join(texts, "\x00"), readable); n < 20 && len(text) > 1 {
				t.Fatalf("%q is read %d times in\n%s", text, n, p.render())
			}
		}
	})
}

// What a server names as an address runs nothing.
func TestLinksLeadToPages(t *testing.T) {
	p := page{Title: "x", Notes: []note{{"x", "javascript:alert(1)", "y"}}, Link: "javascript:alert(2)",
		Action: "javascript:alert(3)"}
	testkit.Lacks(t, p.render(), "javascript:")
}
