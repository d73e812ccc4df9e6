package barerepo

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/atomicfile"
	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/gitwire"
)

// The journal is a file of lines, each of which is an [Entry]: time, ref, old and new value, "-"
// for none. Those of one update come before its transaction, on the disk, and a line that says
// "done" after it; other work has a line that says "work" before it. It begins with the first
// change. Where something was taken out of it, its first line says since when it is whole; else the
// configuration does (ghapp.since). The line after that says "forgone" where it was not taken out because its time
// was over.

// Entry is that a ref was moved. Of HEAD the values are names of refs, else they are IDs.
type Entry struct {
	Time time.Time `json:"time"`          // UTC, to the second
	Ref  string    `json:"ref"`           // its full name
	Old  string    `json:"old,omitempty"` // empty: the ref was not there
	New  string    `json:"new,omitempty"` // empty: it is not there any more
}

const (
	begun   = "begun"
	work    = "work"
	done    = "done"
	forgone = "forgone"
)

// JournalName is the name of the journal's file in a repository.
const JournalName = "ghapp-journal"

func journal(dir string) string { return filepath.Join(dir, JournalName) }

func (e Entry) line() string {
	value := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	return fmt.Sprintf("%s %s %s %s\n", e.Time.UTC().Format(time.RFC3339), e.Ref, value(e.Old), value(e.New))
}

// parseEntry reads a line. One that is none, as a loss of power or a damaged disk leaves it, is passed over.
func parseEntry(line string) (Entry, bool) {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if len(fields) != 4 {
		return Entry{}, false
	}
	at, err := time.Parse(time.RFC3339, fields[0])
	if err != nil || at.UTC().Format(time.RFC3339) != fields[0] {
		return Entry{}, false
	}
	for i := range fields {
		if fields[i] == "-" {
			fields[i] = ""
		}
	}
	e := Entry{at.UTC(), fields[1], fields[2], fields[3]}
	return e, e.check(gitwire.SHA1) == nil || e.check(gitwire.SHA256) == nil
}

// beginBatch writes what is going to be moved, and has it on the disk. Without entries it is other work
// that git has locks for.
func beginBatch(dir string, entries []Entry) error {
	var b bytes.Buffer
	if len(entries) == 0 {
		b.WriteString(work + "\n")
	}
	for _, e := range entries {
		b.WriteString(e.line())
	}
	return appendJournal(dir, b.Bytes(), true)
}

// endBatch writes that it has been.
func endBatch(dir string) error { return appendJournal(dir, []byte(done+"\n"), false) }

func appendJournal(dir string, text []byte, sync bool) error {
	file, err := os.OpenFile(journal(dir), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer file.Close()
	end := lastBytes(file, 1)
	begins := len(end) == 0
	if !begins && end[0] != '\n' {
		text = append([]byte("\n"), text...) // after a line without an end
	}
	if _, err := file.Write(text); err != nil {
		return err
	}
	if sync {
		if err := file.Sync(); err != nil {
			return err
		}
		if begins {
			if err := flush.Parent(journal(dir)); err != nil {
				return err
			}
		}
	}
	return file.Close()
}

// lastBytes are the last n bytes of a file, or all.
func lastBytes(file *os.File, n int64) []byte {
	info, err := file.Stat()
	if err != nil {
		return nil
	}
	n = min(n, info.Size())
	b := make([]byte, n)
	if _, err := file.ReadAt(b, info.Size()-n); err != nil {
		return nil
	}
	return b
}

// isOpen reports whether something was begun that may not have come to its end.
func isOpen(dir string) (bool, error) {
	file, err := openFile(journal(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	end := string(lastBytes(file, 64))
	return end != "" && !strings.HasSuffix(end, done+"\n"), nil
}

// scanJournal reads the lines that have an end.
func scanJournal(r io.Reader, take func(line string)) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		take(line)
	}
}

// readJournal reads since when the journal is whole, and all entries, oldest first. since is zero where
// nothing says so.
func readJournal(dir string) (since time.Time, entries []Entry, err error) {
	config, err := readFile(filepath.Join(dir, "config"))
	if err != nil {
		return since, nil, err
	}
	since, entries, err = readEntries(dir)
	if since.IsZero() {
		since, _ = time.Parse(time.RFC3339, variable(config, "ghapp", "since"))
	}
	return since, entries, err
}

// readEntries reads the journal alone: its entries, and since when it is whole where its first line says
// so. Where there is no journal there are none.
func readEntries(dir string) (begins time.Time, entries []Entry, err error) {
	file, err := openFile(journal(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return begins, nil, nil
	}
	if err != nil {
		return begins, nil, err
	}
	defer file.Close()
	err = scanJournal(file, func(line string) {
		if at, ok := strings.CutSuffix(line, " "+begun+"\n"); ok {
			begins, _ = time.Parse(time.RFC3339, at)
		} else if e, ok := parseEntry(line); ok {
			entries = append(entries, e)
		}
	})
	return begins, entries, err
}

// readEnded reads until when the history has ended because its time was over; zero: it has not.
func readEnded(dir string) (ended time.Time, err error) {
	file, err := openFile(journal(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return ended, nil
	}
	if err != nil {
		return ended, err
	}
	defer file.Close()
	err = scanJournal(file, func(line string) {
		if at, ok := strings.CutSuffix(line, " "+begun+"\n"); ok {
			ended, _ = time.Parse(time.RFC3339, at)
		} else if line == forgone+"\n" {
			ended = time.Time{}
		}
	})
	return ended, err
}

// forget takes entries out of the journal that are older than a time. isLost says that their time was not over.
func forget(dir string, before time.Time, isLost bool) error {
	since, entries, err := readJournal(dir)
	if err != nil || !since.Before(before) {
		return err
	}
	var b bytes.Buffer
	b.WriteString(before.UTC().Format(time.RFC3339) + " " + begun + "\n")
	if isLost {
		b.WriteString(forgone + "\n")
	}
	for _, e := range entries {
		if !e.Time.Before(before) {
			b.WriteString(e.line())
		}
	}
	b.WriteString(done + "\n")
	file, err := atomicfile.Begin(journal(dir), atomicfile.Options{
		Temp: journal(dir) + ".new", Leftover: true, Perm: 0o666, Ours: true})
	if err != nil {
		return err
	}
	defer file.Discard()
	if _, err := file.Write(b.Bytes()); err != nil {
		return err
	}
	if err := file.Commit(); err != nil {
		return err
	}
	return flush.Parent(journal(dir))
}
