package ghapp

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// RepositoryName names a repository on a GitHub host, or its wiki.
type RepositoryName struct {
	// Host is empty where the text it was read from named none.
	Host string
	// AnyPort says that the text was an ssh address, which does not tell on which port the host
	// serves https: it may be on Host with any.
	AnyPort     bool
	Owner, Name string
	// Wiki says that the repository's wiki is meant: to git a repository of its own,
	// owner/name.wiki, and to GitHub's permissions a part of the repository.
	Wiki bool
}

// on reports whether the repository may be on a host. A text without one may be on any.
func (r RepositoryName) on(host api.Host) bool {
	return r.Host == "" || host.Is(r.Host, r.AnyPort)
}

// String returns owner/name, or owner/name.wiki.
func (r RepositoryName) String() string {
	if r.Wiki {
		return r.Owner + "/" + r.Name + wikiSuffix
	}
	return r.Owner + "/" + r.Name
}

// wikiSuffix ends the name of a wiki's repository
// (https://docs.github.com/en/communities/documenting-your-project-with-wikis/adding-or-editing-wiki-pages).
const wikiSuffix = ".wiki"

// validOwner reports whether GitHub could have an owner of that name: letters,
// digits, hyphens, and the underscore of enterprise managed users.
func validOwner(name string) bool {
	return consistsOf(name, "-_") && name[0] != '-' && name[0] != '_'
}

// validName reports whether GitHub could have a repository of that name.
func validName(name string) bool {
	return consistsOf(name, ".-_") && name != "." && name != ".."
}

// consistsOf reports whether name has 1 to 100 letters, digits and others.
func consistsOf(name, others string) bool {
	strange := func(r rune) bool {
		alphanumeric := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !alphanumeric && !strings.ContainsRune(others, r)
	}
	return name != "" && len(name) <= 100 && !strings.ContainsFunc(name, strange)
}

// ParseRepository reads the forms in which a repository is written: owner/name, an https
// URL (its scheme may be missing), an ssh URL, and git's short ssh form, with or without
// .git, and owner/name.wiki for a wiki. What git takes for a repository of a GitHub host, it
// takes for that as well: a user's name, slashes too many and the ports that the schemes
// have anyway make no difference, and http:// is read as the https:// that GitHub leads to.
//
// Its error says what is wrong with the text. A URL with a password in it is refused
// without repeating it, since git sends that and asks nobody for another; so is one with a
// token in the place of the user's name, and git://, which GitHub does not serve.
func ParseRepository(text string) (RepositoryName, error) {
	host, path, ssh, err := splitAddress(strings.TrimSpace(text))
	var r RepositoryName
	if err == nil {
		r, err = nameRepository(host, path)
	}
	r.AnyPort = ssh
	if err != nil {
		return RepositoryName{}, &Error{Kind: ErrInvalid, Op: "read the repository's name", Err: err}
	}
	return r, nil
}

// splitAddress returns the host that a text names, or "", the path of the repository, and whether
// it is an address of ssh.
func splitAddress(text string) (host, path string, ssh bool, err error) {
	if text == "" {
		return "", "", false, errors.New("it is empty; write owner/name")
	}
	if scheme, _, isURL := strings.Cut(text, "://"); isURL {
		host, path, err = splitURL(text)
		return host, path, strings.Contains(strings.ToLower(scheme), "ssh"), err
	}
	first, rest, _ := strings.Cut(text, "/")
	if strings.Contains(first, ".") && !strings.HasSuffix(first, ":") && strings.Contains(strings.Trim(rest, "/"), "/") {
		if _, err := api.ParseHost(first, ""); err == nil { // an https address without its scheme
			return withoutService(strings.TrimSuffix(strings.ToLower(first), ":443")), rest, false, nil
		}
	}
	if host, path, short := strings.Cut(text, ":"); short && !strings.Contains(host, "/") {
		host, path, err = splitShort(host, path)
		return host, path, true, err
	}
	if strings.Contains(text, "@") { // what stands before it may be a secret
		return "", "", false, errors.New("it is neither owner/name nor a URL")
	}
	return "", text, false, nil
}

