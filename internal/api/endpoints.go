package api

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/ghapp-dev/ghapp/secret"
)

// PerPage is how many entries GitHub's largest page has.
const PerPage = 100

// Account is a user, an organization or an enterprise.
type Account struct {
	Login string `json:"login"` // empty for an enterprise
	Slug  string `json:"slug"`  // of an enterprise
	Name  string `json:"name"`
	Type  string `json:"type"` // User, Organization
}

// App is the answer of GET /app.
type App struct {
	ID          int64             `json:"id"`
	Slug        string            `json:"slug"`
	ClientID    string            `json:"client_id"`
	Name        string            `json:"name"`
	HTMLURL     string            `json:"html_url"`
	Owner       Account           `json:"owner"`
	Permissions map[string]string `json:"permissions"`
}

func (a *App) id() int64 { return a.ID }

// User is the part of the answer of GET /users/{login} that we use.
type User struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
	Type  string `json:"type"` // Bot, for that of an App
}

func (u *User) id() int64 { return u.ID }

// Installation is an App's installation on an account.
type Installation struct {
	ID                  int64             `json:"id"`
	Account             *Account          `json:"account"`
	TargetType          string            `json:"target_type"` // User, Organization, Enterprise
	RepositorySelection string            `json:"repository_selection"`
	Permissions         map[string]string `json:"permissions"`
	HTMLURL             string            `json:"html_url"`
	AppID               int64             `json:"app_id"`
	AppSlug             string            `json:"app_slug"`
	SuspendedAt         *time.Time        `json:"suspended_at"`
}

func (i *Installation) id() int64 { return i.ID }

// Repository is the part of a repository object that we use.
type Repository struct {
	ID            int64      `json:"id"`
	FullName      string     `json:"full_name"`
	Private       bool       `json:"private"`
	Visibility    string     `json:"visibility"`
	Archived      bool       `json:"archived"`
	DefaultBranch string     `json:"default_branch"`
	CloneURL      string     `json:"clone_url"`
	PushedAt      *time.Time `json:"pushed_at"`
	NodeID        string     `json:"node_id"`
	Fork          bool       `json:"fork"`
	HasWiki       bool       `json:"has_wiki"`
	Topics        []string   `json:"topics"`
	Size          int64      `json:"size"` // KiB
}

func (r *Repository) id() int64 { return r.ID }

// TokenScope is the body of a mint. A nil member is left out, which GitHub reads
// as "all"; callers decide that, never this package.
type TokenScope struct {
	Repositories  []string          `json:"repositories,omitempty"` // names without owner
	RepositoryIDs []int64           `json:"repository_ids,omitempty"`
	Permissions   map[string]string `json:"permissions,omitempty"`
}

// Grant is the answer of a mint.
type Grant struct {
	Token               string            `json:"token"`
	ExpiresAt           time.Time         `json:"expires_at"`
	Permissions         map[string]string `json:"permissions"`
	RepositorySelection string            `json:"repository_selection"`
	Repositories        []Repository      `json:"repositories"`
}

// App is GET /app.
func (c *Client) App(ctx context.Context, auth Authorization) (*App, error) {
	var app App
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/app", auth: auth}, &app)
	return &app, err
}

// NamedApp is GET /apps/{slug}. Without authorization GitHub answers for public Apps
// alone.
func (c *Client) NamedApp(ctx context.Context, slug string) (*App, error) {
	var app App
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/apps/" + url.PathEscape(slug)}, &app)
	return &app, err
}

// Registration is the answer of POST /app-manifests/{code}/conversions. The client
// secret and the webhook's, which come with it, are not read.
type Registration struct {
	App
	PEM string `json:"pem"`
}

// ConvertManifest is POST /app-manifests/{code}/conversions, which GitHub answers once
// for each code. The registration holds the private key in the open: the caller moves
// it into a Secret at once.
func (c *Client) ConvertManifest(ctx context.Context, code secret.Text) (*Registration, error) {
	var made Registration
	hidden := url.PathEscape(code.Reveal())
	_, err := c.do(ctx, request{method: http.MethodPost,
		path: "/app-manifests/" + hidden + "/conversions", hidden: hidden}, &made)
	return &made, err
}

