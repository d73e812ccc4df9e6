package ghapp

import (
	"encoding/json"
	"time"

	"github.com/ghapp-dev/ghapp/internal/redact"
)

// Kept says under which key the [Store] of the token's App has it, and from when until
// when an App that starts anew would hand out what is there, for git to use with a
// repository, without asking GitHub for anything, by this machine's clock: once the token
// is [Token.Settled] there, and until it is to be renewed. The key is "" where no Store
// has it. Another process may have changed the entry since.
func (t *Token) Kept(repository string) (key string, from, until time.Time) {
	from = t.MintedAt.Add(-t.offset)
	if !t.settled.has(repository) {
		from = from.Add(propagationDelay)
	}
	return t.key, from, t.ExpiresAt.Add(-t.lifetime()/refreshShare - t.offset)
}

// KeptFor says of an entry of a [Store] which repositories the token in it is for, by their
// full names, and of which API, as [Token.API] has it. There are none where the entry is
// no token, or where that reaches all repositories. Nothing else of the entry is told.
func KeptFor(entry []byte) (api string, repositories []string) {
	var s stored
	if json.Unmarshal(entry, &s) != nil || !redact.IsToken(s.Token) {
		return "", nil
	}
	return s.API, s.Repositories
}
