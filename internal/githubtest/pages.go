package githubtest

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// GitHub's pages that a person sees on the way to an installed App. They are as plain as can be, and work without
// JavaScript; the addresses, fields and buttons a program or a person meets are GitHub's own where GitHub documents
// them: those to which a manifest is posted, the names of its parameters, and those a browser is sent on to.

// SignIn sets who uses the pages of GitHub, as an owner of every organization. The default is octocat. It is made as a
// User if it is not there.
func (gh *GitHub) SignIn(login string) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.person = gh.account(login, User)
}

// isPage tells the pages from the REST API, which has the rest of the paths.
func isPage(r *http.Request) bool {
	path := r.URL.EscapedPath()
	if strings.HasPrefix(r.Host, "api.") || strings.HasPrefix(path, "/api/v3/") {
		return false
	}
	return slices.ContainsFunc(pages, func(p webPage) bool {
		_, ok := match(p.path, path)
		return ok
	})
}

// webPage is a page, or what a form of one is sent to.
type webPage struct {
	method string
	path   string // {name} stands for one segment
	show   func(*visit) answer
}

var pages []webPage

func init() { // not above, since the pages refer to the list
	pages = []webPage{
		{"POST", "/settings/apps/new", (*visit).proposeApp},
		{"POST", "/organizations/{owner}/settings/apps/new", (*visit).proposeApp},
		{"POST", "/settings/apps/manifest", (*visit).createApp},
		{"GET", "/apps/{slug}/installations/new", (*visit).offerApp},
		{"POST", "/apps/{slug}/installations/new", (*visit).installApp},
		{"GET", "/settings/installations/{id}", (*visit).showInstallation},
		{"GET", "/organizations/{owner}/settings/installations/{id}", (*visit).showInstallation},
	}
}

// visit is one request for a page.
type visit struct {
	gh     *GitHub
	r      *http.Request
	values map[string]string // of the path's parameters
}

// page answers a request for a page.
func (gh *GitHub) page(r *http.Request) answer {
	v := &visit{gh: gh, r: r}
	for _, p := range pages {
		values, ok := match(p.path, r.URL.EscapedPath())
		if ok && p.method == r.Method {
			v.values = values
			return p.show(v)
		}
	}
	return v.nothing()
}

// account is the one a page is about: the organization its path names, or else the person's own. It is nil for an
// account that is nobody's, or another person's.
func (v *visit) account(name string) *Account {
	if name == "" {
		return v.gh.signedIn()
	}
	if a := v.gh.accounts[fold(name)]; a != nil && a.Kind == Organization {
		return a
	}
	return nil
}

func (gh *GitHub) signedIn() *Account {
	if gh.person == nil {
		gh.person = gh.account("octocat", User)
	}
	return gh.person
}

// proposeApp shows what a manifest asks for, and a button to allow it.
func (v *visit) proposeApp() answer {
	p := &proposal{state: v.r.URL.Query().Get("state")}
	problem := p.parse(v.r.PostFormValue("manifest"))
	v.gh.mu.Lock()
	defer v.gh.mu.Unlock()
	if p.owner = v.account(v.values["owner"]); p.owner == nil {
		return v.nothing()
	}
	if problem != nil {
		return v.html(http.StatusUnprocessableEntity, "Invalid GitHub App configuration", problem.Error())
	}
	p.until = v.gh.now().Add(codeLife)
	token := inventSecret()
	v.gh.proposals[token] = p
	return v.proposal(http.StatusOK, token, p, p.Name, v.gh.nameProblem(p.Name))
}

func (v *visit) proposal(status int, token string, p *proposal, name, problem string) answer {
	return v.html(status, "Create GitHub App for "+p.owner.Login, problem, fill(manifestForm, token, name, p.owner.Login))
}

// createApp makes the App and sends the browser back to where the manifest says.
func (v *visit) createApp() answer {
	token, name := v.r.PostFormValue("authenticity_token"), strings.TrimSpace(v.r.PostFormValue("name"))
	v.gh.mu.Lock()
	p := v.gh.proposals[token]
	delete(v.gh.proposals, token) // one button makes one App
	late := p != nil && v.gh.now().After(p.until)
	v.gh.mu.Unlock()
	if p == nil || late {
		return v.nothing()
	}
	code, err := v.gh.register(p, name)
	if err != nil {
		v.gh.mu.Lock()
		v.gh.proposals[token] = p
		v.gh.mu.Unlock()
		return v.proposal(http.StatusUnprocessableEntity, token, p, name, err.Error())
	}
	query := url.Values{"code": {code}}
	if p.state != "" {
		query.Set("state", p.state)
	}
	return sendOn(p.RedirectURL, query)
}

// sendOn sends the browser to an address, with more in its query.
func sendOn(address string, more url.Values) answer {
	u, err := url.Parse(address)
	if err != nil {
		return answer{status: http.StatusInternalServerError, body: err.Error()}
	}
	query := u.Query()
	for name, values := range more {
		query[name] = values
	}
	u.RawQuery = query.Encode()
	return answer{status: http.StatusFound, header: http.Header{"Location": {u.String()}}, body: ""}
}

// target finds the App of an install page and the account it is for: its owner's, or the one that target_id names. A
// private App is for its owner's alone.
func (v *visit) target() (*App, *Account) {
	i := slices.IndexFunc(v.gh.apps, func(a *App) bool { return a.Slug == v.values["slug"] })
	if i < 0 {
		return nil, nil
	}
	app, account := v.gh.apps[i], v.gh.apps[i].owner
	if id := v.r.FormValue("target_id"); id != "" {
		account = nil
		for _, a := range v.gh.accounts {
			if strconv.FormatInt(a.ID, 10) == id && (a == app.owner || !app.private) {
				account = a
			}
		}
	}
	if account == nil || account.Kind == User && account != v.gh.signedIn() {
		return nil, nil
	}
	return app, account
}

