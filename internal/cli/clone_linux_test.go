package cli_test

import (
	"testing"
	"time"

	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A token is asked for by a name, and is for the repository that had it then: one that was deleted, and made
// anew since, is cloned all the same.
func TestACloneOfARepositoryThatWasMadeAnew(t *testing.T) {
	m := newMachine(t)
	m.app.Install("acme", githubtest.InstallOptions{All: true})
	m.must("clone", "acme/web", "before")
	m.age(time.Minute)
	testkit.OK(t, m.github.DeleteRepository("acme/web"))
	r := m.github.AddRepository("acme/web", githubtest.RepositoryOptions{})
	testkit.Must(r.Commit("main", "Anew", map[string]string{"anew.txt": "1"}))(t)
	m.must("clone", "acme/web", "after")
	testkit.Equal(t, m.read("after/anew.txt"), "1")

	// One that stays away is not looked up again and again.
	m.age(time.Minute)
	testkit.OK(t, m.github.DeleteRepository("acme/web"))
	before := m.github.Mints()
	m.ghapp("clone", "acme/web", "gone").ends(t, 4)
	if more := m.github.Mints() - before; more > 1 {
		t.Errorf("%d tokens were made for it", more)
	}
}
