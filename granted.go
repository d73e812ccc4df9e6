package ghapp

import (
	"context"
	"time"
)

// grantLife is how long a process goes on with what it knows an installation to have
// granted. Owners accept more, or less, while tokens with all of it live for an hour.
const grantLife = time.Minute

// grant is what an installation has granted.
type grant struct {
	permissions Permissions
	at          time.Duration // since installations.start
}

// granted asks GitHub what an installation has granted. It is nil where that is not known,
// and then a token with all of its permissions is as good as it was.
func (i *installations) granted(ctx context.Context, c *signedClient, id int64) Permissions {
	if held, ok := i.grants.Load(id); ok {
		if g := held.(grant); time.Since(i.start)-g.at < grantLife {
			return g.permissions
		}
	}
	found, err := c.installation(ctx, "read what the installation has granted", id)
	if err != nil {
		i.log.Debug("a token with all permissions may have those of earlier", "error", err)
		return nil
	}
	i.grants.Store(id, grant{found.Permissions, time.Since(i.start)})
	return found.Permissions
}
