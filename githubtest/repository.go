package githubtest

import standin "github.com/ghapp-dev/ghapp/internal/githubtest"

// RepositoryOptions describes a repository. The zero value is a private one with the default branch "main".
type RepositoryOptions struct {
	Public        bool   // anyone may read it with git
	DefaultBranch string // default "main"
}

// Repository is a repository. It is empty until the first [Repository.Commit] or push.
type Repository struct {
	ID int64

	repository *standin.Repository
}

// AddRepository makes a repository named "owner/name", and its owner as an organization if that is not there. A
// repository of this name that is there already gets the options. It panics if the name is not of that form.
func (g *GitHub) AddRepository(name string, o RepositoryOptions) *Repository {
	r := g.gh.AddRepository(name, standin.RepositoryOptions{Public: o.Public, DefaultBranch: o.DefaultBranch})
	return &Repository{ID: r.ID, repository: r}
}

// FullName is the present "owner/name".
func (r *Repository) FullName() string { return r.repository.FullName() }

// Commit adds a commit with these files, path to text, to a branch, and returns its object ID. A branch that is not
// there starts from the default branch, or from nothing in an empty repository. Author and dates are the same in every
// run, and so are the object IDs.
func (r *Repository) Commit(branch, message string, files map[string]string) (oid string, err error) {
	return r.repository.Commit(branch, message, files)
}

// Head returns the object ID of the commit a branch is at, or "" if it is not there.
func (r *Repository) Head(branch string) (oid string, err error) { return r.repository.Head(branch) }