// Installation is GET /app/installations/{id}.
func (c *Client) Installation(ctx context.Context, auth Authorization, id int64) (*Installation, error) {
	var found Installation
	_, err := c.do(ctx, request{method: http.MethodGet,
		path: fmt.Sprintf("/app/installations/%d", id), auth: auth}, &found)
	return &found, err
}

// Installations is GET /app/installations, all pages.
func (c *Client) Installations(ctx context.Context, auth Authorization) iter.Seq2[*Installation, error] {
	return pages(ctx, c, "/app/installations", auth,
		func(body []Installation) listed[Installation] { return listed[Installation]{body, -1} })
}

// AccountInstallation is GET /users/{owner}/installation, which GitHub answers for
// users and organizations alike, and after its 404 GET /orgs/{owner}/installation,
// the documented one for organizations.
func (c *Client) AccountInstallation(ctx context.Context, auth Authorization, owner string) (*Installation, error) {
	var found Installation
	_, err := c.do(ctx, request{method: http.MethodGet,
		path: "/users/" + url.PathEscape(owner) + "/installation", auth: auth}, &found)
	if IsStatus(err, http.StatusNotFound) {
		_, err = c.do(ctx, request{method: http.MethodGet,
			path: "/orgs/" + url.PathEscape(owner) + "/installation", auth: auth}, &found)
	}
	return &found, err
}

// moved is where GitHub sends the requests for a repository that was renamed or
// transferred.
var moved = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`/repositories/([0-9]+)/installation$`) })

// RepositoryInstallation is GET /repos/{owner}/{name}/installation. For a
// repository that was renamed or transferred it returns its ID too, otherwise 0.
func (c *Client) RepositoryInstallation(ctx context.Context, auth Authorization, owner,
	name string) (*Installation, int64, error) {
	var found Installation
	path := "/repos/" + url.PathEscape(owner) + "/" + url.PathEscape(name) + "/installation"
	answer, err := c.do(ctx, request{method: http.MethodGet, path: path, auth: auth}, &found)
	if err != nil {
		return nil, 0, err
	}
	if match := moved().FindStringSubmatch(answer.URL.Path); match != nil {
		id, _ := strconv.ParseInt(match[1], 10, 64)
		return &found, id, nil
	}
	return &found, 0, nil
}

// User is GET /users/{login}. auth may be nil, but then a host may refuse, and github.com
// answers few requests.
func (c *Client) User(ctx context.Context, auth Authorization, login string) (*User, error) {
	var found User
	_, err := c.do(ctx, request{method: http.MethodGet, path: "/users/" + url.PathEscape(login), auth: auth}, &found)
	return &found, err
}

// CreateToken is POST /app/installations/{id}/access_tokens. The grant holds the
// token in the open: the caller moves it into a Secret at once.
func (c *Client) CreateToken(ctx context.Context, auth Authorization, installation int64,
	scope TokenScope) (*Grant, error) {
	var grant Grant
	path := fmt.Sprintf("/app/installations/%d/access_tokens", installation)
	_, err := c.do(ctx, request{method: http.MethodPost, path: path, auth: auth, body: scope}, &grant)
	return &grant, err
}

// RevokeToken is DELETE /installation/token, by the token itself.
func (c *Client) RevokeToken(ctx context.Context, token secret.Text) error {
	_, err := c.do(ctx, request{method: http.MethodDelete, path: "/installation/token", auth: WithToken(token)}, nil)
	return err
}

// Repositories is GET /installation/repositories, all pages: what a token reaches.
func (c *Client) Repositories(ctx context.Context, token secret.Text) iter.Seq2[*Repository, error] {
	type body struct {
		Total        *int         `json:"total_count"`
		Repositories []Repository `json:"repositories"`
	}
	return pages(ctx, c, "/installation/repositories", WithToken(token), func(b body) listed[Repository] {
		if b.Total == nil {
			return listed[Repository]{b.Repositories, -1}
		}
		return listed[Repository]{b.Repositories, *b.Total}
	})
}

