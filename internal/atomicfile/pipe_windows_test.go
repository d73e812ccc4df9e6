package atomicfile_test

import "errors"

func pipe(string) error { return errors.ErrUnsupported }
