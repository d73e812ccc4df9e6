package barerepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/gitcmd"
)

// SmallBlobs hands out every file of at most so many bytes that some commits have, or have had. It
// takes two processes. The error is [ErrDamaged] where an object is missing, git's, or take's.
func (r *Repository) SmallBlobs(ctx context.Context, ids []string, most int, take func(text []byte) error) error {
	if len(ids) == 0 {
		return nil
	}
	u := &run{Repository: r}
	var found bytes.Buffer
	git := u.git(r.Dir, "")
	git.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	git.Stdout = gitcmd.Raw(&found)
	err := u.call(ctx, git, "rev-list", "--objects", "--no-object-names", "--stdin",
		fmt.Sprintf("--filter=combine:object:type=blob+blob:limit=%d", most+1))
	if e, ok := errors.AsType[*gitcmd.Error](err); ok && e.Reason == gitcmd.Unknown && e.ExitCode > 0 {
		return &Error{Problem: ErrDamaged, Op: "read the objects of " + r.Dir, Err: err}
	}
	if err != nil || found.Len() == 0 {
		return err
	}
	read, write := io.Pipe()
	cat := u.git(r.Dir, "")
	cat.Stdin, cat.Stdout = &found, gitcmd.Raw(write)
	ended := make(chan error, 1)
	go func() {
		err := u.call(ctx, cat, "cat-file", "--batch", "--buffer")
		_ = write.Close()
		ended <- err
	}()
	err = eachBlob(bufio.NewReader(read), most, take)
	_ = read.CloseWithError(err)
	return errors.Join(err, <-ended)
}

// eachBlob reads what git cat-file --batch writes: a line with ID, type and size, the object, and a
// line feed.
func eachBlob(r *bufio.Reader, most int, take func(text []byte) error) error {
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return nil
		}
		if err != nil {
			return err
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return fmt.Errorf("git cat-file has written %q", line)
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || size < 0 {
			return fmt.Errorf("git cat-file has written %q", line)
		}
		if fields[1] != "blob" || size > int64(most) {
			if _, err := io.CopyN(io.Discard, r, size+1); err != nil {
				return err
			}
			continue
		}
		text := make([]byte, size+1)
		if _, err := io.ReadFull(r, text); err != nil {
			return err
		}
		if err := take(text[:size]); err != nil {
			return err
		}
	}
}

// Touches reports whether one of some commits, or of those that they come from, has changed
// something below a path.
func (r *Repository) Touches(ctx context.Context, ids []string, path string) (bool, error) {
	u := &run{Repository: r}
	git := u.git(r.Dir, "")
	git.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n--\n" + path + "\n")
	out, err := u.output(ctx, git, "rev-list", "--max-count=1", "--stdin")
	return len(out) > 0, err
}
