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

// target is where a token is to be minted: an installation's ID, or an owner's
// installation.
type target struct {
	id          int64
	owner, name string // name: where a repository was named
}

// String names the target in messages.
func (t target) String() string {
	switch {
	case t.id != 0:
		return "installation " + strconv.FormatInt(t.id, 10)
	case t.name != "":
		return t.owner + "/" + t.name
	}
	return t.owner
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
		return bad(ErrInvalid, "it is empty; give an owner, owner/name, an installation ID, "+
			"or the address of the installation's settings page")
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
			return bad(ErrInvalid, "the address does not end with the installation's number; "+
				"open the App's installation (Configure) and copy the address from there")
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
		if !r.on(host) {
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
