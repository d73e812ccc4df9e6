package doctor

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
)

// The links that are plain git's own way: nothing of ghapp's is around it.
const (
	linkPlain      = "plain git"
	linkCron       = "git under cron"
	linkSubmodules = "submodules"
)

// plainTimeout bounds one call of plain git, which may ask a device for a signature, and
// plainTries the calls that find out what it needs.
const (
	plainTimeout = 30 * time.Second
	plainTries   = 40
)

// cronPath is the PATH that cron gives (crontab(5)).
const cronPath = "/usr/bin:/bin"

// plainGit is what plain git is to read, and how it comes to ask ghapp.
type plainGit struct {
	x      *examination
	name   string // of the repository
	remote string // the remote of this directory, or an address
	asked  gitsetup.Entry
	// settings are the App's, origin is its host's, and api the address of its API.
	settings config.AppSettings
	origin   string
	api      string
	closed   string // why git is not to be run in this directory; "": it is
	needsUs  string // the variable without which git cannot have the key; "": none
}

// plainLinks try plain git where it is to ask ghapp for the App's repository.
func (a *appChain) plainLinks(ctx context.Context) []link {
	origin := a.host.host.Origin
	if a.repository.Name == "" || origin == "" || a.behind([]string{"git"}) != "" {
		return nil
	}
	entries, err := a.x.Entries(ctx)
	if err != nil {
		return nil // and the links of the configuration have said so
	}
	asked := asksUs(entries, origin)
	if asked == nil {
		return nil
	}
	p := plainGit{x: a.x, name: a.repository.String(), asked: *asked,
		remote: origin + "/" + a.repository.String() + ".git"}
	if a.isOrigin() {
		p.remote = "origin"
	}
	p.settings, p.origin, p.api = a.settings, origin, a.host.host.API
	p.closed = p.untried(entries)
	switch key := a.settings.Key; {
	case !a.settings.PrivateKey.IsZero():
		p.needsUs = a.settings.PrivateKeySource.String()
	case key.HasSecret() && key.Source.Kind == config.FromEnvironment:
		p.needsUs = key.Source.String()
	case strings.HasPrefix(key.Text, "env:"):
		p.needsUs = "environment " + strings.TrimPrefix(key.Text, "env:")
	}
	needs := []string{"git service", linkHeaders, linkNetrc, linkLogins, linkHelpers, linkRewriting}
	links := []link{{name: linkPlain, needs: needs, check: p.check}}
	if runtime.GOOS != "windows" {
		links = append(links, link{name: linkCron, needs: append(needs, linkPlain), check: p.checkCron})
	}
	if !asksBeyond(entries, asked.File, origin) {
		links = append(links, link{name: linkSubmodules, check: p.checkSubmodules})
	}
	return links
}

// asksBeyond reports whether git asks ghapp for submodules that it clones here, too: because
// of another file than the repository's own, or one that such a file includes.
func asksBeyond(entries []gitsetup.Entry, own, origin string) bool {
	dir := filepath.Dir(own)
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	return slices.ContainsFunc(entries, func(e gitsetup.Entry) bool {
		beyond := e.Scope == gitsetup.System || e.Scope == gitsetup.Global
		included := strings.HasPrefix(e.Key, "includeif.") &&
			filepath.FromSlash(e.Value) == filepath.Join(dir, "ghapp-submodules")
		return beyond && (namesUs(e, origin) || included)
	})
}

// checkSubmodules tells of a repository with submodules for which git asks nobody.
func (p plainGit) checkSubmodules(ctx context.Context) Finding {
	git := gitcmd.Runner{Environ: p.x.Environ, Own: p.x.Own, NoBare: true}
	top, err := git.Output(ctx, gitcmd.Scope{}, "rev-parse", "--show-toplevel")
	if err != nil {
		return Finding{} // there is no work tree
	}
	if _, err := os.Stat(filepath.Join(strings.TrimSuffix(string(top), "\n"), ".gitmodules")); err != nil {
		return Finding{}
	}
	return note("git asks nobody for those that it fetches here for the first time: " +
		"`ghapp git-setup --local --submodules` makes it ask")
}

// isOrigin reports whether the repository is that of the directory's remote origin.
func (a *appChain) isOrigin() bool {
	r := a.x.Origin
	if r.Name == "" || !strings.EqualFold(r.String(), a.repository.String()) {
		return false
	}
	settings, err := a.x.loaded.App(config.Selector{Owner: r.Owner, Host: r.Host, AnyPort: r.AnyPort})
	return err == nil && settings.Name == a.settings.Name
}