// splitShort reads git's short form of an ssh URL, [user@]host:path
// (https://git-scm.com/docs/git-clone#_git_urls).
func splitShort(host, path string) (string, string, error) {
	host = host[strings.LastIndexByte(host, '@')+1:]
	switch {
	case strings.HasPrefix(path, ":"):
		return "", "",
			errors.New("what stands before :: names a program that git would run; use owner/name, https:// or ssh://")
	case strings.Contains(path, "@"), !strings.Contains(path, "/"):
		return "", "", errors.New("it is neither owner/name nor a URL") // a part of it may be a secret
	case len(host) == 1:
		return "", "", errors.New("it is a path on a drive; use owner/name, https:// or ssh://")
	}
	if _, err := api.ParseHost(host, ""); err != nil {
		return "", "", errors.New("what stands before the colon is not the name of a host")
	}
	return withoutService(strings.ToLower(host)), path, nil
}

// splitURL reads a URL. Its errors repeat nothing of what stands before an @.
func splitURL(text string) (host, path string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", errors.New("it is not a URL") // the URL may hold a password
	}
	authority, _, _ := strings.Cut(text[strings.Index(text, "://")+len("://"):], "/")
	_, secret := u.User.Password()
	switch {
	case strings.Count(authority, "@") > 1:
		return "", "", errors.New("the URL has an @ in its user name, which git takes for the end of it: leave that out")
	case secret:
		return "", "", errors.New("the URL has a user name and a password in it, " +
			"which git would send instead of asking ghapp: leave that out")
	case tokenLike(u.User.Username()):
		return "", "", errors.New("the URL has a token in the place of a user name: leave that out, ghapp brings its own")
	}
	host, err = repositoryHost(u)
	switch {
	case err != nil:
		return "", "", err
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", "", errors.New("the URL goes on after the repository's name; use the address that ends with owner/name")
	case strings.Contains(strings.ToLower(u.EscapedPath()), "%2f"):
		return "", "", errors.New("the URL has a slash written as %2F, which does not part an owner from a name")
	}
	path = u.Path
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return host, path, nil
}

// repositoryHost returns the host, with its port if that is one of its own, whose
// repositories a URL leads to.
func repositoryHost(u *url.URL) (string, error) {
	name, host := strings.ToLower(u.Hostname()), strings.ToLower(u.Host)
	switch {
	case u.Scheme == "http" && !api.IsLoopback(name):
		if port := u.Port(); port != "" && port != "80" {
			return "", fmt.Errorf("http:// would send the token unencrypted; use https://%s%s", u.Host, u.Path)
		}
		host = strings.TrimSuffix(host, ":80") // which ghapp asks by https
	case u.Scheme == "http":
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case u.Scheme == "ssh", u.Scheme == "git+ssh", u.Scheme == "ssh+git":
		if host = name; strings.Contains(name, ":") {
			host = "[" + name + "]"
		}
	case u.Scheme == "git":
		return "", fmt.Errorf("GitHub serves nothing over git://; use https://%s%s", u.Host, u.Path)
	default:
		return "", fmt.Errorf("the scheme %q is not supported; use owner/name, https:// or ssh://", u.Scheme)
	}
	if name == "" {
		return "", errors.New("the URL names no host")
	}
	return withoutService(host), nil
}

// withoutService returns the host of the repositories for a name under which GitHub serves
// them too: to browsers, and to ssh on the port of https.
func withoutService(host string) string {
	switch host {
	case "www.github.com", "ssh.github.com":
		return "github.com"
	}
	return host
}

// tokenLike reports whether a text has the form of one of GitHub's tokens
// (https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#githubs-token-formats),
// or of a JSON Web Token.
func tokenLike(text string) bool {
	for _, prefix := range []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "eyJ"} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return len(text) == 40 && strings.Trim(text, "0123456789abcdef") == ""
}

// nameRepository reads the path of a repository.
func nameRepository(host, path string) (RepositoryName, error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > 2 && host != "" {
		return RepositoryName{}, fmt.Errorf("%q goes on after the repository's name; "+
			"use the address that ends with owner/name (a branch is given by --branch)", path)
	}
	if len(parts) != 2 {
		return RepositoryName{}, fmt.Errorf("%q is not owner/name", path)
	}
	r := RepositoryName{Host: host, Owner: parts[0], Name: strings.TrimSuffix(parts[1], ".git")}
	if name, wiki := strings.CutSuffix(r.Name, wikiSuffix); wiki && name != "" {
		r.Name, r.Wiki = name, true
	}
	switch {
	case !validOwner(r.Owner):
		return RepositoryName{}, fmt.Errorf("%q is not the name of an owner", r.Owner)
	case !validName(r.Name):
		return RepositoryName{}, fmt.Errorf("%q is not the name of a repository", r.Name)
	}
	return r, nil
}
