package githubtest

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// SetTokenLife sets how long a token minted from now on lives. GitHub's hour is the default.
func (gh *GitHub) SetTokenLife(life time.Duration) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.life = life
}

// SetClockOffset moves the stand-in's clock away from [time.Now]: a positive offset makes GitHub's clock fast, which
// is the same as a slow clock at the client. The Date header, the checks of a JWT and the expiry of tokens all move.
func (gh *GitHub) SetClockOffset(offset time.Duration) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.offset = offset
}

// SetTokenFormat sets the format of tokens minted from now on, for requests without the
// X-GitHub-Stateless-S2S-Token header. The default is [Classic].
func (gh *GitHub) SetTokenFormat(f TokenFormat) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.format = f
}

// SetPropagationDelay makes a token unknown to everything but the mint until it is as old as delay by the
// stand-in's clock: the REST endpoints answer it with 401 "Bad credentials", git with 404 "Repository not
// found.". Zero, the default, turns it off.
func (gh *GitHub) SetPropagationDelay(delay time.Duration) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.propagation = delay
}

// SetPropagationDelayStatus sets what the REST endpoints answer during the delay: 401 "Bad credentials"
// (the default: the token has not arrived), or 403 "Resource not accessible by integration" (its
// permissions have not). Another status is an error.
func (gh *GitHub) SetPropagationDelayStatus(status int) error {
	if status != http.StatusUnauthorized && status != http.StatusForbidden {
		return fmt.Errorf("githubtest: a token not yet known is answered with 401 or 403, not %d", status)
	}
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.propagationStatus = status
	return nil
}

// SetRateLimit sets how many REST requests an installation may make in an hour, and how many points it may spend on
// GraphQL, and starts the hour anew. The default is 5000. With 0 every request is over the limit; below 0 there is no
// limit, as on a GitHub Enterprise Server fresh from its box: no X-RateLimit headers, and 404 at /rate_limit.
func (gh *GitHub) SetRateLimit(perHour int) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.rateLimit, gh.graphQLLimit = perHour, -1
	clear(gh.buckets)
}

// SetGraphQLLimit sets how many points an installation may spend on GraphQL in an hour, apart from the limit of the
// REST API, as on GitHub Enterprise Cloud, and starts the hour anew. The next [GitHub.SetRateLimit] sets both again.
func (gh *GitHub) SetGraphQLLimit(perHour int) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.graphQLLimit = perHour
	clear(gh.buckets)
}

// SetKnownVersions sets the values of X-GitHub-Api-Version that are not answered with 400. The default is 2022-11-28
// and 2026-03-10. The first is what a request without the header gets. No version at all is an error.
func (gh *GitHub) SetKnownVersions(versions ...string) error {
	if len(versions) == 0 {
		return errors.New("githubtest: no API version given")
	}
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.versions = append([]string(nil), versions...)
	return nil
}

// SetIPAllowList turns the IP allow list of an account on, with the client's address not on it: minting for this
// account, its REST resources and git on its repositories are refused to every credential.
func (gh *GitHub) SetIPAllowList(owner string, on bool) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.account(owner, Organization).allowList = on
}

// SetStorageURL sets the scheme and host of the links to LFS objects, such as "http://localhost:8001", for the case of
// GitHub that objects lie on another host than the repository. The handler must answer there as well. Empty, the
// default, means the host the client asked.
func (gh *GitHub) SetStorageURL(base string) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.storage = base
}
