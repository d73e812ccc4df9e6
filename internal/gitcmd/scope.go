package gitcmd

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/ghapp-dev/ghapp/internal/api"
)

// username is what stands before an installation token
// (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation).
const username = "x-access-token"

// Scope says which repositories a call of git is about and who answers for them.
// The zero value is about none: git runs with no credentials but the machine's.
type Scope struct {
	// Origin is the scheme, host and port that Helper answers for, such as
	// https://github.com. http is for loopback alone.
	Origin string
	// URLs are the addresses of the repositories that the call will name, written
	// as git will be given them. What the machine has configured for them is
	// overridden without being read.
	URLs []string
	// Submodules is whether other repositories of Origin, under addresses that are
	// not known beforehand and in their ssh forms, may be asked for too. The
	// machine's configuration is read then, which costs a process.
	Submodules bool
	// SSHUsers are users of the host's ssh forms beside git, such as org-1234
	// (https://docs.github.com/en/organizations/managing-git-access-to-your-organizations-repositories/about-ssh-certificate-authorities).
	SSHUsers []string
	// Helper is the value of credential.helper, as gitcredentials(7) explains it.
	Helper string
	// CAFile is a file of PEM certificates to trust for Origin. Empty: those that
	// git trusts anyway.
	CAFile string
	// Stays keeps git from following a redirect of URLs. One to another host, which
	// needs no credential, would have git fetch whatever that host serves.
	Stays bool
}

// setting is one entry of git's configuration.
type setting struct{ key, value string }

// validate returns why s cannot be used.
func (s Scope) validate() error {
	if s.Origin == "" {
		return nil
	}
	origin, err := parseURL(s.Origin)
	if err != nil {
		return fmt.Errorf("origin %q: %w", withoutUser(s.Origin), err)
	}
	if origin.Path != "" {
		return fmt.Errorf("origin %q: it has a path", s.Origin)
	}
	for _, address := range s.URLs {
		u, err := parseURL(address)
		if err != nil {
			return fmt.Errorf("%q: %w", withoutUser(address), err)
		}
		if strings.Trim(u.Path, "/") == "" {
			return fmt.Errorf("%q: it names no repository", address)
		}
		if site(u) != site(origin) {
			return fmt.Errorf("%q: it is not on %s", address, s.Origin)
		}
	}
	return nil
}

// parseURL reads an address of a repository, or the beginning of one, and refuses
// whatever is not plain https (or http on loopback): transports such as ext:: run
// commands, user information is a secret on a command line, and a first "-" makes
// an option of it.
func parseURL(address string) (*url.URL, error) {
	if strings.ContainsFunc(address, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return nil, fmt.Errorf("it has blanks or control characters")
	}
	u, err := url.Parse(address)
	switch {
	case err != nil, u.Opaque != "", u.Host == "", u.Hostname() == "":
		return nil, fmt.Errorf("it is not an https address")
	case u.Scheme != "https" && !(u.Scheme == "http" && api.IsLoopback(u.Hostname())):
		return nil, fmt.Errorf("it is not an https address")
	case u.User != nil:
		return nil, fmt.Errorf("it has user information in it")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("it has a query or a fragment")
	}
	return u, nil
}

// withoutUser is an address that can be shown: what stands before an "@" may be a
// secret.
func withoutUser(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		scheme, _, ok := strings.Cut(address[:at], "://")
		if !ok {
			return "…" + address[at:]
		}
		return scheme + "://…" + address[at:]
	}
	return address
}

