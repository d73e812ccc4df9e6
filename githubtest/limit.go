package githubtest

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// anonymousLimit is how many requests an hour an address may make without a credential.
const anonymousLimit = 60

// bucket counts the requests of one installation, or of one address, in one hour.
type bucket struct {
	used  int
	reset time.Time
}

// spend counts a request against its hour and returns the headers that tell of it. Without a limit it returns none.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
func (c *call) spend() (headers http.Header, over bool) {
	if c.gh.rateLimit < 0 {
		return nil, false
	}
	b, limit := c.bucket()
	over = b.used >= limit
	if !over {
		b.used++
	}
	return http.Header{
		"X-Ratelimit-Limit":     {strconv.Itoa(limit)},
		"X-Ratelimit-Remaining": {strconv.Itoa(limit - b.used)},
		"X-Ratelimit-Used":      {strconv.Itoa(b.used)},
		"X-Ratelimit-Reset":     {strconv.FormatInt(b.reset.Unix(), 10)},
		"X-Ratelimit-Resource":  {"core"},
	}, over
}

// bucket finds the hour a request counts against.
func (c *call) bucket() (b *bucket, limit int) {
	key, limit := c.address(), min(anonymousLimit, c.gh.rateLimit)
	if c.token != nil {
		key, limit = strconv.FormatInt(c.token.inst.ID, 10), c.gh.rateLimit
	}
	b = c.gh.buckets[key]
	if now := c.gh.now(); b == nil || !now.Before(b.reset) {
		b = &bucket{reset: now.Add(time.Hour).Truncate(time.Second)}
		c.gh.buckets[key] = b
	}
	return b, limit
}

func (c *call) overLimit(headers http.Header) answer {
	who := c.address() + ". (But here's the good news: Authenticated requests get a higher rate limit. Check out the documentation for more details.)"
	if c.token != nil {
		who = fmt.Sprintf("installation ID %d.", c.token.inst.ID)
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
	b, limit := c.bucket()
	core := map[string]any{"limit": limit, "used": b.used, "remaining": limit - b.used, "reset": b.reset.Unix()}
	resources := map[string]any{"core": core}
	for name, limit := range map[string]int{
		"search": 30, "graphql": 5000, "integration_manifest": 5000, "source_import": 100, "code_search": 10,
		"actions_runner_registration": 10000, "scim": 15000, "dependency_snapshots": 100, "dependency_sbom": 100,
		"code_scanning_autofix": 10,
	} {
		resources[name] = map[string]any{"limit": limit, "used": 0, "remaining": limit, "reset": b.reset.Unix()}
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
