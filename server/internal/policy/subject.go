package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/server/internal/caller"
)

// Subject is the sub claim of GitHub Actions, in either of its forms:
//
//	repo:acme/site:ref:refs/heads/main
//	repo:acme@7/site@42:ref:refs/heads/main
//
// The second is that of repositories that were made, renamed or transferred since July 2026
// (https://github.blog/changelog/2026-04-23-immutable-subject-claims-for-github-actions-oidc-tokens/).
type Subject struct {
	Owner, Name           string
	OwnerID, RepositoryID int64  // 0 in the first form
	Context               string // such as ref:refs/heads/main, environment:production, pull_request
}

var subjectPattern = regexp.MustCompile(`\Arepo:` +
	`([A-Za-z0-9][A-Za-z0-9_-]{0,99})(?:@([1-9][0-9]{0,17}))?/` +
	`([A-Za-z0-9._-]{1,100})(?:@([1-9][0-9]{0,17}))?:([!-~ ]+)\z`)

// ParseSubject takes a sub claim of GitHub Actions apart.
func ParseSubject(text string) (Subject, bool) {
	match := subjectPattern.FindStringSubmatch(text)
	if match == nil || (match[2] == "") != (match[4] == "") {
		return Subject{}, false
	}
	owner, _ := strconv.ParseInt(match[2], 10, 64)
	repository, _ := strconv.ParseInt(match[4], 10, 64)
	return Subject{
		Owner: match[1], OwnerID: owner, Name: match[3], RepositoryID: repository, Context: match[5],
	}, true
}

// actionsSubject wants a repository by its IDs, whichever form its subject has.
type actionsSubject struct {
	repository            string // owner/name; empty: whatever it is called
	repositoryID, ownerID int64
	contexts              []value
}

// refuses says why a caller is not the one, or nothing.
func (a *actionsSubject) refuses(c caller.Caller) string {
	s, ok := ParseSubject(c.Subject)
	switch {
	case !ok:
		return "the subject is not one of GitHub Actions"
	case a.repository != "" && !strings.EqualFold(a.repository, s.Owner+"/"+s.Name):
		return "the subject is another repository's, by its name"
	case s.RepositoryID != 0 && (s.RepositoryID != a.repositoryID || s.OwnerID != a.ownerID):
		return "the subject is another repository's, by its IDs"
	case !a.identified(c, "repository_id", a.repositoryID, s.RepositoryID != 0),
		!a.identified(c, "repository_owner_id", a.ownerID, s.RepositoryID != 0):
		return "the claims repository_id and repository_owner_id are not those of the rule"
	}
	if why := refusedBy(a.contexts, s.Context); why != "" {
		return "the subject's context " + why
	}
	return ""
}

// identified reports whether a claim is this ID. It may be missing only where the subject
// has it.
func (a *actionsSubject) identified(c caller.Caller, claim string, id int64, may bool) bool {
	said, there := c.Claims[claim]
	return !there && may || there && said == strconv.FormatInt(id, 10)
}

// A workflow that a stranger may have started, or whose text is another repository's, runs
// with the subject of a trusted one. A rule that does not name the claim did not think of it.
func (m *matcher) surprises(c caller.Caller) string {
	event, _ := c.Claims["event_name"].(string)
	if (event == "pull_request" || event == "pull_request_target") && !m.names("event_name") &&
		(event != "pull_request" || !m.pullRequests()) {
		return fmt.Sprintf("the run is of the event %s, and the rule does not name event_name", event)
	}
	repository, _ := c.Claims["repository"].(string)
	workflow, there := c.Claims["job_workflow_ref"].(string)
	own := strings.HasPrefix(strings.ToLower(workflow), strings.ToLower(repository)+"/")
	if there && repository != "" && !own && !m.names("job_workflow_ref") {
		return "the job is of another repository's workflow, and the rule does not name job_workflow_ref"
	}
	return ""
}

// names reports whether the rule decides about a claim.
func (m *matcher) names(claim string) bool {
	for _, test := range m.claims {
		if test.name == claim {
			return true
		}
	}
	return m.when != nil && m.when.names(claim)
}

// pullRequests reports whether the rule says by its subject that it is for pull requests.
func (m *matcher) pullRequests() bool {
	contexts := m.subject
	if m.actions != nil {
		contexts = m.actions.contexts
	}
	for _, v := range contexts {
		text, _ := v.exact.(string)
		if text == "pull_request" || strings.HasSuffix(text, ":pull_request") {
			return true
		}
	}
	return false
}
