package gitauth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
)

// open is a public repository that is read without a credential, since there is no
// token for it. The zero value is none.
//
// It is for git that asks for a credential before it knows that the repository needs
// none. Left alone, git would have read what everybody may read.
type open struct {
	Kind  ghapp.Kind `json:"kind"`  // of the refusal
	Text  string     `json:"text"`  // of the refusal
	Until time.Time  `json:"until"` // when a token is tried again
}

// openLife is how long a repository is taken to be open. Until then GitHub is asked
// nothing, and a person who has just let the App in waits no longer than that for
// the first token; a server that wants a credential after all ends it sooner.
const openLife = 5 * time.Minute

func (o open) valid() bool {
	left := time.Until(o.Until)
	return o.Kind != "" && left > 0 && left <= openLife
}

// excusable is how loudly to say that a refused token does not keep git from reading a
// public repository; no other refusal is passed over.
func excusable(refusal ghapp.Kind) (slog.Level, bool) {
	switch refusal {
	case ghapp.ErrIPAllowList:
		// The list keeps out those who bring a credential, and nobody else
		// (https://docs.github.com/en/enterprise-cloud@latest/organizations/keeping-your-organization-secure/managing-security-settings-for-your-organization/managing-allowed-ip-addresses-for-your-organization).
		return slog.LevelWarn, true
	case ghapp.ErrNotInstalled, ghapp.ErrRepositoryNotSelected:
		// The App has nothing to do with the repository.
		return slog.LevelInfo, true
	}
	return 0, false
}

// Public reports whether git can go on without a credential although a token for the
// repository was refused: where the refusal is the owner's IP allow list, or that the
// App does not reach the repository, and GitHub's git service serves it to everybody.
// It says so in the log. For some minutes from then on git is answered that way where
// it asks by itself, and not because the server wants a credential.
func (a *Answerer) Public(ctx context.Context, r ghapp.RepositoryName, refusal error) bool {
	return a.public(ctx, r.String(), refusal)
}

func (a *Answerer) public(ctx context.Context, path string, refusal error) bool {
	kind := ghapp.KindOf(refusal)
	if _, ok := excusable(kind); !ok {
		return false
	}
	d, err := a.discover(ctx, path, nil)
	if err != nil || !d.served {
		a.log().Debug("without a credential the repository cannot be read either", "repository", path,
			"status", d.status, "error", err)
		return false
	}
	o := open{Kind: kind, Text: refusal.Error(), Until: time.Now().Add(openLife)}
	a.tellOpen(ctx, path, o)
	key := a.openKey(path)
	a.open.Store(key, o)
	if a.Store == nil {
		return true
	}
	text, err := json.Marshal(o)
	if err == nil {
		err = a.Store.Update(ctx, key, func(context.Context, []byte) ([]byte, error) { return text, nil })
	}
	if err != nil {
		a.log().Warn("that the repository is public is not remembered", "error", err)
	}
	return true
}

// known reports whether a repository is remembered to be open.
func (a *Answerer) known(ctx context.Context, path string) bool {
	key := a.openKey(path)
	if held, ok := a.open.Load(key); ok && held.(open).valid() {
		return true // and it was told in this process
	}
	if a.Store == nil {
		return false
	}
	text, err := a.Store.Get(ctx, key)
	var o open
	if err != nil || text == nil || json.Unmarshal(text, &o) != nil || !o.valid() {
		return false
	}
	a.tellOpen(ctx, path, o)
	a.open.Store(key, o)
	return true
}

// forget is for a repository that was not open after all.
func (a *Answerer) forget(ctx context.Context, path string) error {
	key := a.openKey(path)
	a.open.Delete(key)
	if a.Store == nil {
		return nil
	}
	return a.Store.Update(ctx, key, func(context.Context, []byte) ([]byte, error) { return nil, nil })
}

func (a *Answerer) tellOpen(ctx context.Context, path string, o open) {
	level, _ := excusable(o.Kind)
	a.log().Log(ctx, level,
		fmt.Sprintf("%s is public and is read without a credential, since a token for it is refused", path), "error", o.Text)
}

// openKey is the key in the store. Wikis are repositories of their own here.
func (a *Answerer) openKey(path string) string {
	sum := sha256.Sum256([]byte("public repository\x00" + a.Origin + "\x00" + strings.ToLower(path)))
	return hex.EncodeToString(sum[:])
}

// asksByItself returns the path of the repository, and whether git asks by itself, so
// that it understands the answer that there is no credential.
func asksByItself(asked *credential.Credential) (path string, ok bool) {
	path = pathOf(asked)
	return path, asked.Proactive() && strings.Count(path, "/") == 1 // and not below a repository
}

// pathOf is the path of a repository in one spelling, but for the case of letters.
func pathOf(asked *credential.Credential) string {
	return strings.TrimSuffix(strings.Trim(asked.Path, "/"), ".git")
}
