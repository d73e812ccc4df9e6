package ghapp

import (
	"encoding/json"

	"github.com/ghapp-dev/ghapp/internal/bridge"
	"github.com/ghapp-dev/ghapp/internal/ghtoken"
)

func init() {
	bridge.EntryOf = func(token any, repository string) bridge.Entry { return token.(*Token).entry(repository) }
	bridge.RepositoriesOf = storedFor
}

// entry is where the store has the token, and from when until when an App that starts anew
// hands that out: once the token is settled for the repository, and until it needs a
// refresh.
func (t *Token) entry(repository string) bridge.Entry {
	from := t.MintedAt.Add(-t.offset)
	if !t.settled.has(repository) {
		from = from.Add(propagationDelay)
	}
	return bridge.Entry{Key: t.key, From: from, Until: t.ExpiresAt.Add(-t.lifetime()/refreshShare - t.offset)}
}

// storedFor says what the token in an entry is for.
func storedFor(entry []byte) (api string, repositories []string) {
	var s stored
	if json.Unmarshal(entry, &s) != nil || !ghtoken.Valid(s.Token) {
		return "", nil
	}
	return s.API, s.Repositories
}
