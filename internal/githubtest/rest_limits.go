package githubtest

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// anonymousLimit is how many requests an hour an address may make without a credential.
const anonymousLimit = 60

// bucket counts the points of one installation, or of one address, in one hour.
type bucket struct {
	used  int
	reset time.Time
}

// spend counts the points of a request against its hour and returns the headers that tell of it. Without a limit it
// returns none.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
func (c *call) spend(points int) (headers http.Header, over bool) {
	if c.gh.rateLimit < 0 || c.token == nil && c.resource() == "graphql" { // which is refused
		return nil, false
	}
	b, limit := c.bucket(c.resource())
	over = b.used >= limit
	if !over {
		b.used = min(limit, b.used+points)
	}
	return http.Header{
		"X-Ratelimit-Limit":     {strconv.Itoa(limit)},
		"X-Ratelimit-Remaining": {strconv.Itoa(limit - b.used)},
		"X-Ratelimit-Used":      {strconv.Itoa(b.used)},
		"X-Ratelimit-Reset":     {strconv.FormatInt(b.reset.Unix(), 10)},
		"X-Ratelimit-Resource":  {c.resource()},
	}, over
}

// resource is what a request counts against.
func (c *call) resource() string {
	if c.isGraphQL() {
		return "graphql"
	}
	return "core"
}

// bucket finds the hour of a resource.
func (c *call) bucket(resource string) (b *bucket, limit int) {
	if c.token != nil {
		return c.gh.bucket(resource, strconv.FormatInt(c.token.inst.ID, 10)), c.gh.limit(resource)
	}
	if limit = min(anonymousLimit, c.gh.rateLimit); resource == "graphql" {
		limit = 0
	}
	return c.gh.bucket(resource, c.address()), limit
}

// bucket is that of an installation or of an address.
func (gh *GitHub) bucket(resource, of string) *bucket {
	key := resource + " " + of
	b := gh.buckets[key]
	if now := gh.now(); b == nil || !now.Before(b.reset) {
		b = &bucket{reset: now.Add(time.Hour).Truncate(time.Second)}
		gh.buckets[key] = b
	}
	return b
}

// limit is how many points of a resource an installation has in an hour.
func (gh *GitHub) limit(resource string) int {
	if resource == "graphql" && gh.graphQLLimit >= 0 {
		return gh.graphQLLimit
	}
	return gh.rateLimit
}

// Spend counts points against the hour of an installation as if others had spent them. The resource is "core", which
// is the REST API, or "graphql".
func (i *Installation) Spend(resource string, points int) {
	i.gh.mu.Lock()
	defer i.gh.mu.Unlock()
	b := i.gh.bucket(resource, strconv.FormatInt(i.ID, 10))
	b.used = min(b.used+points, i.gh.limit(resource))
}

func (c *call) overLimit(headers http.Header) answer {
	who := c.address() + ". (But here's the good news: Authenticated requests get a higher rate limit. " +
		"Check out the documentation for more details.)"
	if c.token != nil {
		who = fmt.Sprintf("installation ID %d.", c.token.inst.ID)
	}
	if c.resource() == "graphql" {
		// https://github.com/yanyongyu/githubkit/issues/271; the type was RATE_LIMITED once, and is so in older reports
		a := graphQLAnswer(map[string]any{"errors": []any{map[string]any{
			"type": "RATE_LIMIT", "code": "graphql_rate_limit", "message": "API rate limit already exceeded for " + who}}})
		maps.Copy(a.header, headers)
		return a
	}
	c.docs = "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"
	a := c.fail(http.StatusForbidden, "API rate limit exceeded for "+who)
	a.header = headers
	return a
}

func (c *call) address() string {
	if host, _, err := net.SplitHostPort(c.r.RemoteAddr); err == nil {
		return host
	}
	return c.r.RemoteAddr
}

// getRateLimit answers GET /rate_limit, which costs nothing.
func (c *call) getRateLimit() answer {
	if c.gh.rateLimit < 0 {
		return c.fail(http.StatusNotFound, "Rate limiting is not enabled.")
	}
	state := func(resource string) map[string]any {
		b, limit := c.bucket(resource)
		return map[string]any{"limit": limit, "used": b.used, "remaining": limit - b.used, "reset": b.reset.Unix()}
	}
	core := state("core")
	resources := map[string]any{"core": core, "graphql": state("graphql")}
	for name, limit := range map[string]int{
		"search": 30, "integration_manifest": 5000, "source_import": 100, "code_search": 10,
		"actions_runner_registration": 10000, "scim": 15000, "dependency_snapshots": 100, "dependency_sbom": 100,
		"code_scanning_autofix": 10,
	} {
		resources[name] = map[string]any{"limit": limit, "used": 0, "remaining": limit, "reset": core["reset"]}
	}
	if c.enterprise() {
		delete(resources, "dependency_snapshots") // of github.com alone
	}
	body := map[string]any{"resources": resources}
	if c.version < version2026 {
		body["rate"] = core
	}
	return c.ok(body)
}
