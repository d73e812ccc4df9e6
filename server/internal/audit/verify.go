package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// Report is what [Verify] has found.
type Report struct {
	Records int `json:"records"`
	// Faults are places that are not as they were written.
	Faults []Finding `json:"faults"`
	// Notes are what is no fault, and worth knowing.
	Notes []Finding `json:"notes"`
	// Last is the newest record of each chain, by the chain's ID.
	Last map[string]Last `json:"last"`
}

// Finding is what was found at a place.
type Finding struct {
	File string `json:"file"`
	Line int    `json:"line"`
	What string `json:"what"`
}

// Last is the newest record of a chain.
type Last struct {
	Sequence uint64 `json:"sequence"`
	Hash     string `json:"hash"`
}

// maxFaults is how many are told; a file that is something else has one in every line.
const maxFaults = 100

// errEnough ends the reading of what has more faults than are told.
var errEnough = errors.New("there are more faults than are told")

// Verify reads files, the oldest first, and looks whether their records are those that were
// written, none changed, missing or elsewhere. The files may be of several processes, whose
// chains lie one into another, as one receiver has them. Beside the last file its .head tells
// which record is to be the last, if it is there. noted is the hash of a record that is to be
// among them; it may be empty.
//
// The error is of a file that cannot be read; what is wrong with the records is in the report.
func Verify(noted string, files ...string) (*Report, error) {
	v := &verifier{
		noted:  noted,
		report: &Report{Faults: []Finding{}, Notes: []Finding{}, Last: map[string]Last{}},
		chains: map[string]linked{},
	}
	// Of files that grow meanwhile, what has been noted before they are read is in them.
	end, noHead, err := endOf(files)
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		err := v.file(path)
		if errors.Is(err, errEnough) {
			return v.report, nil
		}
		if err != nil {
			return nil, err
		}
	}
	if noHead != "" {
		v.note(v.line, "%s: whether records are missing at the end cannot be told", noHead)
	} else {
		v.reaches(end)
	}
	if noted != "" && !v.found {
		_ = v.fault(v.line, "the record with the hash that was noted is not in these files")
	}
	return v.report, nil
}

type verifier struct {
	report  *Report
	chains  map[string]linked // the newest record of each
	noted   string
	found   bool // the record with the hash noted
	path    string
	line    int
	rubbish []byte // lines before this one that are no records
	begin   int    // the first of them; 0: there are none
}

func (v *verifier) fault(line int, format string, args ...any) error {
	v.report.Faults = append(v.report.Faults, Finding{v.path, line, fmt.Sprintf(format, args...)})
	if len(v.report.Faults) >= maxFaults {
		return errEnough
	}
	return nil
}

func (v *verifier) note(line int, format string, args ...any) {
	if len(v.report.Notes) < maxFaults {
		v.report.Notes = append(v.report.Notes, Finding{v.path, line, fmt.Sprintf(format, args...)})
	}
}

// file reads one file.
func (v *verifier) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	v.path = path
	return v.read(f)
}

// read reads the lines of one file.
func (v *verifier) read(r io.Reader) error {
	v.line, v.rubbish, v.begin = 0, nil, 0
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if len(line) == 0 {
			break
		}
		v.line++
		whole := bytes.HasSuffix(line, []byte{'\n'})
		if l, ok := parse(bytes.TrimSuffix(line, []byte{'\n'})); ok {
			err = v.record(l)
		} else if whole || errors.Is(err, bufio.ErrBufferFull) {
			err = v.strange(line)
		} else {
			// What comes behind it by now, of a file that grows, is the rest of it.
			v.note(v.line, "the file ends in a part of a record, as after a loss of power; the next start goes on behind it")
			return v.flush()
		}
		if err != nil {
			return err
		}
	}
	return v.flush()
}

// strange keeps a line that is no record, until it is clear what it is.
func (v *verifier) strange(line []byte) error {
	if v.begin == 0 {
		v.begin = v.line
	}
	if v.rubbish = append(v.rubbish, line...); len(v.rubbish) > 4*maxLine {
		return v.flush()
	}
	return nil
}

// flush reports lines that are no records, and that no record after them explains.
func (v *verifier) flush() error {
	if v.begin == 0 {
		return nil
	}
	at := v.begin
	v.rubbish, v.begin = nil, 0
	return v.fault(at, "this is no record, or one that was changed or cut")
}

// record looks at one record.
func (v *verifier) record(l linked) error {
	if err := v.before(l); err != nil {
		return err
	}
	v.report.Records++
	v.found = v.found || l.Hash == v.noted
	last, known := v.chains[l.Chain]
	var err error
	switch {
	case !known && l.Seq > 1:
		v.note(v.line, "the chain begins with record %d: those before are not in these files", l.Seq)
	case !known && l.Previous != "":
		err = v.fault(v.line, "record 1 says that there is one before it")
	case !known:
	case l.Seq == last.Seq && l.Hash == last.Hash:
		v.note(v.line, "record %d stands here once more", l.Seq)
	case l.Seq <= last.Seq:
		// The chain is gone on with where it was, so that one record is one fault.
		return v.fault(v.line, "record %d comes after record %d", l.Seq, last.Seq)
	case l.Seq > last.Seq+1:
		err = v.fault(v.line, "missing: %s", between(last.Seq+1, l.Seq-1))
	case l.Previous != last.Hash:
		err = v.fault(v.line, "record %d does not follow the record %d that stands before it", l.Seq, last.Seq)
	}
	v.chains[l.Chain] = l
	v.report.Last[l.Chain] = Last{l.Seq, l.Hash}
	return err
}

// before looks at what stands before a record that is none.
func (v *verifier) before(l linked) error {
	if l.Torn == nil {
		return v.flush()
	}
	sum := sha256.Sum256(bytes.TrimSuffix(v.rubbish, []byte{'\n'}))
	if v.begin == 0 || hex.EncodeToString(sum[:]) != l.Torn.SHA256 {
		if err := v.flush(); err != nil {
			return err
		}
		return v.fault(v.line, "record %d continues after %d bytes of another, which do not stand before it",
			l.Seq, l.Torn.Bytes)
	}
	v.note(v.begin, "a record was cut short here, as by a loss of power, and no token left for it; record %d says so",
		l.Seq)
	v.rubbish, v.begin = nil, 0
	return nil
}

// endOf is where the chain ends by what was noted beside the last file, or why that is not known.
func endOf(files []string) (end place, unknown string, err error) {
	if len(files) == 0 {
		return end, "there is no file", nil
	}
	name := headName(files[len(files)-1])
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return end, "there is no " + name, nil
	}
	if err != nil {
		return end, "", err
	}
	defer f.Close()
	if end, err = readHead(f); err == nil && end.Chain == "" {
		unknown = name + " does not tell where the chain ends"
	}
	return end, unknown, err
}

// reaches compares the end of the last file with what was noted of it.
func (v *verifier) reaches(end place) {
	last := v.chains[end.Chain]
	switch {
	case last.Seq < end.Seq:
		_ = v.fault(v.line, "missing at the end: %s", between(last.Seq+1, end.Seq))
	case last.Seq == end.Seq && last.Hash != end.Hash:
		_ = v.fault(v.line, "record %d is another than the one that was written last", last.Seq)
	}
}

func between(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("record %d", first)
	}
	return fmt.Sprintf("records %d to %d", first, last)
}
