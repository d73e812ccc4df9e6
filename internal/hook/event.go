package hook

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp"
)

// Kind is one of GitHub's events.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
type Kind string

// The events that [Handler.OnEvent] takes.
const (
	PushKind                     Kind = "push"
	CreateKind                   Kind = "create" // of a branch or a tag
	DeleteKind                   Kind = "delete" // the same
	RepositoryKind               Kind = "repository"
	InstallationKind             Kind = "installation"
	InstallationRepositoriesKind Kind = "installation_repositories"
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{
		PushKind, CreateKind, DeleteKind, RepositoryKind, InstallationKind, InstallationRepositoriesKind,
	}
}

func isKind(event string) bool { return slices.Contains(Kinds(), Kind(event)) }

// Event is what GitHub tells of a repository, or of an installation of the App. It may be late, or about what has
// changed again since: it is a reason to ask, and no more.
type Event struct {
	Kind   Kind
	Action string // such as renamed; "" of push, create and delete
	// Installation is the ID of the installation; 0 where it was not told.
	Installation int64
	// Repositories are those that it is about: one; or [MaxRepositories] at most, of what may be more, for an
	// installation. They may be none.
	Repositories []Repository
	// Refs are the full names of those that were moved, made or deleted: refs/heads/main.
	Refs     []string
	Delivery string // GitHub's GUID, in lower case; the same when it delivers again
}

// Repository is one that an [Event] is about.
type Repository struct {
	ID   int64                // stays when it is renamed
	Name ghapp.RepositoryName // that it has by now
}

// MaxRepositories bounds those of an [Event].
const MaxRepositories = 500

// String says what the event is about, in one short line.
func (e Event) String() string {
	words := []string{string(e.Kind)}
	if e.Action != "" {
		words = append(words, e.Action)
	}
	switch n := len(e.Repositories); {
	case n == 1:
		words = append(words, "of", e.Repositories[0].Name.String())
	case n > 1:
		words = append(words, fmt.Sprintf("of %d repositories", n))
	}
	if len(e.Refs) > 0 {
		words = append(words, e.Refs[0])
	}
	return strings.Join(words, " ")
}

// event reads an event.
func (p *payload) event(kind Kind) (Event, error) {
	e := Event{Kind: kind, Action: p.Action, Installation: p.Installation.ID}
	fail := func(what string) (Event, error) {
		return Event{}, fmt.Errorf("the payload is not that of an event %s: %s", kind, what)
	}
	switch kind {
	case InstallationKind, InstallationRepositoriesKind:
		if e.Installation <= 0 {
			return fail("installation.id is missing")
		}
		e.Repositories = p.ofInstallation()
	default:
		r, why := p.Repository.parse()
		if why != "" {
			return fail(why)
		}
		e.Repositories = []Repository{r}
	}
	switch kind {
	case PushKind:
		push, _, err := p.push()
		if err != nil {
			return Event{}, err
		}
		e.Action, e.Refs = "", []string{push.Ref}
	case CreateKind, DeleteKind:
		ref, ok := p.fullRef()
		if !ok {
			return fail("ref is not the name of a branch or a tag")
		}
		e.Action, e.Refs = "", []string{ref}
	default:
		if e.Action == "" || !isEvent(e.Action) {
			return fail("action names none")
		}
	}
	return e, nil
}

// fullRef is the full name of the branch or the tag that was made or deleted.
func (p *payload) fullRef() (ref string, ok bool) {
	switch p.RefType {
	case "branch":
		ref = "refs/heads/" + p.Ref
	case "tag":
		ref = "refs/tags/" + p.Ref
	}
	return ref, p.Ref != "" && isRef(ref)
}

// ofInstallation are the repositories that an event of an installation names. What is none is passed over: all that
// the installation reaches is asked for anyway.
func (p *payload) ofInstallation() []Repository {
	host := ""
	if address, err := url.Parse(p.Installation.HTMLURL); err == nil {
		host = strings.ToLower(address.Host)
	}
	var list []Repository
	for _, r := range slices.Concat(p.Added, p.Removed, p.Repositories) {
		name, err := ghapp.ParseRepository(r.FullName)
		if err != nil || name.String() != r.FullName || r.ID <= 0 {
			continue
		}
		if len(list) == MaxRepositories {
			break
		}
		name.Host = host
		list = append(list, Repository{r.ID, name})
	}
	return list
}
