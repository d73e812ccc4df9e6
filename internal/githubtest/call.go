package githubtest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The API versions GitHub has published. Of what is served here, 2026-03-10 took "rate" from /rate_limit and three
// fields from repositories. https://docs.github.com/en/rest/about-the-rest-api/breaking-changes
const (
	version2022 = "2022-11-28"
	version2026 = "2026-03-10"
)

// enterpriseVersion is the release of GitHub Enterprise Server that this is under /api/v3. The header that tells it:
// https://docs.github.com/en/enterprise-server@3.19/rest/enterprise-admin
const enterpriseVersion = "3.19.0"

// The texts of a refusal before a request is looked at.
const (
	noUserAgent = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header " +
		"(https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). " +
		"Check https://developer.github.com for other possible causes.\n"
	badVersion = `The version you specified in the "X-GitHub-API-Version" request header, %q, is not a supported ` +
		`version. The following versions are currently supported: %s.`
	authenticationNeeded = "Requires authentication"
	installationNeeded   = "You must authenticate with an installation access token in order to list " +
		"repositories for an installation."
)

// call is one REST request. Its methods are called with the GitHub's lock held.
type call struct {
	gh        *GitHub
	r         *http.Request
	body      []byte
	api       string // base of API URLs in answers
	web       string // base of web and git URLs in answers
	version   string
	docs      string            // documentation page of the endpoint
	values    map[string]string // of the path's parameters
	app       *App              // whose valid JWT the request carries
	token     *token            // which the request carries
	overgrant *Overgrant
	query     *query // of GraphQL; nil when it is no JSON
}

// enterprise reports whether the request came the way of a GitHub Enterprise Server.
func (c *call) enterprise() bool { return strings.HasSuffix(c.api, "/api/v3") }

// answer is a response to be. A body that is a string is sent as it is, any other as JSON.
type answer struct {
	status int
	header http.Header
	body   any
}

func (c *call) fail(status int, message string) answer {
	return answer{status: status, body: map[string]any{
		"message": message, "documentation_url": c.docs, "status": strconv.Itoa(status),
	}}
}

func (c *call) notFound() answer { return c.fail(http.StatusNotFound, "Not Found") }

func (c *call) ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// moved sends a client to what stays when a repository is renamed or transferred.
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects
func (c *call) moved(path string) answer {
	return answer{status: http.StatusMovedPermanently,
		header: http.Header{"Location": {c.api + path}}, body: map[string]any{
			"message": "Moved Permanently", "url": c.api + path,
			"documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
		}}
}

// denied is what a permission lacking gives.
// https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible
func (c *call) denied(accepted string) answer {
	a := c.fail(http.StatusForbidden, notAccessible)
	a.header = http.Header{"X-Accepted-Github-Permissions": {accepted}}
	return a
}

func (c *call) parameter(name string) string { return c.r.URL.Query().Get(name) }

func (gh *GitHub) requestID() string {
	gh.requestCount++
	return fmt.Sprintf("C0DE:%06X:%07X:%07X:%08X", gh.requestCount, gh.requestCount, gh.requestCount, gh.now().Unix())
}

// origin is the scheme and host a request was sent to.
func origin(r *http.Request) string {
	scheme := "http"
	switch {
	case r.URL.Scheme != "":
		scheme = r.URL.Scheme
	case r.TLS != nil:
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// nodeID has the form GitHub's global node IDs have: a prefix for the kind, and the number in MessagePack.
func nodeID(kind string, id int64) string {
	return kind + "_" +
		base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32([]byte{0x92, 0x00, 0xce}, uint32(id)))
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// list is a copy that is [] in JSON when it is empty, not null.
func list(texts []string) []string { return append([]string{}, texts...) }

// page cuts the page asked for out of a list, and names its neighbours in a Link header.
// https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
func page[T any](c *call, all []T) ([]T, http.Header) {
	number, err := strconv.Atoi(c.parameter("page"))
	if err != nil || number < 1 {
		number = 1
	}
	size, err := strconv.Atoi(c.parameter("per_page"))
	if err != nil || size < 1 {
		size = 30
	}
	size = min(size, 100)
	last := max(1, (len(all)+size-1)/size)
	link := func(to int, rel string) string {
		query := c.r.URL.Query()
		query.Set("page", strconv.Itoa(to))
		return fmt.Sprintf(`<%s%s?%s>; rel="%s"`, origin(c.r), c.r.URL.EscapedPath(), query.Encode(), rel)
	}
	var links []string
	if number > 1 {
		links = append(links, link(min(number-1, last), "prev"))
	}
	if number < last {
		links = append(links, link(number+1, "next"), link(last, "last"))
	}
	if number > 1 {
		links = append(links, link(1, "first"))
	}
	from := min((number-1)*size, len(all))
	header := http.Header{}
	if links != nil {
		header.Set("Link", strings.Join(links, ", "))
	}
	return all[from:min(from+size, len(all))], header
}
