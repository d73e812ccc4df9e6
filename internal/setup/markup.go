package setup

import "github.com/ghapp-dev/ghapp/internal/markup"

// render returns the document of a page.
func (p page) render() string {
	var d markup.Document
	d.Add(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
`)
	if p.Refresh != "" {
		d.Add("<meta http-equiv=\"refresh\" content=\"1; url={}\">\n", p.Refresh)
	}
	d.Add("<title>{} – ghapp setup</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>", p.Title)
	d.WriteString(styleText)
	d.Add("</style>\n</head>\n<body>\n<header><p>ghapp setup</p></header>\n<main>\n")
	p.steps(&d)
	p.heading(&d)
	if len(p.Facts) > 0 {
		d.Add("<dl>\n")
		for _, f := range p.Facts {
			d.Add("<div><dt>{}</dt>", f.Name)
			for _, text := range f.Texts {
				d.Add("<dd>{}</dd>", text)
			}
			d.Add("</div>\n")
		}
		d.Add("</dl>\n")
	}
	p.way(&d)
	if len(p.Commands) > 0 {
		d.Add("<h2>Next</h2>\n<pre>")
		for _, command := range p.Commands {
			d.Add("<code>{}</code>\n", command)
		}
		d.Add("</pre>\n")
	}
	if len(p.Hints) > 0 {
		d.Add("<h2>What to do</h2>\n")
		for _, hint := range p.Hints {
			d.Add("<p>{}</p>\n", hint)
		}
	}
	for _, n := range p.Notes {
		d.Add(`<p class="note">{}`, n.Text)
		if n.Link != "" {
			d.Add(` <a href="{}" target="_blank" rel="noopener">{}</a>`, markup.Address(n.Link), n.LinkText)
		}
		d.Add("</p>\n")
	}
	if p.Back != "" {
		d.Add(`<p><a class="button" href="/">{}</a></p>`+"\n", p.Back)
	}
	d.Add("</main>\n")
	if p.Send {
		d.Add("<script>" + scriptText + "</script>\n")
	}
	d.Add("</body>\n</html>\n")
	return d.String()
}

// steps writes how far things are.
func (p page) steps(d *markup.Document) {
	if len(p.Steps) == 0 {
		return
	}
	d.Add(`<ol class="steps" aria-label="Steps">` + "\n")
	for _, s := range p.Steps {
		switch {
		case s.Current:
			d.Add("<li aria-current=\"step\">{}</li>\n", s.Name)
		case s.Done:
			d.Add("<li class=\"done\">{}<span class=\"unseen\">, done</span></li>\n", s.Name)
		default:
			d.Add("<li>{}</li>\n", s.Name)
		}
	}
	d.Add("</ol>\n")
}

// heading writes what the page is about.
func (p page) heading(d *markup.Document) {
	switch {
	case p.Bad:
		d.Add("<h1 class=\"bad\">{}</h1>\n<p class=\"lead\" role=\"alert\">{}</p>\n", p.Title, p.Lead)
		return
	case p.Good:
		d.Add("<h1 class=\"good\">{}</h1>\n", p.Title)
	default:
		d.Add("<h1>{}</h1>\n", p.Title)
	}
	if p.Lead != "" {
		d.Add("<p class=\"lead\">{}</p>\n", p.Lead)
	}
}

// way writes where the person is to go, and what is waited for.
func (p page) way(d *markup.Document) {
	if p.Action != "" {
		d.Add(`<form method="post" action="{}">
<input type="hidden" name="manifest" value="{}">
<button type="submit">{}</button>
</form>
`, markup.Address(p.Action), p.Manifest, p.Button)
	}
	if p.Link != "" {
		d.Add(`<p><a class="button" href="{}"`, markup.Address(p.Link))
		if p.NewTab {
			d.Add(` target="_blank" rel="noopener"`)
		}
		d.Add(">{}</a></p>\n", p.Button)
	}
	if p.Busy != "" {
		d.Add(`<p class="busy" role="status"><span class="turning" aria-hidden="true"></span>{}</p>`+"\n", p.Busy)
	}
}
