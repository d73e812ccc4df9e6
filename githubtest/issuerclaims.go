package githubtest

import (
	"strconv"
	"strings"
)

// Workflow is a job of GitHub Actions. The zero value is a push to main of acme/site.
// https://docs.github.com/en/actions/reference/security/oidc
type Workflow struct {
	Repository   string // owner/name; default acme/site
	RepositoryID int64  // default 400000001
	OwnerID      int64  // default 1000001
	Event        string // default push; with pull_request there is no ref of a branch in the subject
	Ref          string // default refs/heads/main, and refs/pull/1/merge for a pull_request
	Environment  string // it runs in, if any
	File         string // of the workflow, in the repository; default .github/workflows/ci.yml
	Reusable     string // workflow that it calls, with its ref: acme/ci/.github/workflows/deploy.yml@refs/heads/main

	// Immutable has IDs in the subject, beside the names, as repositories have that were made, renamed or transferred
	// since 2026-07-15.
	// https://github.blog/changelog/2026-04-23-immutable-subject-claims-for-github-actions-oidc-tokens/
	Immutable bool
}

// Claims are those of the job's identity token for an audience; [Issuer.Token] adds the rest. GitHub has numbers as
// strings.
func (j Workflow) Claims(audience string) map[string]any {
	j = j.withDefaults()
	owner, name, _ := strings.Cut(j.Repository, "/")
	kind := "branch"
	if strings.HasPrefix(j.Ref, "refs/tags/") {
		kind = "tag"
	}
	ownFile := j.Repository + "/" + j.File + "@" + j.Ref
	called := ownFile
	if j.Reusable != "" {
		called = j.Reusable
	}
	claims := map[string]any{
		"aud": audience, "sub": j.subject(owner, name),
		"repository": j.Repository, "repository_id": strconv.FormatInt(j.RepositoryID, 10),
		"repository_owner": owner, "repository_owner_id": strconv.FormatInt(j.OwnerID, 10),
		"repository_visibility": "private",
		"event_name":            j.Event, "ref": j.Ref, "ref_type": kind, "ref_protected": "false",
		"base_ref": "", "head_ref": "", "sha": strings.Repeat("0a", 20),
		"actor": "octocat", "actor_id": "583231",
		"workflow": "ci", "workflow_ref": ownFile, "workflow_sha": strings.Repeat("0a", 20),
		"job_workflow_ref": called, "job_workflow_sha": strings.Repeat("0a", 20),
		"run_id": "1000", "run_number": "10", "run_attempt": "1", "runner_environment": "github-hosted",
	}
	if strings.HasPrefix(j.Event, "pull_request") {
		claims["base_ref"], claims["head_ref"] = "main", "feature"
	}
	if j.Environment != "" {
		claims["environment"] = j.Environment
	}
	return claims
}

func (j Workflow) withDefaults() Workflow {
	if j.Repository == "" {
		j.Repository = "acme/site"
	}
	if j.RepositoryID == 0 {
		j.RepositoryID = 400_000_001
	}
	if j.OwnerID == 0 {
		j.OwnerID = 1_000_001
	}
	if j.Event == "" {
		j.Event = "push"
	}
	if j.Ref == "" {
		j.Ref = "refs/heads/main"
		if j.Event == "pull_request" {
			j.Ref = "refs/pull/1/merge"
		}
	}
	if j.File == "" {
		j.File = ".github/workflows/ci.yml"
	}
	return j
}

// subject is the sub claim as it is by default. A pull_request_target runs on the branch that the request is for, and
// has the subject of a push to it.
func (j Workflow) subject(owner, name string) string {
	repository := owner + "/" + name
	if j.Immutable {
		repository = owner + "@" + strconv.FormatInt(j.OwnerID, 10) + "/" + name + "@" +
			strconv.FormatInt(j.RepositoryID, 10)
	}
	switch {
	case j.Environment != "":
		// A colon in a name is encoded, so that it separates nothing.
		return "repo:" + repository + ":environment:" + strings.ReplaceAll(j.Environment, ":", "%3A")
	case j.Event == "pull_request":
		return "repo:" + repository + ":pull_request"
	}
	return "repo:" + repository + ":ref:" + j.Ref
}

// GitLabJob is a job of GitLab CI/CD. The zero value is one on main of acme/site.
// https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload
type GitLabJob struct {
	Project     string // path; default acme/site
	ProjectID   int64  // default 20
	NamespaceID int64  // default 72
	Ref         string // name of the branch or tag; default main
	Tag         bool   // the ref is one
	Protected   bool   // and protected
	Environment string // it deploys to, if any
}

