package barerepo

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// Tips are the IDs of all that refs stand for, what is kept among them, sorted, each once. The error
// is the system's, or git's.
func (r *Repository) Tips(ctx context.Context) ([]string, error) {
	s, err := (&run{Repository: r}).read(ctx)
	if err != nil {
		return nil, err
	}
	tips := map[string]bool{}
	for _, id := range s.refs {
		if id != "" {
			tips[id] = true
		}
	}
	return slices.Sorted(maps.Keys(tips)), nil
}

// CheckTips looks whether git can read the repository, and whether all that refs stand for is there. The
// error is an [*Error] with [ErrDamaged] where it is not, git's, or the system's.
func (r *Repository) CheckTips(ctx context.Context) error {
	tips, err := r.Tips(ctx)
	if err != nil {
		return err
	}
	missing, err := (&update{run: &run{Repository: r}, ctx: ctx}).missing(tips)
	damaged := &Error{Problem: ErrDamaged, Op: "look at " + r.Dir, Err: err}
	e, _ := errors.AsType[*gitcmd.Error](err)
	switch {
	case e != nil && (e.Reason == gitcmd.ConfigurationBroken || e.Reason == gitcmd.NoRepository):
		return damaged
	case err == nil && len(missing) > 0:
		damaged.Detail = "it has no object " + missing[0]
		return damaged
	}
	return err
}

// Variables are the values that a file of git's configuration at the top of the default branch, such
// as .lfsconfig, has for variables whose names fit a pattern, as git config has it. None where there
// is no such file, or it cannot be read as one: somebody has pushed it.
func (r *Repository) Variables(ctx context.Context, file, pattern string) ([]string, error) {
	u := &run{Repository: r}
	out, err := u.output(ctx, u.git(r.Dir, ""), "config", "--null", "--blob", "HEAD:"+file, "--get-regexp", pattern)
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.ExitCode > 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var values []string
	for entry := range bytes.SplitSeq(out, []byte{0}) {
		if _, value, ok := strings.Cut(string(entry), "\n"); ok {
			values = append(values, value)
		}
	}
	return values, nil
}
