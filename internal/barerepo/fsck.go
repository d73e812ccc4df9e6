package barerepo

import (
	"context"
	"errors"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// maxFindings bounds what an error tells of what is wrong.
const maxFindings = 5

// Fsck has git read all objects, and look whether all is there that refs need (git-fsck(1)). The
// error is an [*Error] with [ErrDamaged], whose Detail has the first findings, or git's. How objects
// are written is no damage: they came that way.
func (r *Repository) Fsck(ctx context.Context) error {
	u := &run{Repository: r}
	var found []string
	git := u.git(r.Dir, "")
	git.Stdout = &lineWriter{take: func(line []byte) error {
		if len(found) < maxFindings {
			found = append(found, text.OneLine(string(line)))
		}
		return nil
	}}
	err := u.call(ctx, git, "fsck", "--full", "--no-dangling", "--no-progress")
	e, ok := errors.AsType[*gitcmd.Error](err)
	switch {
	case ok && e.ExitCode <= 0 || err != nil && !ok:
		return err
	case err == nil && len(found) == 0, ok && len(found) == 0 && gitcmd.OnlyWriting(e):
		return nil
	}
	if e != nil && len(found) == 0 {
		for line := range strings.Lines(e.Stderr) {
			if len(found) < maxFindings && !strings.HasPrefix(line, "notice: ") {
				found = append(found, text.OneLine(line))
			}
		}
	}
	return &Error{Problem: ErrDamaged, Op: "check " + r.Dir, Detail: strings.Join(found, "; "), Err: err}
}
