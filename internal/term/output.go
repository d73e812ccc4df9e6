package term

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
)

// WriteSecret writes a secret to the file that a flag names. A regular file is replaced,
// whole or not at all, by one that only this user can read; a character device or a pipe
// is written to, as a shell's > would. Anything else is refused, and stays as it was. One
// of the streams that are open already is written to where path is another name of it.
func WriteSecret(ctx context.Context, path string, open []io.Writer, write func(io.Writer) error) error {
	err := atomicfile.Check(path)
	if _, odd := errors.AsType[*atomicfile.NotRegularError](err); odd {
		return writeThrough(ctx, path, open, write)
	}
	if err != nil {
		return err
	}
	file, err := atomicfile.Begin(path, atomicfile.Options{})
	if err != nil {
		return err
	}
	defer file.Discard()
	if err := write(file); err != nil {
		return err
	}
	return file.Commit()
}

// writeThrough writes to a device or a pipe, by its own name or that of a link, as
// /dev/stdout is one.
func writeThrough(ctx context.Context, path string, open []io.Writer, write func(io.Writer) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	for _, w := range open {
		// What we have open already may be a socket or a file, which cannot be opened again
		// so that the text goes where it would go.
		if file, ok := w.(*os.File); ok {
			if own, err := file.Stat(); err == nil && os.SameFile(own, info) {
				return write(w)
			}
		}
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return errors.New("it is a link to a file; name that file itself")
	case mode&fs.ModeCharDevice == 0 && mode&fs.ModeNamedPipe == 0:
		return &atomicfile.NotRegularError{Path: path, Mode: mode}
	case readByOthers(info):
		// In a directory where others may write it could be anybody's.
		return errors.New("it is a pipe or a terminal of another user, who would read the token")
	}
	// A pipe opens when somebody reads from it, which may be never.
	type opened struct {
		file *os.File
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		done <- opened{file, err}
	}()
	var o opened
	select {
	case o = <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if o.err != nil {
		return o.err
	}
	defer o.file.Close()
	if now, err := o.file.Stat(); err != nil || !os.SameFile(info, now) {
		return errors.Join(errors.New("it has become another file meanwhile"), err)
	}
	if err := write(o.file); err != nil {
		return err
	}
	return o.file.Close()
}
