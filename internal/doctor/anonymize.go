package doctor

import (
	"cmp"
	"crypto/x509"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/config"
)

// Names puts placeholders in the place of names by which a text could be told whose it
// is: owners, repositories, Apps and their IDs, hosts other than GitHub's own, users and
// addresses. The same name has the same placeholder each time. What of a key or of a
// request is shown anyway, its fingerprint and its id, tells nobody a name, and stays.
//
// The zero value knows no name and replaces what can be told by its form. It is safe for
// concurrent use.
type Names struct {
	mu    sync.Mutex
	known []name
	count map[string]int // by kind
	homes []string
}

// name is a name and what stands in its place.
type name struct {
	kind, text  string
	placeholder string
	// after is what must stand before it, such as the slash before the name of a
	// repository, which may be a common word.
	after string
	// stranger is a host that was met in an address, and belongs to nothing else here.
	stranger bool
}

// The kinds of names.
const (
	anOwner      = "OWNER"
	aRepository  = "REPO"
	anApp        = "APP"
	anAppID      = "APP-ID"
	anIdentifier = "INSTALLATION"
	aHost        = "HOST"
	aUser        = "USER"
	anAddress    = "IP"
	anAuthority  = "AUTHORITY"
)

// add makes a name known, unless it is. It is called with the lock held. A single letter
// is no name, or it would be one in every text.
func (n *Names) add(added name) {
	if len(added.text) < 2 || slices.ContainsFunc(n.known,
		func(k name) bool { return k.kind == added.kind && strings.EqualFold(k.text, added.text) }) {
		return
	}
	if n.count == nil {
		n.count = map[string]int{}
	}
	n.count[added.kind]++
	added.placeholder = added.kind + "-" + strconv.Itoa(n.count[added.kind])
	n.known = append(n.known, added)
	// The longest first, so that none is replaced in the middle of another, and what
	// must stand behind something before what need not.
	slices.SortStableFunc(n.known, func(a, b name) int {
		return cmp.Or(cmp.Compare(len(b.text), len(a.text)), cmp.Compare(b.after, a.after))
	})
}

func (n *Names) learn(kind string, texts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, text := range texts {
		n.add(name{kind: kind, text: text})
	}
}

func (n *Names) owner(login string) { n.learn(anOwner, login) }

// repository learns owner/name.
func (n *Names) repository(full string) {
	owner, repository, ok := strings.Cut(full, "/")
	if !ok || owner == "" {
		return
	}
	n.learn(anOwner, owner)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.add(name{kind: aRepository, text: repository, after: "/"})
}

func (n *Names) installation(i *ghapp.InstallationInfo) {
	n.learn(anOwner, i.Account)
	n.learn(anIdentifier, strconv.FormatInt(i.ID, 10))
	n.learn(anApp, i.AppSlug)
}

func (n *Names) app(i *ghapp.AppInfo) {
	n.learn(anOwner, i.Owner)
	n.learn(anApp, i.Name, i.Slug)
	n.learn(anAppID, i.ClientID, strconv.FormatInt(i.ID, 10))
}

func (n *Names) issuer(text string) { n.learn(anAppID, text) }

// configuration learns what the config file names.
func (n *Names) configuration(c *config.Config) {
	for _, e := range c.List() {
		switch {
		case e.Key == "owners":
			n.learn(anOwner, strings.Split(e.Value, ", ")...)
		case strings.HasPrefix(e.Key, "repositories."):
			n.repository(strings.TrimPrefix(e.Key, "repositories."))
		case e.Key == "app":
			n.learn(anAppID, e.Value)
		case e.Key == "installation":
			n.learn(anIdentifier, e.Value[strings.LastIndexByte(e.Value, '/')+1:])
		case e.Key == "host":
			if host, err := api.ParseHost(e.Value, ""); err == nil {
				n.address(host.Name)
			}
		case e.Key == "api_url":
			n.url(e.Value)
		}
		n.learn(anApp, e.App)
	}
}

// url learns the host of an address.
func (n *Names) url(text string) {
	if u, err := url.Parse(text); err == nil {
		n.address(u.Host)
	}
}

// address learns a host, with or without a port.
func (n *Names) address(host string) {
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	if !isPublic(host) {
		n.learn(aHost, host)
	}
}

