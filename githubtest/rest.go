package githubtest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
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
	badVersion = `The version you specified in the "X-GitHub-API-Version" request header, %q, is not a supported version. ` +
		`The following versions are currently supported: %s.`
	authenticationNeeded = "Requires authentication"
	installationNeeded   = "You must authenticate with an installation access token in order to list repositories for an installation."
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
}

// enterprise reports whether the request came the way of a GitHub Enterprise Server.
func (c *call) enterprise() bool { return strings.HasSuffix(c.api, "/api/v3") }

// answer is a response to be. A body that is a string is sent as it is, any other as JSON.
type answer struct {
	status int
	header http.Header
	body   any
}

// rest answers a request to the REST API.
func (gh *GitHub) rest(r *http.Request, body []byte, o *Overgrant) answer {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	c := &call{gh: gh, r: r, body: body, overgrant: o, docs: "https://docs.github.com/rest"}
	path, enterprise := strings.CutPrefix(r.URL.EscapedPath(), "/api/v3")
	c.web = origin(r)
	c.api = c.web
	switch host, isAPI := strings.CutPrefix(r.Host, "api."); {
	case enterprise:
		c.api += "/api/v3"
	case isAPI:
		c.web = strings.TrimSuffix(c.web, r.Host) + host
	}
	a := c.answer(path)
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set("Date", gh.now().UTC().Format(http.TimeFormat))
	a.header.Set("X-GitHub-Request-Id", gh.requestID())
	if enterprise {
		a.header.Set("X-GitHub-Enterprise-Version", "enterprise-server@"+enterpriseVersion)
	}
	if _, isText := a.body.(string); !isText && a.header.Get("X-GitHub-Media-Type") == "" {
		a.header.Set("X-GitHub-Media-Type", "github.v3; format=json")
	}
	if c.version != "" {
		a.header.Set("X-GitHub-Api-Version-Selected", c.version)
	}
	return a
}

func (c *call) answer(path string) answer {
	if c.r.UserAgent() == "" {
		return answer{status: http.StatusForbidden, header: http.Header{"Content-Type": {"text/html"}}, body: noUserAgent}
	}
	version := c.r.Header.Get("X-GitHub-Api-Version")
	if version == "" {
		version = c.gh.versions[0]
	}
	if !slices.Contains(c.gh.versions, version) {
		a := c.fail(http.StatusBadRequest, "Bad Request")
		a.body.(map[string]any)["errors"] = fmt.Sprintf(badVersion, version, sentence(c.gh.versions))
		return a
	}
	c.version = version

	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var found *endpoint
	for i := range endpoints {
		values, ok := match(endpoints[i].path, path)
		if ok && endpoints[i].method == method {
			found, c.values, c.docs = &endpoints[i], values, c.docs+endpoints[i].docs
			break
		}
	}
	status, message := c.authenticate(found != nil && found.byApp)
	if status != 0 {
		return c.fail(status, message)
	}
	var limits http.Header
	if c.app == nil && path != "/rate_limit" {
		var over bool
		if limits, over = c.spend(); over {
			return c.overLimit(limits)
		}
	}
	var a answer
	if found == nil {
		a = c.notFound()
	} else {
		a = found.answer(c)
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	for name, values := range limits {
		a.header[name] = values
	}
	return a
}

// authenticate reads the credential. An endpoint for Apps wants a JWT, and says of whatever else it gets, nothing
// included, that it could not be decoded.
func (c *call) authenticate(byApp bool) (status int, message string) {
	kind, credential := authorization(c.r)
	switch {
	case kind == "bearer" && looksLikeJWT(credential.password):
		c.app, status, message = c.gh.verify(credential.password)
		return status, message
	case kind == "token" && looksLikeJWT(credential.password):
		return http.StatusUnauthorized, badCredentials
	case byApp:
		return http.StatusUnauthorized, notDecoded
	case kind == "":
		return 0, ""
	}
	c.token = c.gh.alive(credential.password)
	switch {
	case c.token == nil:
		return http.StatusUnauthorized, badCredentials
	case c.gh.lagging(c.token) && c.gh.lagStatus == http.StatusForbidden:
		return http.StatusForbidden, notAccessible
	case c.gh.lagging(c.token):
		return http.StatusUnauthorized, badCredentials
	}
	return c.token.inst.barred()
}

// match compares a path with an endpoint's. A segment that does not decode, or is empty, matches nothing.
func match(pattern, path string) (map[string]string, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	values := map[string]string{}
	for i, segment := range got {
		name, isParameter := strings.CutPrefix(want[i], "{")
		if !isParameter {
			if segment != want[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(segment)
		if err != nil || value == "" {
			return nil, false
		}
		values[strings.TrimSuffix(name, "}")] = value
	}
	return values, true
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
	return answer{status: http.StatusMovedPermanently, header: http.Header{"Location": {c.api + path}}, body: map[string]any{
		"message": "Moved Permanently", "url": c.api + path, "documentation_url": "https://docs.github.com/rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
	}}
}

// denied is what a permission lacking gives.
// https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible
func (c *call) denied(accepted string) answer {
	a := c.fail(http.StatusForbidden, notAccessible)
	a.header = http.Header{"X-Accepted-Github-Permissions": {accepted}}
	return a
}

func (c *call) query(name string) string { return c.r.URL.Query().Get(name) }

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

// sentence lists versions as the refusal of an unknown one does, the most recent first.
func sentence(versions []string) string {
	quoted := []string{}
	for _, v := range slices.Backward(slices.Sorted(slices.Values(versions))) {
		quoted = append(quoted, strconv.Quote(v))
	}
	quoted[0] += " (most recent)"
	if len(quoted) == 1 {
		return quoted[0]
	}
	last := len(quoted) - 1
	return strings.Join(quoted[:last], ", ") + " and " + quoted[last]
}