// Claims are those of the job's ID token for an audience; [Issuer.Token] adds the rest.
func (j GitLabJob) Claims(audience string) map[string]any {
	if j.Project == "" {
		j.Project = "acme/site"
	}
	if j.ProjectID == 0 {
		j.ProjectID = 20
	}
	if j.NamespaceID == 0 {
		j.NamespaceID = 72
	}
	if j.Ref == "" {
		j.Ref = "main"
	}
	kind, path := "branch", "refs/heads/"+j.Ref
	if j.Tag {
		kind, path = "tag", "refs/tags/"+j.Ref
	}
	namespace := j.Project[:max(strings.LastIndex(j.Project, "/"), 0)]
	claims := map[string]any{
		"aud": audience, "sub": "project_path:" + j.Project + ":ref_type:" + kind + ":ref:" + j.Ref,
		"project_path": j.Project, "project_id": strconv.FormatInt(j.ProjectID, 10),
		"namespace_path": namespace, "namespace_id": strconv.FormatInt(j.NamespaceID, 10),
		"user_id": "1", "user_login": "sample-user", "user_email": "sample-user@example.com",
		"user_access_level": "developer",
		"pipeline_id":       "574", "pipeline_source": "push", "job_id": "302",
		"ref": j.Ref, "ref_type": kind, "ref_path": path, "ref_protected": strconv.FormatBool(j.Protected),
		"runner_id": 1, "runner_environment": "gitlab-hosted", "sha": strings.Repeat("0a", 20),
		"project_visibility": "private",
	}
	if j.Environment != "" {
		claims["environment"], claims["environment_protected"] = j.Environment, "false"
	}
	return claims
}

// BuildkiteJob is a job of Buildkite. The zero value is one on main of acme's pipeline site.
// https://buildkite.com/docs/agent/cli/reference/oidc#claims
type BuildkiteJob struct {
	Organization string // slug; default acme
	Pipeline     string // slug; default site
	Branch       string // default main
	Tag          string // it was built for, if any
	Step         string // key; may be empty
}

// Claims are those of the job's OIDC token for an audience; [Issuer.Token] adds the rest.
func (j BuildkiteJob) Claims(audience string) map[string]any {
	if j.Organization == "" {
		j.Organization = "acme"
	}
	if j.Pipeline == "" {
		j.Pipeline = "site"
	}
	if j.Branch == "" {
		j.Branch = "main"
	}
	commit := strings.Repeat("0a", 20)
	ref := "refs/heads/" + j.Branch
	if j.Tag != "" {
		ref = "refs/tags/" + j.Tag
	}
	claims := map[string]any{
		"aud": audience,
		"sub": "organization:" + j.Organization + ":pipeline:" + j.Pipeline + ":ref:" + ref +
			":commit:" + commit + ":step:" + j.Step,
		"organization_slug": j.Organization, "pipeline_slug": j.Pipeline,
		"build_number": 1, "build_branch": j.Branch, "build_commit": commit, "build_source": "webhook",
		"step_key": j.Step, "job_id": "0184990a-477b-4fa8-9968-496074483cee",
		"agent_id": "0184990a-4782-42b5-afc1-16715b10b8ff", "runner_environment": "self-hosted",
	}
	if j.Tag != "" {
		claims["build_tag"] = j.Tag
	}
	return claims
}

// ServiceAccount is a pod with a projected token of Kubernetes. The zero value is that of the service account deployer
// in the namespace default.
// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
type ServiceAccount struct {
	Namespace string // default default
	Name      string // default deployer
	UID       string // of the account; default invented
	Pod       string // name; default deployer-0
}

// Claims are those of the projected token for an audience, which Kubernetes has as a list; [Issuer.Token] adds the
// rest.
func (a ServiceAccount) Claims(audience string) map[string]any {
	if a.Namespace == "" {
		a.Namespace = "default"
	}
	if a.Name == "" {
		a.Name = "deployer"
	}
	if a.UID == "" {
		a.UID = "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"
	}
	if a.Pod == "" {
		a.Pod = "deployer-0"
	}
	return map[string]any{
		"aud": []string{audience}, "sub": "system:serviceaccount:" + a.Namespace + ":" + a.Name,
		"kubernetes.io": map[string]any{
			"namespace":      a.Namespace,
			"node":           map[string]any{"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
			"pod":            map[string]any{"name": a.Pod, "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
			"serviceaccount": map[string]any{"name": a.Name, "uid": a.UID},
		},
	}
}
