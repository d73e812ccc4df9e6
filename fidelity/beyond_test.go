package fidelity

import (
	"slices"

	"github.com/ghapp-dev/ghapp/fidelity/description"
)

// corrections are of what GitHub's descriptions have wrong, all of them alike.
var corrections = []description.Correction{
	{Of: listInstalls, Why: "an account is a user and an enterprise at once in an older copy of the schema",
		Patch: `[
			{"op": "test", "path": "/responses/200/content/application~1json/schema/items/properties/account/allOf/1/title",
				"value": "Enterprise"},
			{"op": "replace", "path": "/responses/200/content/application~1json/schema/items",
				"value": {"$ref": "#/components/schemas/installation"}}
		]`},
	{Of: "schemas/validation-error", Why: "the status that every refusal repeats in its body is left out",
		Patch: `[
			{"op": "test", "path": "/properties/status", "value": null},
			{"op": "add", "path": "/properties/status", "value": {"type": "string"}}
		]`},
}

// beyond is a status, and operations of which GitHub's descriptions say something
// else than is so.
type beyond struct {
	status     int
	operations []string
	reason     string
}

func (b beyond) covers(operation string, status int) bool {
	return b.status == status && slices.Contains(b.operations, operation)
}

// beyondDescription are the answers that the descriptions leave out. Each stands in
// GitHub's documentation, or was reported.
var beyondDescription = []beyond{
	{400, []string{getApp},
		"an API version that does not exist: https://docs.github.com/en/rest/about-the-rest-api/api-versions"},
	{400, []string{mint},
		"a body that is not JSON: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api"},
	{401, []string{getApp, listInstalls, getInstall, orgInstall, userInstall, repoInstall, enterpriseInstall},
		"a JWT that is missing or refused: https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api"},
	{401, []string{revoke, getRepo, listOrgRepos, rateLimit, meta},
		"a token that has died, or is none: https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api"},
	{403, []string{getApp},
		"a request without User-Agent: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api"},
	{403, []string{revoke},
		"the JWT of an App in place of a token: " +
			"https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api"},
	{403, []string{listOrgRepos},
		"an IP allow list: " +
			"https://docs.github.com/en/apps/maintaining-github-apps/managing-allowed-ip-addresses-for-a-github-app"},
	{404, []string{getApp},
		"a JWT of an App that does not exist, \"Integration not found\": reported in actions/create-github-app-token#76"},
	{404, []string{orgInstall, userInstall, enterpriseInstall},
		"an account without the App: reported in actions/create-github-app-token#76"},
	{404, []string{listOrgRepos},
		"no such organization: https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api"},
	{429, []string{listReachable},
		"a limit: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api"},
	{500, []string{listReachable}, "GitHub is broken"},
	{502, []string{mint}, "GitHub is broken"},
	{503, []string{listReachable}, "GitHub is broken"},
}

// neverAnswered are described answers that the stand-in has no cause for.
var neverAnswered = []beyond{
	{403, []string{namedApp}, "an App that is not public is answered with 404"},
	{422, []string{convert}, "nobody spams the stand-in"},
	{304, []string{listReachable, rateLimit, meta},
		"the stand-in sends no ETag and no Last-Modified, so a client has no condition to send"},
}

func isBeyond(operation string, status int) bool {
	return slices.ContainsFunc(beyondDescription, func(b beyond) bool { return b.covers(operation, status) })
}

func isNeverAnswered(operation string, status int) bool {
	return slices.ContainsFunc(neverAnswered, func(b beyond) bool { return b.covers(operation, status) })
}
