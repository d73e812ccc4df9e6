package githubtest

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// What GraphQL costs, and what it refuses for being too much.
// https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api

const (
	graphQLNoBounds = "You must provide a `first` or `last` value to properly paginate the `%s` connection."
	graphQLTooLong  = "Requesting %.0f records on the `%s` connection exceeds the `%s` limit of %d records."
	graphQLTooMany  = "This query requests up to %d possible nodes which exceeds the maximum limit of %d."

	graphQLBadCursor = "`%s` does not appear to be a valid cursor."

	maxRecords    = 100
	maxQueryNodes = 500_000
)

// count adds what fields cost that are asked for of so many objects: the requests it takes to fill their lists, and
// the nodes that there may be. The IDs of "nodes" are no list to be filled.
func (q *query) count(fields []selection, objects int) {
	for _, s := range fields {
		if f, known := q.fragments[s.fragment]; known {
			delete(q.fragments, s.fragment)
			q.count(f.fields, objects)
			q.fragments[s.fragment] = f
		}
		within := objects
		if ids, ok := s.arguments["ids"].([]any); ok {
			within *= len(ids)
			q.nodeCount += within
		}
		for _, end := range []string{"first", "last"} {
			if n, ok := s.arguments[end].(float64); ok {
				q.requests += objects
				within *= int(n)
				q.nodeCount += within
			}
		}
		q.count(s.fields, within)
	}
}

// cost is what a query costs in points. One that cannot be read costs one.
func (q *query) cost() int {
	if q == nil {
		return 1
	}
	return max(1, int(math.Round(float64(q.requests)/100)))
}

// tooMany refuses a query that could have too many nodes.
func (q *query) tooMany() map[string]any {
	if q.nodeCount <= maxQueryNodes {
		return nil
	}
	return map[string]any{"type": "MAX_NODE_LIMIT_EXCEEDED",
		"message": fmt.Sprintf(graphQLTooMany, q.nodeCount, maxQueryNodes)}
}

// unbounded refuses a list of which too much is asked for, or nothing in particular. It returns how many are asked
// for.
func unbounded(connection string, arguments map[string]any) (n int, no *failure) {
	for _, end := range []string{"first", "last"} {
		n, ok := arguments[end].(float64)
		if ok && n > maxRecords {
			return 0, &failure{kind: "EXCESSIVE_PAGINATION",
				message: fmt.Sprintf(graphQLTooLong, n, connection, end, maxRecords)}
		}
		if ok {
			return int(n), nil
		}
	}
	return 0, &failure{kind: "MISSING_PAGINATION_BOUNDARIES", message: fmt.Sprintf(graphQLNoBounds, connection)}
}

// queryRateLimit is what this query cost, and what is left.
// https://docs.github.com/en/graphql/reference/objects#ratelimit
func (c *call) queryRateLimit(map[string]any) any {
	if c.gh.rateLimit < 0 {
		return nil
	}
	b, limit := c.bucket("graphql")
	return object{"RateLimit", map[string]resolver{
		"cost": is(c.query.cost()), "limit": is(limit), "remaining": is(limit - b.used), "used": is(b.used),
		"resetAt": is(timestamp(b.reset)), "nodeCount": is(c.query.nodeCount),
	}}
}

// GraphQLSecondaryLimit is the other answer of GraphQL over a secondary rate limit besides [SecondaryLimit]'s 403: one
// with 200, which has nothing to tell it by but its text. Match is of [Fault.Match], such as "POST /graphql".
// https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api#exceeding-the-rate-limit
func GraphQLSecondaryLimit(match string, retryAfter time.Duration) Fault {
	f := Fault{Match: match, Status: http.StatusOK, Body: `{"data":null,"errors":[{"message":"You have exceeded a ` +
		`secondary rate limit. Please wait a few minutes before you try again."}]}`}
	if retryAfter > 0 {
		f.Header = http.Header{"Retry-After": {strconv.Itoa(int(retryAfter / time.Second))}}
	}
	return f
}
