package gitauth

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
)

// storeState is how the process that git has asked tells the one that answers with which
// repository the large files are stored. It is one of the attributes that are for helpers
// alone (state[] in git-credential(1)); git has no part in it.
const storeState = "ghapp.lfs-store="

// Stored notes in a question with which repositories the .lfsconfig beside it says that
// large files are stored. An address that is not on the host that is asked about, of another
// owner, or the repository itself, is passed over: git-lfs asks about others by themselves,
// or no token could be for both.
func Stored(asked *credential.Credential, addresses []string) {
	asked.State = slices.DeleteFunc(asked.State, func(state string) bool { return strings.HasPrefix(state, storeState) })
	own, err := RepositoryOf(asked.Path)
	if err != nil {
		return
	}
	for _, address := range addresses {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != asked.Protocol || !strings.EqualFold(u.Host, asked.Host) {
			continue
		}
		store, err := RepositoryOf(u.Path)
		if err != nil || !strings.EqualFold(store.Owner, own.Owner) || strings.EqualFold(store.Name, own.Name) {
			continue
		}
		if state := storeState + store.String(); !slices.Contains(asked.State, state) {
			asked.State = append(asked.State, state)
		}
	}
}

// mostStores is how many stores a token is for, beside the repository.
const mostStores = 2

// storesOf are those that were noted, of the owner.
func storesOf(asked *credential.Credential, own ghapp.RepositoryName) []string {
	var list []string
	for _, state := range asked.State {
		name, ok := strings.CutPrefix(state, storeState)
		if !ok || len(list) == mostStores {
			continue
		}
		store, err := ghapp.ParseRepository(name)
		if err == nil && strings.EqualFold(store.Owner, own.Owner) && !strings.EqualFold(store.Name, own.Name) {
			list = append(list, store.String())
		}
	}
	return list
}

// unreached reports whether a token for several repositories may have been refused for one
// of them alone.
func unreached(err error) bool {
	return errors.Is(err, ghapp.ErrRepositoryNotSelected) || errors.Is(err, ghapp.ErrInvalid)
}
