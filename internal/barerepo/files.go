package barerepo

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// checkFiles returns an [*Error] with [ErrForeign] where there is something in a repository that is never made
// here, and that has git, or us, wait for ever, or read or write elsewhere: a link, a pipe, or objects that are
// borrowed. The error is a [*private.Error] where it is another user's link.
func checkFiles(dir string, names ...string) error {
	for _, name := range names {
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // git takes files away at any time
			}
			if err == nil {
				err = checkLink(path, d.Type(), d.Info)
			}
			if err != nil {
				return err
			}
			below, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			detail := ""
			switch {
			case !d.IsDir() && !d.Type().IsRegular():
				detail = "it is neither a file nor a directory"
			case filepath.ToSlash(below) == "objects/info/alternates", filepath.ToSlash(below) == "objects/info/http-alternates":
				detail = "its objects would be those of others"
			case filepath.ToSlash(below) == "lfs/objects":
				return fs.SkipDir // internal/lfsstore looks at each
			default:
				return nil
			}
			return &Error{Problem: ErrForeign, Op: "look at " + path, Detail: detail}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// whatIsUsed are the names in a repository of what we and git read and write.
func whatIsUsed() []string {
	return []string{"HEAD", "config", "packed-refs", "shallow", "objects", "refs", "lfs", filepath.Base(journal("")),
		"ghapp-lfs"}
}
