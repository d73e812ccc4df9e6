package fidelity

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp/fidelity/description"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// flavour is a GitHub as one of its descriptions has it.
type flavour struct {
	name    string
	file    string // in @octokit/openapi
	version string // of the API
	base    string // of the API on its host
	more    []string
}

var flavours = []flavour{
	{name: "github.com 2022-11-28", file: "api.github.com.json", version: "2022-11-28"},
	{name: "github.com 2026-03-10", file: "api.github.com.json", version: "2026-03-10"},
	{name: "Enterprise Cloud 2026-03-10", file: "ghec.json", version: "2026-03-10", more: []string{enterpriseInstall}},
	{name: "Enterprise Server 3.17", file: "ghes-3.17.json", version: "2022-11-28", base: "/api/v3"},
	{name: "Enterprise Server 3.19", file: "ghes-3.19.json", version: "2022-11-28", base: "/api/v3"},
}

const (
	getApp            = "GET /app"
	namedApp          = "GET /apps/{app_slug}"
	getUser           = "GET /users/{username}"
	convert           = "POST /app-manifests/{code}/conversions"
	listInstalls      = "GET /app/installations"
	getInstall        = "GET /app/installations/{installation_id}"
	mint              = "POST /app/installations/{installation_id}/access_tokens"
	orgInstall        = "GET /orgs/{org}/installation"
	userInstall       = "GET /users/{username}/installation"
	repoInstall       = "GET /repos/{owner}/{repo}/installation"
	enterpriseInstall = "GET /enterprises/{enterprise}/installation"
	listReachable     = "GET /installation/repositories"
	revoke            = "DELETE /installation/token"
	getRepo           = "GET /repos/{owner}/{repo}"
	listOrgRepos      = "GET /orgs/{org}/repos"
	rateLimit         = "GET /rate_limit"
	meta              = "GET /meta"
)

// operations are those of the stand-in that the flavour's description has.
func (f flavour) operations() []string {
	return slices.Concat([]string{
		getApp, namedApp, getUser, convert, listInstalls, getInstall, mint, orgInstall, userInstall, repoInstall,
		listReachable, revoke, getRepo, listOrgRepos, rateLimit, meta,
	}, f.more)
}

// nodePackage is where npm has put a package.
func nodePackage(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join("node_modules", filepath.FromSlash(name))
	if _, err := os.Stat(filepath.Join(dir, "package.json")); err != nil {
		t.Fatalf("npm package %s is not installed: run \"npm ci\" in the directory fidelity, "+
			"or \"make fidelity\": %v", name, err)
	}
	return dir
}

// files are the OpenAPI files, and descriptions what is used of them: read once.
var files, descriptions once

// once makes a value for each key, the first time it is asked for.
type once struct{ made sync.Map }

func (o *once) get(t *testing.T, key string, make func() (any, error)) any {
	t.Helper()
	made, _ := o.made.LoadOrStore(key, sync.OnceValues(make))
	value := testkit.Must(made.(func() (any, error))())(t)
	return value
}

// openAPI is the flavour's file.
func (f flavour) openAPI(t *testing.T) *description.File {
	t.Helper()
	name := filepath.Join(nodePackage(t, "@octokit/openapi"), "generated", f.file)
	return files.get(t, name, func() (any, error) { return description.Read(name) }).(*description.File)
}

// describe is what the file has of our operations.
func (f flavour) describe(t *testing.T) *description.Description {
	t.Helper()
	file := f.openAPI(t)
	return descriptions.get(t, f.name, func() (any, error) {
		return file.Describe(f.version, f.base, f.operations(), corrections)
	}).(*description.Description)
}
