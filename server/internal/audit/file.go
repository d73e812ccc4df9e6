package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/filelock"
	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/private"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// file is a sink of lines in a file, each of which is on the disk before anybody is told so.
// Beside it stand two files: .head, which tells where the chain ends, so that it goes on when the
// file has been moved away and so that records missing at its end are missed; and .lock.
type file struct {
	path   string
	file   *os.File
	head   *os.File
	unlock func()
	ragged bool  // whether the last line has no end yet
	undo   int64 // one more than the size to go back to before anything is written; 0: none
}

// headName is the name of the file that has the end of a chain.
func headName(path string) string { return path + ".head" }

// openFile opens a file, or makes it, and returns where its chain goes on, and what of a
// record lies at its end that was never whole.
func openFile(ctx context.Context, path string) (f *file, end place, torn *Torn, err error) {
	if err := private.Way(filepath.Dir(path)); err != nil {
		return nil, end, nil, err
	}
	unlock, err := filelock.Take(ctx, path+".lock", 0)
	if err != nil {
		if errors.Is(err, filelock.ErrHeld) {
			err = &fault.SettingError{
				Err:  fmt.Errorf("the audit %s is written by another process", path),
				Hint: "end that one, or name another file: each process needs its own",
			}
		}
		return nil, end, nil, err
	}
	f = &file{path: path, unlock: unlock}
	if f.head, err = openOwn(headName(path), 0); err == nil {
		if f.file, err = openOwn(path, os.O_APPEND); err == nil {
			end, torn, err = f.resume()
		}
	}
	if err != nil {
		_ = f.close()
		return nil, end, nil, err
	}
	return f, end, torn, nil
}

// openOwn opens a file of this user's that others cannot even read, or makes it.
func openOwn(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|flag|noFollow, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !private.File(info) {
		err = &private.Error{
			Path: path, Why: fmt.Sprintf("is not a file of this user's alone (%s)", info.Mode()),
			Hint: "run: chmod 600 " + text.ShellWord(path) + ", as the user that ghapp-server runs as",
		}
	}
	if err == nil && info.Size() == 0 {
		err = flush.Parent(path) // it may be new
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// resume finds where the chain goes on, and what follows it that is not whole.
func (f *file) resume() (end place, torn *Torn, err error) {
	known, err := readHead(f.head)
	if err != nil {
		return end, nil, err
	}
	last, rest, err := lastLine(f.file)
	switch {
	case err != nil:
		return end, nil, err
	case last.Seq == 0 && bytes.IndexByte(rest, '\n') >= 0:
		return end, nil, &fault.SettingError{
			Err:  fmt.Errorf("%s has lines that are none of an audit of ghapp-server", f.path),
			Hint: "name another file for the audit; nothing was written to this one",
		}
	}
	end = known
	if last.Seq >= known.Seq || last.Chain != known.Chain && last.Seq > 0 {
		end = last.place
	}
	if end.Chain == "" {
		end = newChain()
	}
	if len(rest) == 0 {
		return end, nil, nil
	}
	f.ragged = true
	if whole, ok := parse(rest); ok { // only its end of line was missing
		return whole.place, nil, nil
	}
	sum := sha256.Sum256(rest)
	return end, &Torn{Bytes: len(rest), SHA256: hex.EncodeToString(sum[:])}, nil
}

// readHead reads where a chain ends. A file with anything else in it tells nothing, and is
// written anew.
func readHead(r io.Reader) (end place, err error) {
	content, err := io.ReadAll(io.LimitReader(r, 1<<10))
	if err != nil || json.Unmarshal(content, &end) != nil || end.Chain == "" || len(end.Hash) != sha256.Size*2 {
		return place{}, err
	}
	return end, nil
}

// lastLine returns the last whole line of a file that is a record, and what comes after it.
func lastLine(f *os.File) (last linked, rest []byte, err error) {
	info, err := f.Stat()
	if err != nil {
		return last, nil, err
	}
	size := info.Size()
	for window := int64(2 * maxLine); ; window *= 4 {
		from := max(size-window, 0)
		content := make([]byte, size-from)
		if _, err := f.ReadAt(content, from); err != nil && !errors.Is(err, io.EOF) {
			return last, nil, err
		}
		end := len(content)
		for end > 0 {
			newline := bytes.LastIndexByte(content[:end], '\n')
			if newline < 0 {
				break
			}
			begin := bytes.LastIndexByte(content[:newline], '\n') + 1
			if l, ok := parse(content[begin:newline]); ok {
				return l, content[newline+1:], nil
			}
			end = newline
		}
		if from == 0 {
			return last, content, nil
		}
	}
}

// write writes lines and waits for the disk. What could not be written whole is taken back,
// so that the lines may come once more.
func (f *file) write(_ context.Context, lines [][]byte, end place) error {
	if f.undo > 0 {
		if err := f.file.Truncate(f.undo - 1); err != nil {
			return fmt.Errorf("take back what of the audit was written in part: %w", err)
		}
		f.undo = 0
	}
	before, err := f.file.Stat()
	if err != nil {
		return err
	}
	content := bytes.Join(lines, nil)
	if f.ragged {
		content = append([]byte{'\n'}, content...)
	}
	_, err = f.file.Write(content)
	if err == nil {
		err = f.file.Sync()
	}
	if err == nil {
		err = f.writeHead(end)
	}
	if err == nil {
		f.ragged = false
		return nil
	}
	if f.file.Truncate(before.Size()) != nil {
		f.undo = before.Size() + 1
	}
	return fmt.Errorf("write the audit: %w", err)
}

// writeHead writes where the chain ends. It is not waited for, since it is only ever behind
// what is on the disk.
func (f *file) writeHead(end place) error {
	content, err := json.Marshal(end)
	if err != nil {
		return err
	}
	const room = 256 // so that a longer one is covered
	content = append(content, bytes.Repeat([]byte{' '}, room-1-len(content))...)
	_, err = f.head.WriteAt(append(content, '\n'), 0)
	return err
}

// reopen opens the file by its name. The one before stays open where that fails.
func (f *file) reopen() error {
	next, err := openOwn(f.path, os.O_APPEND)
	if err != nil {
		return err
	}
	_ = f.file.Close()
	f.file, f.ragged, f.undo = next, false, 0
	return nil
}

func (f *file) close() error {
	var err error
	if f.file != nil {
		err = f.file.Close()
	}
	if f.head != nil {
		err = errors.Join(err, f.head.Close())
	}
	f.unlock()
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}
