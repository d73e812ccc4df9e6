package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// The two content types of a webhook.
const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// payload is what is read of the body of any event.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads
type payload struct {
	Action       string     `json:"action"`
	Ref          string     `json:"ref"`
	RefType      string     `json:"ref_type"` // of create and delete, whose Ref is a short name
	Before       string     `json:"before"`
	After        string     `json:"after"`
	Deleted      bool       `json:"deleted"`
	Forced       bool       `json:"forced"`
	Repository   repository `json:"repository"`
	Installation struct {
		ID      int64 `json:"id"`
		Account struct {
			Login string `json:"login"`
		} `json:"account"`
		HTMLURL string `json:"html_url"`
	} `json:"installation"`
	Repositories []repository `json:"repositories"` // of a new installation
	Added        []repository `json:"repositories_added"`
	Removed      []repository `json:"repositories_removed"`
	Hook         struct {
		Events []string `json:"events"`
	} `json:"hook"`
}

// repository is one in a payload. Those of lists have no address.
type repository struct {
	ID       int64  `json:"id"`
	FullName string `json:"full_name"`
	CloneURL string `json:"clone_url"`
}

// parse reads a body whose signature was right. The error says what is wrong, and repeats nothing.
func parse(contentType string, body []byte) (*payload, error) {
	if contentType == formType {
		form, err := url.ParseQuery(string(body))
		if err != nil || len(form["payload"]) != 1 {
			return nil, errors.New("the form has no field payload")
		}
		body = []byte(form.Get("payload"))
	}
	var p *payload
	if err := json.Unmarshal(body, &p); err != nil || p == nil {
		return nil, errors.New("the payload is not GitHub's JSON")
	}
	return p, nil
}

// push reads a push event, and says whether it deleted the ref.
func (p *payload) push() (_ Push, deleted bool, _ error) {
	fail := func(what string) (Push, bool, error) {
		return Push{}, false, fmt.Errorf("the payload is not that of a push: %s", what)
	}
	repository, why := p.Repository.parse()
	if why != "" {
		return fail(why)
	}
	switch {
	case !isRef(p.Ref):
		return fail("ref is not a full name, such as refs/heads/main")
	case !isObjectID(p.Before) || !isObjectID(p.After) || len(p.Before) != len(p.After):
		return fail("before and after are not object IDs")
	case p.Deleted != (strings.Trim(p.After, "0") == ""):
		return fail("after contradicts deleted")
	}
	return Push{
		Repository: repository.Name, RepositoryID: repository.ID,
		Ref: p.Ref, Before: p.Before, After: p.After, Forced: p.Forced,
	}, p.Deleted, nil
}

// parse reads the repository that an event is about, or says what is wrong with it.
func (r repository) parse() (_ Repository, why string) {
	name, err := ghapp.ParseRepository(r.FullName)
	if err != nil || name.String() != r.FullName {
		return Repository{}, "repository.full_name names no repository"
	}
	address, err := url.Parse(r.CloneURL)
	if err != nil || address.Host == "" {
		return Repository{}, "repository.clone_url is no address"
	}
	if r.ID <= 0 {
		return Repository{}, "repository.id is missing"
	}
	name.Host = strings.ToLower(address.Host)
	return Repository{ID: r.ID, Name: name}, ""
}

// isObjectID reports whether text is a full object ID, of SHA-1 or SHA-256.
func isObjectID(text string) bool {
	return (len(text) == 40 || len(text) == 64) && strings.Trim(text, "0123456789abcdef") == ""
}

// isRef reports whether text is the full name of a ref, by the rules of git-check-ref-format(1) that keep it in one
// word.
func isRef(text string) bool {
	strange := func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || r == unicode.ReplacementChar ||
			strings.ContainsRune(`~^:?*[\`, r)
	}
	name, ok := strings.CutPrefix(text, "refs/")
	return ok && name != "" && len(text) <= 1024 && !strings.Contains(text, "..") && !strings.ContainsFunc(text, strange)
}

// clean makes a name fit to stand in a line.
func clean(name string) string { return text.Shorten(text.OneLine(name), 100) }
