package deploy

import (
	"os"

	"golang.org/x/sys/unix"
)

// exchange makes each of two names the other's, in one step (renamex_np(2)).
func exchange(a, b string) error {
	if err := unix.RenamexNp(a, b, unix.RENAME_SWAP); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}
