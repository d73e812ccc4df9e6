package ghapp

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// Repository names a repository on a GitHub host.
type Repository struct {
	// Host is empty where the text it was read from named none.
	Host        string
	Owner, Name string
}

// String returns owner/name.
func (r Repository) String() string { return r.Owner + "/" + r.Name }

// scpPattern is git's short form of an ssh URL, user@host:path. Like all patterns
// here it is compiled when it is first needed: git starts this program anew for
// every question.
var scpPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Za-z0-9._-]+)@([A-Za-z0-9.-]+):(.*)$`)
})

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

// ParseRepository reads the forms in which a repository is written: owner/name,
// an https URL (its scheme may be missing), an ssh URL, and git's short ssh form,
// with or without .git. Its error says what is wrong with the text; http:// is
// refused but for a loopback host, and a URL with a password in it is refused
// without repeating it.
func ParseRepository(text string) (Repository, error) {
	text = strings.TrimSpace(text)
	bad := func(format string, args ...any) (Repository, error) {
		return Repository{}, &Error{Kind: ErrInvalid, Op: "read the repository's name", Err: fmt.Errorf(format, args...)}
	}
	var host, path string
	switch {
	case text == "":
		return bad("it is empty; write owner/name")
	case strings.Contains(text, "://"):
		u, err := url.Parse(text)
		if err != nil {
			return bad("it is not a URL") // the URL may hold a password
		}
		if _, secret := u.User.Password(); secret || strings.HasPrefix(u.Scheme, "http") && u.User != nil {
			return bad("the URL has a user name or a password in it; leave that out, ghapp brings its own")
		}
		switch u.Scheme {
		case "https":
			u.Host = strings.TrimSuffix(u.Host, ":443")
		case "ssh", "git+ssh":
			if u.Host = u.Hostname(); strings.EqualFold(u.Host, "ssh.github.com") {
				u.Host = "github.com" // the same service on port 443
			}
		case "http":
			if !api.IsLoopback(u.Hostname()) {
				return bad("http:// would send the token unencrypted; use https://%s%s", u.Host, u.Path)
			}
		default:
			return bad("the scheme %q is not supported; use owner/name, https:// or ssh://", u.Scheme)
		}
		if u.Hostname() == "" {
			return bad("the URL names no host")
		}
		if u.RawQuery != "" || u.Fragment != "" {
			return bad("the URL goes on after the repository's name; use the address that ends with owner/name")
		}
		host, path = u.Host, u.Path
	default:
		path = text
		if m := scpPattern().FindStringSubmatch(text); m != nil {
			host, path = m[2], m[3]
		} else if strings.Contains(text, "@") {
			return bad("it is neither owner/name nor a URL") // what stands before the @ may be a secret
		} else if first, rest, _ := strings.Cut(text, "/"); strings.Contains(first, ".") && strings.Contains(rest, "/") {
			if _, err := api.ParseHost(first, ""); err == nil {
				host, path = first, rest // an https address without its scheme
			}
		}
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) > 2 && host != "" {
		return bad("%q goes on after the repository's name; use the address that ends with owner/name (a branch is given by --branch)", path)
	}
	if len(parts) != 2 {
		return bad("%q is not owner/name", path)
	}
	r := Repository{Host: strings.ToLower(host), Owner: parts[0], Name: strings.TrimSuffix(parts[1], ".git")}
	switch {
	case !validOwner(r.Owner):
		return bad("%q is not the name of an owner", r.Owner)
	case !validName(r.Name):
		return bad("%q is not the name of a repository", r.Name)
	}
	return r, nil
}

// target is where a token is to be minted: an installation's ID, or an owner's
// installation.
type target struct {
	id          int64
	owner, name string // name: where a repository was named
}

// settingsPattern finds the ID at the end of an installation's page: …/settings/installations/N,
// …/organizations/O/settings/installations/N, …/apps/NAME/installations/N,
// …/enterprises/E/settings/installations/N.
var settingsPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`/installations/([0-9]+)/?$`) })

// parseTarget reads the forms in which an installation is named.
func parseTarget(text string, host api.Host) (target, error) {
	text = strings.TrimSpace(text)
	bad := func(kind Kind, format string, args ...any) (target, error) {
		return target{}, &Error{Kind: kind, Op: "read the installation", Err: fmt.Errorf(format, args...)}
	}
	if text == "" {
		return bad(ErrInvalid, "it is empty; give an owner, owner/name, an installation ID, or the address of the installation's settings page")
	}
	if digits(text) {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id == 0 {
			return bad(ErrInvalid, "%s is not an installation ID", text)
		}
		return target{id: id}, nil
	}
	if strings.Contains(text, "/installations/") {
		if !strings.Contains(text, "://") {
			text = "https://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			return bad(ErrInvalid, "it is not a URL")
		}
		match := settingsPattern().FindStringSubmatch(u.Path)
		if match == nil {
			return bad(ErrInvalid, "the address does not end with the installation's number; open the App's installation (Configure) and copy the address from there")
		}
		if !strings.EqualFold(u.Host, host.Name) {
			return bad(ErrWrongHost, "the address is on %s, but the host in use is %s", u.Host, host.Name)
		}
		return parseTarget(match[1], host)
	}
	if strings.Contains(text, "/") || strings.Contains(text, "@") {
		r, err := ParseRepository(text)
		if err != nil {
			return target{}, err
		}
		if r.Host != "" && r.Host != host.Name {
			return bad(ErrWrongHost, "%s is on %s, but the host in use is %s", r, r.Host, host.Name)
		}
		return target{owner: r.Owner, name: r.Name}, nil
	}
	if !validOwner(text) {
		return bad(ErrInvalid, "%q is neither an owner nor owner/name, an ID or an address", text)
	}
	return target{owner: text}, nil
}

func digits(text string) bool {
	return strings.Trim(text, "0123456789") == ""
}
