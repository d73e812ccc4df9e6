package setup

import (
	_ "embed"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

//go:embed style.css
var styleText string

// scriptText sends the form of the first page. A page works without it.
const scriptText = `document.forms[0].submit()`

// page is what a person sees.
type page struct {
	Title string
	Lead  string
	Steps []step // none on a refusal
	Facts []fact
	// Action is where the form is sent, with Manifest in it; empty: there is no form.
	Action, Manifest string
	// Send lets the form send itself.
	Send bool
	// Link is GitHub's page that the person is to go to; NewTab keeps this one open.
	Link   string
	NewTab bool
	// Button is the text of the form's button, or of the link.
	Button string
	// Busy says what is waited for; Refresh is the address to ask for it then.
	Busy, Refresh string
	Notes         []note
	Commands      []string
	// Hints are what to do about what went wrong.
	Hints []string
	// Back is the text of a link to the first page.
	Back string
	// Bad is a page about something that went wrong, Good the last one.
	Bad, Good bool
}

type step struct {
	Name          string
	Current, Done bool
}

type fact struct {
	Name  string
	Texts []string
}

// note is a remark, with a link at its end that leaves the page open.
type note struct{ Text, Link, LinkText string }

// stepsAt are the steps of the whole way, the nth of which is the current one.
func stepsAt(current int) []step {
	var list []step
	for i, name := range []string{"Create the App", "Install it", "Ready"} {
		list = append(list, step{name, i == current, i < current})
	}
	return list
}

// host is GitHub's as people know it.
func (f *Flow) host() string {
	_, host, _ := strings.Cut(f.plan.Origin, "://")
	return host
}

// startPage is the page with the manifest.
func (f *Flow) startPage(state string, send bool) page {
	owner := "you, the person signed in on " + f.host()
	if f.plan.Organization != "" {
		owner = f.plan.Organization + ", the organization"
	}
	var may []string
	for _, name := range slices.Sorted(maps.Keys(f.plan.Permissions)) {
		may = append(may, f.plan.Permissions[name]+" "+strings.ReplaceAll(name, "_", " "))
	}
	return page{
		Title: "Create a GitHub App",
		Lead: "GitHub asks you twice: to create the App, and to install it. Then git on " + f.plan.Machine +
			" can use your repositories.",
		Steps: stepsAt(0),
		Facts: []fact{
			{Name: "Name", Texts: []string{f.plan.Name}},
			{Name: "Owner", Texts: []string{owner}},
			{Name: "It may", Texts: may},
			{Name: "Its key", Texts: []string{"stays on " + f.plan.Machine + ", in " + f.plan.KeyPlace}},
		},
		Action: f.newAppURL(state), Manifest: f.manifest(), Send: send,
		Button: "Continue on " + f.host(),
		Notes: []note{
			{"Not signed in there in this browser? GitHub forgets what it was asked while you do: sign in first, " +
				"then go on here.", f.plan.Origin + "/login", "Sign in on " + f.host()},
			{Text: "The name has to be one that no other App has. You can change it on GitHub’s page."},
		},
	}
}

// statusPage is how far things are. It is called with the lock held.
func (f *Flow) statusPage() page {
	refresh := startPath + "?after=" + strconv.Itoa(int(f.phase))
	switch f.phase {
	case registering:
		return page{Title: "Create a GitHub App", Lead: "GitHub has created the App.", Steps: stepsAt(0),
			Busy: "Fetching its key…", Refresh: refresh}
	case installing:
		return page{
			Title: "Install " + f.app.Name,
			Lead: "The App exists, and its key is on " + f.plan.Machine +
				". Now choose on GitHub which repositories of " + f.app.Owner + " it may use.",
			Steps: stepsAt(1),
			Link:  InstallURL(f.plan.Origin, f.app), NewTab: !f.away, Button: "Install on " + f.host(),
			Busy: "Waiting for GitHub to say that it is installed…", Refresh: refresh,
			Notes: []note{{Text: "Does an owner have to approve it first? This page may be closed, and ghapp setup ended: " +
				"started again, it goes on from here."}},
		}
	case proving:
		return page{Title: "Install " + f.app.Name, Lead: "The App is installed.", Steps: stepsAt(1),
			Busy: "Trying it out…", Refresh: refresh}
	case done:
		return f.lastPage()
	case failed:
		message, hint := f.steps.Explain(f.err)
		p := page{Title: "The setup has stopped", Lead: sentence(message), Bad: true}
		for line := range strings.Lines(hint) {
			p.Hints = append(p.Hints, sentence(strings.TrimSpace(line)))
		}
		return p
	}
	return page{Title: "Create a GitHub App", Back: "Show the setup"}
}

// sentence makes one of a text that stands after a colon in the terminal.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// lastPage says what there is now, and what to do with it.
func (f *Flow) lastPage() page {
	reach := "the repositories selected"
	if f.installation.AllRepositories {
		reach = "all repositories"
	}
	p := page{
		Title: f.app.Name + " is ready",
		Lead:  "Go back to the terminal. This page can be closed.",
		Steps: stepsAt(3), Good: true,
		Facts: []fact{{Name: "Installed", Texts: []string{"on " + f.installation.Account + ", for " + reach}}},
	}
	switch {
	case f.proof.Repository == "":
		p.Lead = "The installation has no repository yet."
		p.Notes = []note{{"Select some:", f.installation.URL, "settings of the installation"}}
		return p
	case f.proof.WithoutGit:
		p.Facts = append(p.Facts, fact{Name: "Tried", Texts: []string{"a token for " + f.proof.Repository}})
		p.Notes = []note{{Text: "The App may not read contents, so git cannot use it."}}
		return p
	}
	refs := strconv.Itoa(f.proof.Refs) + " references"
	if f.proof.Refs == 1 {
		refs = "1 reference"
	}
	p.Facts = append(p.Facts, fact{Name: "Tried", Texts: []string{"git ls-remote of " + f.proof.Repository + ": " + refs}})
	p.Commands = []string{"ghapp clone " + f.proof.Repository, "ghapp git-setup"}
	return p
}
