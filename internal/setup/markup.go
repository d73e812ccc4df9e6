package setup

import (
	"html"
	"strings"
	"unicode"
)

// markup is HTML that stands in this file, with {} where a text goes, or the value of an
// attribute in double quotes. What comes from elsewhere is a string, and becomes no markup
// without a conversion that can be seen.
type markup string

// document is a page on its way. It is written without html/template, which keeps every
// method of the program alive and made it a fifth larger: there is no other place for a
// text here than between elements and in quotes, and one way to get there.
type document struct{ strings.Builder }

// add writes markup with texts filled in.
func (d *document) add(m markup, texts ...string) {
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

// address is where a link or a form leads. A scheme that runs something is none.
func address(url string) string {
	for _, prefix := range []string{"https://", "http://", "/"} {
		if strings.HasPrefix(url, prefix) {
			return url
		}
	}
	return "#"
}

// render returns the document of a page.
func (p page) render() string {
	var d document
	d.add(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
`)
	if p.Refresh != "" {
		d.add("<meta http-equiv=\"refresh\" content=\"1; url={}\">\n", p.Refresh)
	}
	d.add("<title>{} – ghapp setup</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>", p.Title)
	d.WriteString(styleText)
	d.add("</style>\n</head>\n<body>\n<header><p>ghapp setup</p></header>\n<main>\n")
	p.steps(&d)
	p.heading(&d)
	if len(p.Facts) > 0 {
		d.add("<dl>\n")
		for _, f := range p.Facts {
			d.add("<div><dt>{}</dt>", f.Name)
			for _, text := range f.Texts {
				d.add("<dd>{}</dd>", text)
			}
			d.add("</div>\n")
		}
		d.add("</dl>\n")
	}
	p.way(&d)
	if len(p.Commands) > 0 {
		d.add("<h2>Next</h2>\n<pre>")
		for _, command := range p.Commands {
			d.add("<code>{}</code>\n", command)
		}
		d.add("</pre>\n")
	}
	if len(p.Hints) > 0 {
		d.add("<h2>What to do</h2>\n")
		for _, hint := range p.Hints {
			d.add("<p>{}</p>\n", hint)
		}
	}
	for _, n := range p.Notes {
		d.add(`<p class="note">{}`, n.Text)
		if n.Link != "" {
			d.add(` <a href="{}" target="_blank" rel="noopener">{}</a>`, address(n.Link), n.LinkText)
		}
		d.add("</p>\n")
	}
	if p.Back != "" {
		d.add(`<p><a class="button" href="/">{}</a></p>`+"\n", p.Back)
	}
	d.add("</main>\n")
	if p.Send {
		d.add("<script>" + scriptText + "</script>\n")
	}
	d.add("</body>\n</html>\n")
	return d.String()
}

// steps writes how far things are.
func (p page) steps(d *document) {
	if len(p.Steps) == 0 {
		return
	}
	d.add(`<ol class="steps" aria-label="Steps">` + "\n")
	for _, s := range p.Steps {
		switch {
		case s.Current:
			d.add("<li aria-current=\"step\">{}</li>\n", s.Name)
		case s.Done:
			d.add("<li class=\"done\">{}<span class=\"unseen\">, done</span></li>\n", s.Name)
		default:
			d.add("<li>{}</li>\n", s.Name)
		}
	}
	d.add("</ol>\n")
}

// heading writes what the page is about.
func (p page) heading(d *document) {
	switch {
	case p.Bad:
		d.add("<h1 class=\"bad\">{}</h1>\n<p class=\"lead\" role=\"alert\">{}</p>\n", p.Title, p.Lead)
		return
	case p.Good:
		d.add("<h1 class=\"good\">{}</h1>\n", p.Title)
	default:
		d.add("<h1>{}</h1>\n", p.Title)
	}
	if p.Lead != "" {
		d.add("<p class=\"lead\">{}</p>\n", p.Lead)
	}
}

// way writes where the person is to go, and what is waited for.
func (p page) way(d *document) {
	if p.Action != "" {
		d.add(`<form method="post" action="{}">
<input type="hidden" name="manifest" value="{}">
<button type="submit">{}</button>
</form>
`, address(p.Action), p.Manifest, p.Button)
	}
	if p.Link != "" {
		d.add(`<p><a class="button" href="{}"`, address(p.Link))
		if p.NewTab {
			d.add(` target="_blank" rel="noopener"`)
		}
		d.add(">{}</a></p>\n", p.Button)
	}
	if p.Busy != "" {
		d.add(`<p class="busy" role="status"><span class="turning" aria-hidden="true"></span>{}</p>`+"\n", p.Busy)
	}
}
