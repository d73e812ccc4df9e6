// Package credcache keeps what was answered to a question of git's in a file, so that
// git-credential-ghapp can answer it again without starting ghapp: no configuration is
// read, no key, and nobody is asked.
//
// The file stands beside the token in the cache, of mode 0600 in a directory of mode
// 0700, and repeats the whole question: see [Question]. It names the files that the
// answer rests on, such as the configuration, the key, and the token's own entry in
// the cache. While all of them are what they were, ghapp would give the same answer;
// when one is not, or time is up, or anything about the file is odd, there is no
// answer here, and ghapp is asked. So what ends a token in the cache ends the answers
// that hold it, too.
//
// It is used on Linux and macOS. On other systems nothing is found: there either modes
// and owners say nothing about who else could have written a file, or it was not
// tried.
//
// # Format
//
//	ghapp-answer/1
//	flag --app
//	flag deploy
//	env HOME=/home/me
//	protocol=https
//	host=github.com
//	path=acme/site.git
//
//	from 1764000010000000000
//	until 1764003300000000000
//	file 65024 131 1679 1763000000000000000 1763000000000000000 /etc/ghapp/app.pem
//	none /home/me/.config/ghapp/config.yaml
//
//	username=x-access-token
//	password=ghs_…
//	password_expiry_utc=1764003600
//
//	end
//
// The first part is the question, the last one the answer in git's own format. Times
// are nanoseconds since 1970; those of a file are its device, inode, size, and the
// times of its last modification and of its last change of state.
package credcache

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/credential"
)

const (
	header = "ghapp-answer/1\n"
	footer = "\nend\n"

	// maxFile is the size in bytes that an answer's file may have. A path has 4096 at
	// the most, and no request of git's comes near that.
	maxFile = 64 << 10
)

// File is a file that an answer rests on.
type File struct {
	Path  string // absolute
	Stamp Stamp  // zero: it is not there
}

// coarse is more than the step in which the times of files advance. A file that has
// changed less than that ago may do so again and show the same times.
const coarse = 50 * time.Millisecond

// FileOf is a file as it was when it was looked at, before it was read; info is nil
// where it was not there. It is false where a change since could go unnoticed.
func FileOf(path string, info fs.FileInfo) (File, bool) {
	if info == nil {
		return File{Path: path}, true
	}
	stamp, ok := StampOf(info)
	return File{path, stamp}, ok && time.Since(time.Unix(0, stamp.changed)) > coarse
}

// Answer is what git was answered, and how long that is good. It holds a secret.
type Answer struct {
	Question    Question
	From, Until time.Time // by this machine's clock: not before, and not any more
	Files       []File
	Credential  *credential.Credential
}

// Encode returns the bytes of the answer's file. The error says what cannot be kept.
func (a *Answer) Encode() ([]byte, error) {
	var out bytes.Buffer
	out.Write(a.Question.text)
	out.WriteString("from " + strconv.FormatInt(a.From.UnixNano(), 10) + "\n")
	out.WriteString("until " + strconv.FormatInt(a.Until.UnixNano(), 10) + "\n")
	for _, file := range a.Files {
		if !filepath.IsAbs(file.Path) || strings.Contains(file.Path, "\n") {
			return nil, errors.New("cached answer: a file without an absolute path of one line")
		}
		if file.Stamp == (Stamp{}) {
			out.WriteString("none ")
		} else {
			out.WriteString("file " + file.Stamp.String() + " ")
		}
		out.WriteString(file.Path + "\n")
	}
	out.WriteString("\n")
	if err := a.Credential.Encode(&out); err != nil {
		return nil, err
	}
	out.WriteString(footer)
	if out.Len() > maxFile {
		return nil, errors.New("cached answer: more than " + strconv.Itoa(maxFile) + " bytes")
	}
	return out.Bytes(), nil
}

// Dir returns the directory of the cache, or "" where the environment names none. The
// environment is read by lookup, as by os.LookupEnv.
func Dir(lookup func(string) (string, bool)) string {
	parent, _ := lookup("XDG_CACHE_HOME")
	if !filepath.IsAbs(parent) {
		below := ".cache"
		variable := "HOME"
		switch runtime.GOOS {
		case "windows":
			variable, below = "LocalAppData", ""
		case "darwin":
			below = filepath.Join("Library", "Caches")
		}
		home, _ := lookup(variable)
		if !filepath.IsAbs(home) {
			return ""
		}
		parent = filepath.Join(home, below)
	}
	return filepath.Join(parent, "ghapp")
}

// Find returns what was answered to the question, from the directory of the cache, or
// nil where there is no answer that is still good. It reads no file that is not this
// user's alone.
func Find(dir string, q Question, now time.Time) *credential.Credential {
	if dir == "" || !isPrivateDir(dir) {
		return nil
	}
	text, ok := readPrivate(filepath.Join(dir, q.Name()))
	if !ok {
		return nil
	}
	a, ok := parse(text, q)
	if !ok || now.Before(a.From) || !now.Before(a.Until) {
		return nil
	}
	for _, file := range a.Files {
		if stamp, err := stampOf(file.Path); err != nil || stamp != file.Stamp {
			return nil
		}
	}
	return a.Credential
}

// stampOf is the stamp that a file has now; the zero one if it is not there.
func stampOf(path string) (Stamp, error) {
	stamp, err := stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return Stamp{}, nil
	}
	return stamp, err
}

// parse reads a file that answers q. What [Answer.Encode] would not have written is no
// answer.
func parse(text []byte, q Question) (a Answer, ok bool) {
	after, ok := bytes.CutPrefix(text, q.text)
	if !ok || len(text) > maxFile {
		return Answer{}, false
	}
	a.Question = q
	terms, rest, ok := strings.Cut(string(after), "\n\n")
	if !ok {
		return Answer{}, false
	}
	for i, line := range strings.Split(terms, "\n") {
		word, value, _ := strings.Cut(line, " ")
		switch {
		case i == 0 && word == "from":
			a.From, ok = parseTime(value)
		case i == 1 && word == "until":
			a.Until, ok = parseTime(value)
		case i > 1 && word == "none" && filepath.IsAbs(value):
			a.Files = append(a.Files, File{Path: value})
		case i > 1 && word == "file":
			var file File
			file, ok = parseFile(value)
			a.Files = append(a.Files, file)
		default:
			ok = false
		}
		if !ok {
			return Answer{}, false
		}
	}
	// An answer without a file to rest on would outlive its token.
	if len(a.Files) == 0 {
		return Answer{}, false
	}
	found, err := credential.Parse(strings.NewReader(rest)) // up to the empty line
	if err != nil {
		return Answer{}, false
	}
	if _, password := found.Login(); password.IsZero() || found.Quit {
		return Answer{}, false
	}
	a.Credential = found
	// Whatever was read past is missing here, such as an end.
	again, err := a.Encode()
	return a, err == nil && bytes.Equal(again, text)
}

func parseTime(text string) (time.Time, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(0, n), err == nil
}

// parseFile reads a stamp and a path.
func parseFile(text string) (File, bool) {
	fields := strings.SplitN(text, " ", 6)
	if len(fields) != 6 || !filepath.IsAbs(fields[5]) {
		return File{}, false
	}
	var n [5]int64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseInt(fields[i], 10, 64); err != nil {
			return File{}, false
		}
	}
	stamp := Stamp{dev: n[0], ino: n[1], size: n[2], modified: n[3], changed: n[4]}
	return File{fields[5], stamp}, stamp != Stamp{}
}
