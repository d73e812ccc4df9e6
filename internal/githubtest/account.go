package githubtest

import (
	"fmt"
	"strings"
	"time"
)

// AccountKind is what an account is.
type AccountKind string

// The kinds of account an App can be installed on. An [Enterprise] owns no repositories: an installation on one can
// be minted for, and reads nothing.
const (
	Organization AccountKind = "Organization"
	User         AccountKind = "User"
	Enterprise   AccountKind = "Enterprise"
)

// Account is an owner of repositories, of Apps, or of installations.
type Account struct {
	ID    int64
	Login string // the slug, for an Enterprise
	Kind  AccountKind

	created   time.Time
	allowList bool
}

// AddAccount makes an account, or returns the one of this login, which is not case sensitive. It panics if that one is
// of another kind.
func (gh *GitHub) AddAccount(login string, kind AccountKind) *Account {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	a := gh.account(login, kind)
	if a.Kind != kind {
		panic(fmt.Sprintf("githubtest: account %s is of kind %s", a.Login, a.Kind))
	}
	return a
}

// account finds an account, or makes it of the given kind.
func (gh *GitHub) account(login string, kind AccountKind) *Account {
	key := strings.ToLower(login)
	if a := gh.accounts[key]; a != nil {
		return a
	}
	a := &Account{ID: gh.id("account"), Login: login, Kind: kind, created: gh.now()}
	gh.accounts[key] = a
	return a
}
