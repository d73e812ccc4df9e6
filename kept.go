package ghapp

import "time"

// Kept says under which key the [Store] of the token's App has it, and from when until
// when an App that starts anew would hand out what is there without asking GitHub for
// anything, by this machine's clock: once the token is not [Token.Young] any more, and
// until it is to be renewed. The key is "" where no Store has it. Another process may
// have changed the entry since.
func (t *Token) Kept() (key string, from, until time.Time) {
	return t.key, t.MintedAt.Add(youth - t.offset), t.ExpiresAt.Add(-t.whole()/agingShare - t.offset)
}
