// Package permission has the names of what an App may be allowed on GitHub.
package permission

// Names are the permissions of an App that GitHub has today, for completion and
// to ask what was meant. The list decides nothing: GitHub adds to it
// (https://docs.github.com/en/rest/authentication/permissions-required-for-github-apps).
func Names() []string {
	return []string{
		"actions", "administration", "artifact_metadata", "attestations", "checks", "code_quality", "codespaces", "contents",
		"dependabot_secrets", "deployments", "discussions", "environments", "issues", "merge_queues", "metadata", "packages",
		"pages", "pull_requests", "repository_custom_properties", "repository_hooks", "repository_projects",
		"secret_scanning_alerts", "secrets", "security_events", "single_file", "statuses",
		"vulnerability_alerts", "workflows",
		"custom_properties_for_organizations", "members", "organization_administration", "organization_announcement_banners",
		"organization_copilot_agent_settings", "organization_copilot_seat_management", "organization_custom_org_roles",
		"organization_custom_properties", "organization_custom_roles", "organization_events", "organization_hooks",
		"organization_packages", "organization_personal_access_token_requests", "organization_personal_access_tokens",
		"organization_plan", "organization_projects", "organization_secrets", "organization_self_hosted_runners",
		"organization_user_blocking", "email_addresses", "followers", "git_ssh_keys", "gpg_keys", "interaction_limits",
		"profile", "starring", "enterprise_custom_properties_for_organizations",
	}
}

// Levels are what an App may be allowed under a permission.
func Levels() []string { return []string{"read", "write", "admin"} }
