package githubtest

import "strings"

// wikiSuffix ends the name under which git gets at a repository's wiki.
// https://docs.github.com/en/communities/documenting-your-project-with-wikis/adding-or-editing-wiki-pages
const wikiSuffix = ".wiki"

// Wiki is the wiki of a repository, which git gets at as OWNER/NAME.wiki: a repository of its own with the default
// branch "master", which the REST API does not know. It is there from the first call on, as GitHub's is once its first
// page was saved. A token that may read or write the contents of the repository may do so with the
// wiki's. No push event tells of it.
func (r *Repository) Wiki() *Repository {
	r.gh.mu.Lock()
	defer r.gh.mu.Unlock()
	if r.wiki == nil {
		now := r.gh.now()
		r.wiki = &Repository{ID: r.gh.id("repository"), gh: r.gh, owner: r.owner, name: r.name + wikiSuffix,
			options: RepositoryOptions{DefaultBranch: "master"}, created: now, pushed: now, wikiOf: r}
	}
	return r.wiki
}

// findGit finds what git names: a repository, or one whose wiki is meant.
func (gh *GitHub) findGit(owner, name string) (r *Repository, wiki, moved bool) {
	r, moved = gh.find(owner, name)
	if main, ok := strings.CutSuffix(fold(name), wikiSuffix); r == nil && ok {
		r, moved = gh.find(owner, main)
		return r, true, moved
	}
	return r, false, moved
}