// reads has git read the repository with an environment.
func (p plainGit) reads(ctx context.Context, environ []string) error {
	ctx, cancel := context.WithTimeout(ctx, plainTimeout)
	defer cancel()
	git := gitcmd.Runner{Git: gitOf(environ), Environ: environ, Own: p.x.Own, NoBare: true}
	protocols := []string{"https"}
	if strings.HasPrefix(p.origin, "http:") {
		protocols = append(protocols, "http")
	}
	return git.AsIs(ctx, protocols, "ls-remote", "--", p.remote, "HEAD")
}

// gitOf is the git on the PATH of an environment, or else the one on ours.
func gitOf(environ []string) string {
	for _, dir := range filepath.SplitList(variableOf(environ, "PATH")) {
		if path, err := exec.LookPath(filepath.Join(dir, "git")); err == nil && filepath.IsAbs(path) {
			return path
		}
	}
	return ""
}

func variableOf(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// check has git read the repository in this directory, as it is.
func (p plainGit) check(ctx context.Context) Finding {
	if p.closed != "" {
		return note("%s", p.closed)
	}
	if p.needsUs != "" {
		return note("not tried: it needs %s each time, which the doctor keeps from git", p.needsUs)
	}
	if err := p.reads(ctx, p.x.Environ); err != nil {
		return broken(p.trouble(err, pointAnew(p.asked.Scope)),
			"git ls-remote %s does not read %s in this directory", p.remote, p.name)
	}
	return ok("git ls-remote %s reads %s in this directory", p.remote, p.name)
}

// trouble is what went wrong, in the words of the helper, which knows most of it, or of git.
func (p plainGit) trouble(err error, hint string) error {
	text := err.Error()
	if failed, ok := errors.AsType[*gitcmd.Error](err); ok {
		for line := range strings.Lines(failed.Stderr) {
			// gitcmd marks what git shows of ours as git's, since a server could have written it.
			for _, helper := range []string{"git: ghapp: error: ", "git-credential-ghapp: "} {
				if said, ok := strings.CutPrefix(strings.TrimSpace(line), helper); ok {
					text = said
				}
			}
			if strings.Contains(line, "credential-ghapp") && strings.Contains(line, "not found") {
				text = "git does not find the credential helper: " + strings.TrimSpace(line)
			}
		}
	}
	return &diag.TroubleError{Trouble: diag.PlainGitFails, Text: text, Hint: hint}
}

// checkCron has git read it from an environment that is empty but for what cron sets, and
// names the variables that make the difference.
func (p plainGit) checkCron(ctx context.Context) Finding {
	if p.closed != "" {
		return note("%s", p.closed)
	}
	if p.needsUs != "" {
		return note("it would need %s", p.needsUs)
	}
	bare := []string{"PATH=" + cronPath}
	text := "it reads " + p.name + " with PATH=" + cronPath
	// What the user has configured git finds by HOME alone.
	if p.asked.Scope != gitsetup.Global && p.reads(ctx, bare) == nil {
		return ok("%s and nothing else", text)
	}
	for _, name := range []string{"HOME", "LOGNAME"} { // which cron takes from the list of users
		if value := p.x.variable(name); value != "" {
			bare = append(bare, name+"="+value)
		}
	}
	failed := p.reads(ctx, bare)
	if failed == nil {
		return ok("%s and HOME; where HOME is not set either, as in a unit of systemd without User=, it does not", text)
	}
	needed := p.needed(ctx, bare)
	if ctx.Err() != nil || len(needed) == 0 {
		return note("whether it reads %s there is not known: %v", p.name, failed)
	}
	hint := "set " + strings.Join(needed, ", ") + " in the crontab"
	ours := func(name string) bool { return name == "PATH" || strings.HasPrefix(name, "GHAPP_") }
	if slices.ContainsFunc(needed, ours) {
		hint = pointAnew(p.asked.Scope) + ", so that it needs neither PATH nor variables; or " + hint
	}
	return warn(p.trouble(failed, hint), "it does not read %s there: what differs is %s",
		p.name, strings.Join(needed, ", "))
}

// needed are the names of the variables of the user's environment without which git does not
// read the repository, with all the others as cron sets them: of those that differ, what is
// left when all are taken out that can be.
func (p plainGit) needed(ctx context.Context, bare []string) []string {
	var differ []string
	for _, entry := range p.x.Environ {
		if !slices.Contains(bare, entry) {
			differ = append(differ, entry)
		}
	}
	tries := 0
	works := func(some []string) bool {
		tries++
		return tries <= plainTries && ctx.Err() == nil && p.reads(ctx, append(slices.Clone(bare), some...)) == nil
	}
	for size := len(differ); size > 0; size /= 2 {
		for at := 0; at < len(differ); {
			rest := slices.Delete(slices.Clone(differ), at, min(at+size, len(differ)))
			if works(rest) {
				differ = rest
			} else {
				at += size
			}
		}
	}
	var names []string
	for _, entry := range differ {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
