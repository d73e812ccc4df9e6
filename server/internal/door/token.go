package door

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
)

// Names of RFC 8693.
const (
	grantType       = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

const (
	maxBody      = 64 << 10
	maxResources = 500 // repositories of one token, as GitHub has it
)

// repository is one that a token reaches.
type repository struct {
	ID       int64  `json:"id,omitempty"` // where it is known
	FullName string `json:"full_name"`
}

// serveToken answers POST /token.
func (d *Door) serveToken(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	form, err := readForm(w, r)
	if err != nil {
		v.refuse(r.Context(), w, err)
		return
	}
	proof := secret.New(form.Get("subject_token"))
	asked, err := d.parseForm(form)
	if err != nil {
		v.refuse(r.Context(), w, err)
		return
	}
	answer, err := v.obtain(r, proof, asked)
	if err != nil {
		v.refuse(r.Context(), w, err)
		return
	}
	repositories := []repository{}
	for _, r := range answer.Repositories {
		repositories = append(repositories, repository{r.ID, r.Name})
	}
	// A token is written here and in serveGit, and nowhere else.
	body, err := json.Marshal(struct {
		AccessToken     string            `json:"access_token"`
		IssuedTokenType string            `json:"issued_token_type"`
		TokenType       string            `json:"token_type"`
		ExpiresIn       int64             `json:"expires_in"`
		Repositories    []repository      `json:"repositories"`
		All             bool              `json:"all_repositories,omitempty"`
		Permissions     ghapp.Permissions `json:"permissions"`
		Installation    int64             `json:"installation"`
		ID              string            `json:"id"`
	}{
		answer.Token.Reveal(), typeAccessToken, "Bearer", int64(time.Until(answer.ExpiresAt) / time.Second),
		repositories, answer.All, answer.Permissions, answer.Installation, v.id,
	})
	if err != nil {
		panic(errors.New("the answer is not JSON"))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

// readBody reads a body of a size that a request may have. A token in the address would be in
// somebody's log.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.URL.RawQuery != "" {
		return nil, malformed("there is a query in the address; all goes into the body")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, malformed("the body is compressed")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, malformed("the body is longer than 64 KiB")
	}
	if err != nil {
		return nil, malformed("the body did not come to its end")
	}
	return body, nil
}

func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil ||
		kind != "application/x-www-form-urlencoded" {
		return nil, malformed("the body is to be application/x-www-form-urlencoded")
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, malformed("the body is no form")
	}
	for name, values := range form {
		// RFC 6749 section 3.2; RFC 8693 section 2.1 has resource more than once.
		if len(values) > 1 && name != "resource" {
			return nil, malformed("a parameter is there twice, which only resource may be")
		}
	}
	return form, nil
}

// parseForm reads what a form asks for.
func (d *Door) parseForm(form url.Values) (exchange.Request, error) {
	if form.Get("grant_type") != grantType {
		return exchange.Request{}, malformed("grant_type is not " + grantType)
	}
	switch form.Get("subject_token_type") {
	case typeJWT, typeIDToken:
		if form.Get("subject_token") == "" {
			return exchange.Request{}, malformed("there is no subject_token")
		}
	case "":
		if form.Has("subject_token") {
			return exchange.Request{}, malformed("there is no subject_token_type")
		}
	default:
		return exchange.Request{}, malformed("subject_token_type is neither " + typeJWT + " nor " + typeIDToken)
	}
	if kind := form.Get("requested_token_type"); kind != "" && kind != typeAccessToken {
		return exchange.Request{}, malformed("requested_token_type is not " + typeAccessToken)
	}
	if form.Has("actor_token") || form.Has("audience") {
		return exchange.Request{}, malformed("actor_token and audience are not taken; resource names what a token is for")
	}
	asked, err := d.parseResources(form["resource"])
	if err != nil {
		return exchange.Request{}, err
	}
	if asked.MinLife, err = parseSeconds(form.Get("min_life")); err != nil {
		return exchange.Request{}, err
	}
	asked.Ask.Permissions, err = parseScope(form.Get("scope"))
	return asked, err
}

// parseResources reads what a token is to be for: https://HOST/OWNER/NAME as often as wanted, or
// once https://HOST/OWNER for all of an owner's. Nothing is never everything.
func (d *Door) parseResources(list []string) (exchange.Request, error) {
	var asked exchange.Request
	switch {
	case len(list) == 0:
		return asked, malformed("there is no resource: https://github.com/OWNER/NAME")
	case len(list) > maxResources:
		return asked, malformed("there are more than 500 resources")
	}
	known := map[string]bool{}
	for _, text := range list {
		host, path := d.splitResource(text)
		owner, name, named := strings.Cut(path, "/")
		if host == "" || !validName(owner) || named && !validName(name) {
			return asked, malformed("a resource is not of the form https://github.com/OWNER/NAME, or its host is not taken")
		}
		if !named && len(list) > 1 {
			return asked, malformed("a resource that is all of an owner's stands by itself")
		}
		if asked.Ask.Owner != "" && (!strings.EqualFold(asked.Ask.Owner, owner) || asked.Host != host) {
			return asked, malformed("the resources are of several owners; ask for each owner's by itself")
		}
		if asked.Ask.Owner == "" {
			asked.Host, asked.Ask.Owner, asked.Ask.All = host, owner, !named
		}
		if folded := strings.ToLower(name); named && !known[folded] {
			known[folded] = true
			asked.Ask.Repositories = append(asked.Ask.Repositories, owner+"/"+name)
		}
	}
	return asked, nil
}

// splitResource returns the host that a resource is on, "" for none of ours, and its path.
func (d *Door) splitResource(text string) (host, path string) {
	for _, host := range d.config.Hosts {
		if path, ok := strings.CutPrefix(text, host+"/"); ok {
			return host, strings.TrimSuffix(path, ".git")
		}
	}
	return "", ""
}

// validName reports whether GitHub could have an owner or a repository of that name.
func validName(name string) bool {
	return name != "" && len(name) <= 100 && name != "." && name != ".." &&
		strings.IndexFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
		}) < 0
}

func parseSeconds(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 12) // GitHub's tokens live for 3,600
	if err != nil || seconds > 3600 {
		return 0, malformed("min_life is no number of seconds up to 3600")
	}
	return time.Duration(seconds) * time.Second, nil
}

// parseScope reads contents:read, with a blank between several. Without any, contents may be
// read.
func parseScope(text string) (ghapp.Permissions, error) {
	if text == "" {
		return ghapp.Permissions{"contents": "read"}, nil
	}
	permissions := ghapp.Permissions{}
	for _, one := range strings.Split(text, " ") {
		name, level, _ := strings.Cut(one, ":")
		_, twice := permissions[name]
		switch {
		case name == "" || len(name) > 100 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "":
			return nil, malformed("scope is not of the form contents:read, with one blank between several")
		case !slices.Contains([]string{"read", "write", "admin"}, level):
			return nil, malformed("scope has a permission without a level: read, write or admin")
		case twice:
			return nil, malformed("scope has a permission twice")
		}
		permissions[name] = level
	}
	return permissions, nil
}