// site is the scheme, host and port in one spelling.
func site(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// credentials is the configuration that makes Helper the only one to answer for
// Origin, and that nothing of the machine's changes what is sent there. Of entries
// for one key git takes the last, and these come last; of http.<url>.* it takes
// the most specific url, and none is more so than the whole address.
func (s Scope) credentials(netrc bool) []setting {
	if s.Origin == "" {
		return nil
	}
	var list []setting
	add := func(key, value string) { list = append(list, setting{key, value}) }

	helper := "credential." + s.Origin + "."
	add(helper+"helper", "") // forgets all others
	add(helper+"helper", s.Helper)
	add(helper+"useHttpPath", "true")
	add(helper+"username", username)

	addresses := []string{s.Origin + "/"}
	for _, address := range s.URLs {
		// git-lfs takes the headers of the most specific url alone, and an empty
		// one does not clear others there.
		lfs := strings.TrimSuffix(strings.TrimSuffix(address, "/"), ".git") + ".git/info/lfs"
		addresses = append(addresses, address, lfs)
	}
	for _, address := range addresses {
		add("http."+address+".extraHeader", "")
		add("http."+address+".sslVerify", "true")
		if s.CAFile != "" {
			add("http."+address+".sslCAInfo", s.CAFile)
			add("http."+address+".schannelUseSSLCAInfo", "true")
		}
	}
	for _, address := range s.URLs {
		// One request less, from git 2.46 on. For the whole origin it would make
		// git insist on a credential for public submodules too.
		add("http."+address+".proactiveAuth", "basic")
		if s.Stays {
			add("http."+address+".followRedirects", "false")
		}
		add("url."+address+".insteadOf", address)
		add("url."+address+".pushInsteadOf", address)
	}
	// From git 2.54 on: wait as the server says when it says 429.
	add("http."+s.Origin+"/.maxRetries", "3")
	add("http."+s.Origin+"/.retryAfter", "10")
	if netrc {
		// libcurl looks into ~/.netrc before git asks a helper, unless it is given
		// a login: an empty one (libcurl before 8.15), or the helper's at once.
		add("http."+s.Origin+"/.emptyAuth", "true")
		if s.Submodules {
			add("http."+s.Origin+"/.proactiveAuth", "basic")
		}
	}
	if s.Submodules {
		for _, form := range s.forms() {
			add("url."+s.Origin+"/.insteadOf", form)
		}
	}
	return list
}

// forms are the beginnings of the addresses that lead to Origin, and that become
// it: its own and all others.
func (s Scope) forms() []string {
	return append([]string{s.Origin + "/"}, s.OtherForms()...)
}

// OtherForms are the beginnings of the addresses of Origin's repositories that are not
// its own: those of ssh, and of unencrypted transports. http is what many .gitmodules
// have; GitHub answers it with a redirect to https, and git:// not at all any more
// (https://github.blog/security/application-security/improving-git-protocol-security-github/).
func (s Scope) OtherForms() []string {
	forms := s.SSHForms()
	if u, err := url.Parse(s.Origin); err == nil && u.Scheme == "https" && u.Hostname() != "" {
		host := u.Hostname()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		forms = append(forms, "http://"+host+"/", "git://"+host+"/")
	}
	return forms
}

// SSHForms are the beginnings of the ssh addresses of Origin's repositories. An
// Origin that is no URL has none.
func (s Scope) SSHForms() []string {
	u, err := url.Parse(s.Origin)
	if err != nil {
		return nil
	}
	var forms []string
	host := u.Hostname()
	users := append([]string{"git"}, s.SSHUsers...)
	if name, ok := strings.CutSuffix(host, ".ghe.com"); ok {
		users = append(users, name)
	}
	slices.Sort(users)
	for _, user := range slices.Compact(users) {
		forms = append(forms, user+"@"+host+":", "ssh://"+user+"@"+host+"/")
		if host == "github.com" {
			// https://docs.github.com/en/authentication/troubleshooting-ssh/using-ssh-over-the-https-port
			forms = append(forms, "ssh://"+user+"@ssh.github.com:443/")
		}
	}
	return forms
}

// protocols are the transports that git may use for the call: remote helpers such
// as ext:: run commands, and file:: reads what the server chooses.
func (s Scope) protocols() []string {
	protocols := []string{"https"}
	if strings.HasPrefix(s.Origin, "http:") {
		protocols = append(protocols, "http")
	}
	if s.Submodules || s.Origin == "" {
		protocols = append(protocols, "ssh")
	}
	return protocols
}