// offerApp shows the page with the button Install.
func (v *visit) offerApp() answer {
	v.gh.mu.Lock()
	defer v.gh.mu.Unlock()
	app, account := v.target()
	if app == nil {
		return v.nothing()
	}
	if inst := v.gh.installed(app, account); inst != nil {
		return sendOn(origin(v.r)+installationPage(inst), nil)
	}
	return v.offer(http.StatusOK, app, account, "")
}

func (v *visit) offer(status int, app *App, account *Account, problem string) answer {
	form := []string{fill(installForm, account.Login, strconv.FormatInt(account.ID, 10), v.r.FormValue("state"))}
	for _, r := range v.gh.sorted(func(r *Repository) bool { return r.owner == account }) {
		form = append(form,
			fill(`<label><input type="checkbox" name="repository" value="{}"> {}</label>`+"\n", r.fullName(), r.fullName()))
	}
	var permissions []string
	for name, value := range app.permissions {
		permissions = append(permissions, fill("<li>{}</li>", value+" access to "+strings.ReplaceAll(name, "_", " ")))
	}
	slices.Sort(permissions)
	form = append(form, "</fieldset>\n<p>with these permissions:</p>\n<ul>")
	form = append(form, permissions...)
	form = append(form, "</ul>\n<button type=\"submit\">Install</button>\n</form>\n")
	return v.html(status, "Install "+app.Name, problem, form...)
}

// installApp installs the App and sends the browser to its setup URL.
func (v *visit) installApp() answer {
	v.gh.mu.Lock()
	app, account := v.target()
	if app == nil {
		v.gh.mu.Unlock()
		return v.nothing()
	}
	all, names := v.r.PostFormValue("install_target") == "all", v.r.PostForm["repository"]
	foreign := slices.ContainsFunc(names, func(name string) bool {
		r := v.gh.names[fold(name)]
		return r == nil || r.owner != account
	})
	if foreign || !all && len(names) == 0 {
		defer v.gh.mu.Unlock()
		return v.offer(http.StatusUnprocessableEntity, app, account, "Select at least one repository.")
	}
	v.gh.mu.Unlock()
	inst := app.Install(account.Login, InstallOptions{All: all, Repositories: names})
	if app.setupURL == "" {
		return sendOn(origin(v.r)+installationPage(inst), nil)
	}
	query := url.Values{"installation_id": {strconv.FormatInt(inst.ID, 10)}, "setup_action": {"install"}}
	if state := v.r.FormValue("state"); state != "" {
		query.Set("state", state)
	}
	return sendOn(app.setupURL, query)
}

// installationPage is the path of an installation's settings page.
func installationPage(i *Installation) string {
	return fmt.Sprintf("%s/settings/installations/%d", settings(i.account), i.ID)
}

func (v *visit) showInstallation() answer {
	v.gh.mu.Lock()
	defer v.gh.mu.Unlock()
	id, _ := strconv.ParseInt(v.values["id"], 10, 64)
	inst := v.gh.installs[id]
	if inst == nil || installationPage(inst) != v.r.URL.Path {
		return v.nothing()
	}
	return v.html(http.StatusOK, inst.app.Name, "",
		fill("<p>Installed on {}: {} repositories.</p>\n", inst.account.Login, inst.selection()))
}

func (v *visit) nothing() answer {
	return v.html(http.StatusNotFound, "Page not found", "This is not the web page you are looking for.")
}

func (v *visit) html(status int, title, problem string, rest ...string) answer {
	page := fill(head, title, title)
	if problem != "" {
		page += fill("<p role=\"alert\">{}</p>\n", problem)
	}
	return answer{status: status, header: http.Header{
		"Content-Type":            {"text/html; charset=utf-8"},
		"Cache-Control":           {"no-store"},
		"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"},
	}, body: page + strings.Join(rest, "")}
}

// markup is HTML that stands in this file, with {} where a text or the value of an attribute in quotes is filled in.
type markup string

// fill fills texts in, escaped: none becomes markup.
func fill(m markup, texts ...string) string {
	var b strings.Builder
	for i, part := range strings.Split(string(m), "{}") {
		if i > 0 {
			b.WriteString(html.EscapeString(texts[i-1]))
		}
		b.WriteString(part)
	}
	return b.String()
}

const head = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{}</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 36rem; margin: 2rem auto; padding: 0 1rem }
label { display: block }
fieldset { margin: 1rem 0 }
button { font: inherit; padding: .3rem 1rem }
</style>
<h1>{}</h1>
`

const manifestForm = `<form method="post" action="/settings/apps/manifest">
<input type="hidden" name="authenticity_token" value="{}">
<label>GitHub App name <input name="name" value="{}"></label>
<p>The name of your GitHub App.</p>
<button type="submit">Create GitHub App for {}</button>
</form>
`

const installForm = `<p>Install on your account {}</p>
<form method="post">
<input type="hidden" name="target_id" value="{}">
<input type="hidden" name="state" value="{}">
<fieldset><legend>for these repositories:</legend>
<label><input type="radio" name="install_target" value="all" checked> All repositories</label>
<label><input type="radio" name="install_target" value="selected"> Only select repositories</label>
`