// RepositoriesPage is one page of GET /installation/repositories, counted from 1, of [PerPage]
// entries, and how many entries GitHub says that all pages have; negative where it does not say.
func (c *Client) RepositoriesPage(ctx context.Context, token secret.Text, page int) ([]Repository, int, error) {
	var body struct {
		Total        *int         `json:"total_count"`
		Repositories []Repository `json:"repositories"`
	}
	path := fmt.Sprintf("/installation/repositories?per_page=%d&page=%d", PerPage, page)
	_, err := c.do(ctx, request{method: http.MethodGet, path: path, auth: WithToken(token)}, &body)
	if body.Total == nil || *body.Total < 0 {
		return body.Repositories, -1, err
	}
	return body.Repositories, *body.Total, err
}

// RepositoryByID is GET /repositories/{id}, which goes on finding a repository that was renamed
// or transferred.
func (c *Client) RepositoryByID(ctx context.Context, token secret.Text, id int64) (*Repository, error) {
	var found Repository
	_, err := c.do(ctx, request{method: http.MethodGet, path: fmt.Sprintf("/repositories/%d", id),
		auth: WithToken(token)}, &found)
	return &found, err
}

// A list is read so far and no further, whatever its pages say.
const (
	maxPages   = 1000 // of [PerPage] items
	pagingTime = 10 * time.Minute
)

// listed is one page of a list. Total is how many items the host says the list has, negative
// where it does not say.
type listed[Item any] struct {
	Items []Item
	Total int
}

// pages follows Link (RFC 8288) as GitHub asks, on the API's own origin only: the
// next page's address is the server's word, and the request carries a credential. The
// pages end where the host's own count is passed twice over; a list may grow meanwhile.
func pages[Body, Item any](
	ctx context.Context, c *Client, path string, auth Authorization, read func(Body) listed[Item],
) iter.Seq2[*Item, error] {
	return func(yield func(*Item, error) bool) {
		walk := paging{began: time.Now(), seen: map[string]bool{}, most: maxPages}
		for next := path + "?per_page=" + strconv.Itoa(PerPage); next != ""; {
			walk.seen[next] = true
			var body Body
			answer, err := c.do(ctx, request{method: http.MethodGet, path: next, auth: auth}, &body)
			if err != nil {
				yield(nil, err)
				return
			}
			list := read(body)
			if len(walk.seen) == 1 {
				walk.most = pagesOf(answer.Header, list.Total)
			}
			walk.items += len(list.Items)
			for i := range list.Items {
				if !yield(&list.Items[i], nil) {
					return
				}
			}
			next, err = c.nextPage(answer)
			if err == nil && next != "" {
				err = walk.check(answer, next)
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// paging is how far a list has been read.
type paging struct {
	began time.Time
	seen  map[string]bool // pages
	items int
	most  int // pages that are read at most
}

// check is an error where a list does not end by itself.
func (p *paging) check(answer *response, next string) error {
	problem := ""
	switch {
	case p.seen[next]:
		problem = "its Link header leads back to a page that has been read"
	case len(p.seen) >= p.most || p.items >= p.most*PerPage:
		problem = fmt.Sprintf("its pages do not end: %d were read, with %d entries", len(p.seen), p.items)
	case time.Since(p.began) > pagingTime:
		problem = fmt.Sprintf("its pages do not end: %d were read within %s", len(p.seen), pagingTime)
	default:
		return nil
	}
	return &BodyError{http.MethodGet, answer.URL.EscapedPath(), problem}
}

// pagesOf is how many pages are read of a list whose first one says how many entries there
// are, or, in its Link header, which page is the last.
func pagesOf(first http.Header, total int) int {
	last := -1
	if total >= 0 {
		last = total / PerPage
	} else if u, err := url.Parse(link(first, "last")); err == nil {
		if n, err := strconv.Atoi(u.Query().Get("page")); err == nil && n > 0 {
			last = n
		}
	}
	if last < 0 || last > maxPages {
		return maxPages
	}
	return min(2*last+2, maxPages)
}
