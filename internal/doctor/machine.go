package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
)

// The links of the machine that lead plain git to another identity, or to another host.
// ghapp's own calls of git go past them.
const (
	linkHeaders      = "headers"
	linkNetrc        = ".netrc"
	linkLogins       = "logins"
	linkHelpers      = "helpers"
	linkRewriting    = "rewriting"
	linkVerification = "verification"
	linkTraces       = "traces"
	linkHooks        = "hooks"
)

// machineLinks are what git has configured for the host: a line for each entry that is
// in the way, and one where there is none.
func (h *hostChain) machineLinks(ctx context.Context) []link {
	needs := []string{"git", "CA file"} // by the latter the host is known
	if h.behind(needs) != "" {
		var list []link
		for _, name := range []string{linkHeaders, linkNetrc, linkLogins, linkHelpers, linkRewriting,
			linkVerification, linkTraces, linkHooks} {
			list = append(list, link{name: name, needs: needs})
		}
		return list
	}
	entries, err := h.x.Entries(ctx)
	if err != nil {
		return []link{{name: "git configuration",
			check: func(context.Context) Finding { return broken(err, "it cannot be read") }}}
	}
	asked := asksUs(entries, h.host.Origin)
	found := h.conflicts(entries, asked)
	var list []link
	for _, l := range []struct{ name, none string }{
		{linkHeaders, "none that brings another identity"},
		{linkNetrc, "no login for the host"},
		{linkLogins, "no remote has one in its address"},
		{linkHelpers, h.helpersText(asked)},
		{linkRewriting, "no rule that leads elsewhere"},
		{linkVerification, "git checks certificates"},
		{linkTraces, "no variable that has tokens shown in them"},
	} {
		if len(found[l.name]) == 0 {
			list = append(list, link{name: l.name, check: func(context.Context) Finding {
				if l.name == linkHelpers && asked == nil && h.isOfOrigin() {
					return note("git pull and push in this directory do not ask ghapp for %s: "+
						"`ghapp git-setup --local` makes them", h.host.Origin)
				}
				return ok("%s", l.none)
			}})
		}
		for _, c := range found[l.name] {
			list = append(list,
				link{name: l.name, check: func(context.Context) Finding { return conflicting(l.name, c, asked != nil) }})
		}
	}
	return append(list, link{name: linkHooks, check: func(context.Context) Finding { return checkHooks(entries) }})
}

// conflicts are the entries in the way, by their links. Other helpers are in nobody's way
// where git is not to ask ghapp.
func (h *hostChain) conflicts(entries []gitsetup.Entry, asked *gitsetup.Entry) map[string][]gitsetup.Conflict {
	scope := gitsetup.Global
	if asked != nil {
		scope = asked.Scope
	}
	found := map[string][]gitsetup.Conflict{linkNetrc: h.x.Netrc(h.host.Origin)}
	for _, c := range gitsetup.Conflicts(entries, h.host.Origin, scope, os.ReadFile) {
		if name := conflictLink(c.Key); name != linkHelpers || asked != nil {
			found[name] = append(found[name], c)
		}
	}
	found[linkHelpers] = append(found[linkHelpers], ofHelpers(entries, h.host.Origin)...)
	for _, c := range gitsetup.Variables(h.x.lookup) {
		name := conflictLink(c.Key)
		found[name] = append(found[name], c)
	}
	return found
}

// conflictLink is the link that an entry of git's configuration, or a variable, belongs
// to.
func conflictLink(key string) string {
	section, _, _ := strings.Cut(key, ".")
	switch {
	case strings.HasSuffix(key, ".sslverify"), key == "GIT_SSL_NO_VERIFY":
		return linkVerification
	case section == key: // the other variables
		return linkTraces
	case section == "http":
		return linkHeaders
	case section == "url":
		return linkRewriting
	case section == "remote", section == "submodule":
		return linkLogins
	}
	return linkHelpers
}

// conflicting is an entry in the way. Where git is to ask ghapp it stops what the user
// has set up; elsewhere it is another's, and concerns plain git alone.
func conflicting(name string, c gitsetup.Conflict, asked bool) Finding {
	trouble := &diag.TroubleError{Trouble: diag.GitConfigured, Text: c.Key + ": " + c.Text, Hint: c.Hint}
	switch name {
	case linkNetrc:
		trouble.Trouble = diag.LoginOfNetrc
	case linkVerification:
		trouble.Trouble = diag.CertificatesUnchecked
	case linkTraces:
		trouble.Trouble = diag.TokensTraced
	}
	if asked && !c.Beside {
		return broken(trouble, "%s", c.Place())
	}
	return warn(trouble, "%s", c.Place())
}

// asksUs is the last entry that names ghapp as the helper for the origin, or nil.
func asksUs(entries []gitsetup.Entry, origin string) *gitsetup.Entry {
	for _, e := range slices.Backward(entries) {
		if namesUs(e, origin) {
			return &e
		}
	}
	return nil
}

// namesUs reports whether an entry names ghapp as the helper for an origin.
func namesUs(e gitsetup.Entry, origin string) bool {
	return e.Key == "credential."+origin+".helper" && strings.Contains(e.Value, "ghapp")
}

// ofHelpers are the helpers for an origin that name ghapp where it is not, or is not for long. An
// entry that empties the list takes those before it away.
func ofHelpers(entries []gitsetup.Entry, origin string) []gitsetup.Conflict {
	var list []gitsetup.Conflict
	for _, e := range entries {
		if e.Key == "credential."+origin+".helper" && e.Value == "" {
			list = nil
		}
		if c := ofHelper(e); namesUs(e, origin) && c.Text != "" {
			list = append(list, c)
		}
	}
	return list
}

// isOfOrigin reports whether the current directory's remote origin is examined, and is on
// this host.
func (h *hostChain) isOfOrigin() bool {
	return slices.ContainsFunc(h.x.apps, func(a *appChain) bool {
		return a.host == h && a.repository.Name != "" && a.isOrigin()
	})
}

func (h *hostChain) helpersText(asked *gitsetup.Entry) string {
	if asked == nil {
		return "plain git does not ask ghapp for " + h.host.Origin + ": `ghapp git-setup` makes it"
	}
	return "plain git asks ghapp for " + h.host.Origin + " (" + (gitsetup.Conflict{File: asked.File}).Place() + ")"
}

// checkHooks tells of hooks that git runs in every repository of the user.
func checkHooks(entries []gitsetup.Entry) Finding {
	var list []string
	for _, e := range entries {
		switch {
		case e.Value == "", e.Value == os.DevNull: // there are none there
		case e.Key == "core.hookspath":
			list = append(list, fmt.Sprintf("core.hooksPath %s (%s)", filepath.ToSlash(e.Value),
				(gitsetup.Conflict{File: e.File}).Place()))
		case e.Key == "init.templatedir":
			list = append(list, fmt.Sprintf("init.templateDir %s (%s)", filepath.ToSlash(e.Value),
				(gitsetup.Conflict{File: e.File}).Place()))
		case strings.HasPrefix(e.Key, "hook.") && strings.HasSuffix(e.Key, ".command"):
			list = append(list, e.Key+" ("+(gitsetup.Conflict{File: e.File}).Place()+")")
		}
	}
	if len(list) > 0 {
		return note("%s: ghapp's own calls of git run none of them", strings.Join(list, ", "))
	}
	return ok("none for all repositories")
}
