package serve

import (
	"log/slog"

	"github.com/ghapp-dev/ghapp/server/internal/policy"
	"github.com/ghapp-dev/ghapp/server/internal/reread"
)

// followed is a policy whose file is read anew when it changes: all of it, or nothing.
type followed struct {
	*reread.Files[*policy.Policy]
	log  *slog.Logger
	last string // the generation that was told
	told string // the error that was told
}

func follow(path, audience string, log *slog.Logger) (*followed, error) {
	if _, err := policy.Read(path, audience); err != nil {
		return nil, err // as it is, with its lines
	}
	files, err := reread.Open(func(contents [][]byte) (*policy.Policy, error) {
		return policy.Parse(path, contents[0], audience)
	}, path)
	if err != nil {
		return nil, err
	}
	return &followed{Files: files, log: log, last: files.Get().Generation()}, nil
}

// look tells of a change, and reports whether another policy is in force. It is for one
// goroutine.
func (f *followed) look() (changed bool) {
	generation := f.Get().Generation()
	if changed = generation != f.last; changed {
		f.last = generation
		f.log.Info("the policy has changed", "generation", generation)
	}
	said := ""
	if err := f.Err(); err != nil {
		said = err.Error()
	}
	if said != f.told && said != "" {
		f.log.Error("the policy has changed and cannot be used; the one before is in force", "error", said)
	}
	f.told = said
	return changed
}