// isPublic reports whether everybody knows a host, or it is this machine.
func isPublic(host string) bool {
	host = strings.ToLower(strings.Trim(host, "[]."))
	if host == "localhost" || host == "github.com" || strings.HasSuffix(host, ".github.com") ||
		host == "www.githubstatus.com" {
		return true
	}
	return net.ParseIP(host) != nil // told by its form
}

// certificate learns who stands in one: an authority of a company's own has its name.
func (n *Names) certificate(c *x509.Certificate) {
	for _, host := range c.DNSNames {
		n.address(strings.TrimPrefix(host, "*."))
	}
	n.learn(anAuthority, c.Issuer.CommonName, c.Issuer.String())
}

// home learns the user's home directory.
func (n *Names) home(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(path) > 1 {
		n.homes = append(n.homes, strings.TrimRight(path, `/\`))
	}
}

// addressPattern is an address: up to its host, that, and the rest.
var addressPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(
		`(?i)\b((?:https?|ssh|git|socks5h?)://(?:[^/\s"'@]*@)?)([a-z0-9][a-z0-9.-]*[a-z0-9])((?::[0-9]+)?/[^\s"',;)]*)?`)
})

// form is what can be told without having been learned.
type form struct {
	kind    string
	pattern *regexp.Regexp
}

// forms are the host of ssh's short form, the home of a user, and IP addresses.
var forms = sync.OnceValue(func() []form {
	return []form{
		{aHost, regexp.MustCompile(`(?i)\b[a-z0-9._-]+@([a-z0-9][a-z0-9.-]*\.[a-z]{2,}):`)},
		{aUser, regexp.MustCompile(`(?:/home/|/Users/|\\Users\\)([^/\\\s:"']+)`)},
		{anAddress, regexp.MustCompile(`\b((?:[0-9]{1,3}\.){3}[0-9]{1,3})\b`)},
		{anAddress, regexp.MustCompile(`\[?([0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})\]?`)},
	}
})

// Hide returns a text with placeholders for names.
func (n *Names) Hide(text string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, home := range n.homes {
		text = strings.ReplaceAll(text, home, "~")
	}
	text = addressPattern().ReplaceAllStringFunc(text, n.withoutPath)
	for _, form := range forms() {
		for _, m := range form.pattern.FindAllStringSubmatch(text, -1) {
			if found := m[1]; form.kind != anAddress || isAddress(found) {
				n.add(name{kind: form.kind, text: found})
			}
		}
	}
	return n.replace(text)
}

// withoutPath makes the host of an address known, and takes the path away from one that
// nothing is known of but this.
func (n *Names) withoutPath(address string) string {
	m := addressPattern().FindStringSubmatch(address)
	host := m[2]
	known := slices.ContainsFunc(n.known,
		func(k name) bool { return k.kind == aHost && !k.stranger && strings.EqualFold(k.text, host) })
	if isPublic(host) || known {
		return address
	}
	n.add(name{kind: aHost, text: host, stranger: true})
	if m[3] == "" {
		return address
	}
	return m[1] + host + "/…"
}

// isAddress reports whether a text is an IP address other than this machine's own.
func isAddress(text string) bool {
	ip := net.ParseIP(text)
	return ip != nil && !ip.IsLoopback() && !ip.IsUnspecified()
}

// replace goes through a text once, so that no placeholder is replaced in its turn.
func (n *Names) replace(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		if k, ok := n.at(text, i); ok {
			b.WriteString(k.placeholder)
			i += len(k.text)
			continue
		}
		b.WriteByte(text[i])
		i++
	}
	return b.String()
}

// at returns the name that stands as a word of its own at a place.
func (n *Names) at(text string, i int) (name, bool) {
	if i > 0 && isWord(text[i-1]) {
		return name{}, false
	}
	for _, k := range n.known {
		end := i + len(k.text)
		if end <= len(text) && strings.EqualFold(text[i:end], k.text) && (end == len(text) || !isWord(text[end])) &&
			strings.HasSuffix(text[:i], k.after) {
			return k, true
		}
	}
	return name{}, false
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// HideIn is [Names.Hide] for what a finding says.
func (n *Names) HideIn(f Finding) Finding {
	for _, text := range []*string{&f.About, &f.Text, &f.Cause, &f.Hint} {
		*text = n.Hide(*text)
	}
	return f
}
