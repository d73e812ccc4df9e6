//go:build unix

package syncer

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

// overlaps refuses directories that lie in each other, by whatever names: what is published in
// the outer one would take the inner one away. There is an error, or nil, for each of them.
func overlaps(entries []config.Sync) []error {
	real := make([]string, len(entries))
	for i, s := range entries {
		real[i] = filepath.Join(resolved(filepath.Dir(s.To)), filepath.Base(s.To))
	}
	within := func(dir, outer string) bool { return strings.HasPrefix(dir+"/", outer+"/") }
	errs := make([]error, len(entries))
	for i, a := range entries {
		for j, b := range entries {
			beside := filepath.Join(filepath.Dir(real[j]), "."+filepath.Base(real[j])+".ghapp")
			var err error
			switch {
			case i == j:
			case real[i] == real[j]:
				err = &fault.SettingError{
					Err:  fmt.Errorf("sync.%s and sync.%s keep one directory, %s", a.Name, b.Name, real[i]),
					Hint: "give each its own under to:",
				}
			case within(real[i], real[j]), within(real[i], beside):
				err = &fault.SettingError{
					Err:  fmt.Errorf("the directory of sync.%s, %s, lies in what sync.%s keeps", a.Name, a.To, b.Name),
					Hint: "a release is replaced as a whole, with all that lies in it; put the one beside the other",
				}
			}
			if err != nil {
				errs[i], errs[j] = cmp.Or(errs[i], err), cmp.Or(errs[j], err)
			}
		}
	}
	return errs
}

// resolved is a path without symbolic links, as far as it exists.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(resolved(parent), filepath.Base(path))
	}
	return path
}
