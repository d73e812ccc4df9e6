package githubtest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

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
	points := 1
	if c.isGraphQL() && c.token != nil {
		c.readQuery()
		points = c.query.cost()
	}
	if c.app == nil && path != "/rate_limit" {
		var over bool
		if limits, over = c.spend(points); over {
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
	case c.gh.propagating(c.token) && c.gh.propagationStatus == http.StatusForbidden:
		return http.StatusForbidden, notAccessible
	case c.gh.propagating(c.token):
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

// endpoint is one operation of the REST API.
type endpoint struct {
	method string
	path   string // {name} stands for one segment
	byApp  bool   // needs a JWT
	docs   string // page under https://docs.github.com/rest
	answer func(*call) answer
}

var endpoints = []endpoint{
	{"GET", "/app", true, "/apps/apps#get-the-authenticated-app", (*call).getApp},
	{"GET", "/apps/{slug}", false, "/apps/apps#get-an-app", (*call).getNamedApp},
	{"POST", "/app-manifests/{code}/conversions", false,
		"/apps/apps#create-a-github-app-from-a-manifest", (*call).convertManifest},
	{"GET", "/app/installations", true, "/apps/apps#list-installations-for-the-authenticated-app",
		(*call).listInstallations},
	{"GET", "/app/installations/{id}", true,
		"/apps/apps#get-an-installation-for-the-authenticated-app", (*call).getInstallation},
	{"POST", "/app/installations/{id}/access_tokens", true,
		"/reference/apps#create-an-installation-access-token-for-an-app", (*call).mint},
	{"GET", "/orgs/{account}/installation", true, "/apps/apps#get-an-organization-installation-for-the-authenticated-app",
		(*call).getOrganizationInstallation},
	{"GET", "/users/{account}", false, "/users/users#get-a-user", (*call).getUser},
	{"GET", "/users/{account}/installation", true,
		"/apps/apps#get-a-user-installation-for-the-authenticated-app", (*call).getUserInstallation},
	{"GET", "/enterprises/{account}/installation", true,
		"/apps/apps#get-an-enterprise-installation-for-the-authenticated-app", (*call).getEnterpriseInstallation},
	{"GET", "/repos/{owner}/{repo}/installation", true,
		"/apps/apps#get-a-repository-installation-for-the-authenticated-app", (*call).getRepositoryInstallation},
	{"GET", "/repositories/{id}/installation", true, "/apps/apps#get-a-repository-installation-for-the-authenticated-app",
		(*call).getRepositoryInstallation},
	{"GET", "/installation/repositories", false,
		"/apps/installations#list-repositories-accessible-to-the-app-installation", (*call).listInstallationRepositories},
	{"DELETE", "/installation/token", false, "/apps/installations#revoke-an-installation-access-token", (*call).revoke},
	{"GET", "/repos/{owner}/{repo}", false, "/repos/repos#get-a-repository", (*call).getRepository},
	{"GET", "/repositories/{id}", false, "/repos/repos#get-a-repository", (*call).getRepository},
	{"GET", "/orgs/{account}/repos", false, "/repos/repos#list-organization-repositories",
		(*call).listOrganizationRepositories},
	{"GET", "/rate_limit", false, "/rate-limit/rate-limit#get-rate-limit-status-for-the-authenticated-user",
		(*call).getRateLimit},
	{"GET", "/meta", false, "/meta/meta#get-github-meta-information", (*call).getMeta},
	{"POST", "/graphql", false, "", (*call).graphQL},
	{"POST", "/api/graphql", false, "", (*call).graphQL},
}
