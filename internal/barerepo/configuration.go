package barerepo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/gitwire"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// mayStand are the variables that the configuration of a repository may have: those that are written
// here or by git init, and those by which people have others served, packed and collected. What another
// one says may be a program that git runs, or a host that it asks, and the file may have come from
// anybody, in a copy of a mirror. So what is not here is refused.
var mayStand = regexp.MustCompile(`^(` + strings.Join([]string{
	`core\.(repositoryformatversion|filemode|bare|logallrefupdates|symlinks|ignorecase|precomposeunicode)`,
	`core\.(compression|loosecompression|bigfilethreshold|fsync|fsyncmethod|sharedrepository|multipackindex)`,
	`core\.(commitgraph|packedgitwindowsize|packedgitlimit|deltabasecachelimit)`,
	`core\.hookspath`, // each call of ours has another
	`extensions\.(objectformat|refstorage)`,
	`gc\.(auto|autodetach|autopacklimit|cruftpacks|bigpackthreshold|pruneexpire|worktreepruneexpire|writecommitgraph)`,
	`gc\.(packrefs|reflogexpire|reflogexpireunreachable)`,
	`maintenance\.auto`, `repack\.[a-z]+`, `pack\.(window|depth|windowmemory|threads|compression|writebitmaps)`,
	`pack\.(deltacachesize|deltacachelimit|packsizelimit|usebitmaps|usesparse|writereverseindex|readreverseindex)`,
	`uploadpack\.(hiderefs|allowtipsha1inwant|allowreachablesha1inwant|allowanysha1inwant|allowfilter|keepalive)`,
	`uploadpack\.(allowrefinwant|advertisebundleuris)`, `uploadpackfilter\..*allow`,
	`transfer\.(hiderefs|unpacklimit|advertisesid)`, `http\.(receivepack|uploadpack|getanyfile)`,
	`receive\.(denynonfastforwards|denydeletes|denycurrentbranch)`, `gitweb\.[a-z]+`,
	`fetch\.(fsckobjects|unpacklimit|writecommitgraph|prune)`, `fetch\.fsck\.[a-z0-9]+`,
	`remote\.origin\.(url|fetch)`, `branch\..*\.(remote|merge)`, // of a clone that was made here
	`ghapp\.(since|repository)`,
}, "|") + `)$`)

// variableLine is the beginning of a line of a configuration that gives a variable a value.
var variableLine = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*)[ \t]*(=.*)?$`)

// sectionLine is a line that begins a section.
var sectionLine = regexp.MustCompile(`^\[([A-Za-z0-9-]+)(?:[ \t]+"([^"\\]*)")?\]$`)

// checkConfiguration returns an [*Error] with [ErrConfiguration] where the configuration of a repository
// has what git is not to be run with, and with [ErrDamaged] where it is written in a way that is not
// understood here. It is the system's where the file cannot be read.
func checkConfiguration(dir string) error {
	config, err := readFile(filepath.Join(dir, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // git init has yet to make it
	}
	if err != nil {
		return err
	}
	section := ""
	for line := range bytes.Lines(config) {
		said := strings.Trim(string(line), " \t\r\n")
		variable := variableLine.FindStringSubmatch(said)
		switch m := sectionLine.FindStringSubmatch(said); {
		case said == "", said[0] == '#', said[0] == ';':
		case m != nil && m[2] != "":
			section = strings.ToLower(m[1]) + "." + m[2] + "."
		case m != nil:
			section = strings.ToLower(m[1]) + "."
		case variable == nil, strings.HasSuffix(said, `\`): // it goes on in the next line
			return refusedConfiguration(ErrDamaged, dir, said)
		case !mayStand.MatchString(section + strings.ToLower(variable[1])):
			return refusedConfiguration(ErrConfiguration, dir, section+variable[1])
		}
	}
	return nil
}

func refusedConfiguration(problem Problem, dir, what string) error {
	return &Error{Problem: problem, Op: "run git with the configuration of " + dir,
		Detail: text.Shorten(text.OneLine(what), 100)}
}

// CheckFiles is for who runs git in the repository: it returns an error where what lies in it might have
// git do anything but what it is told, an [*Error] with [ErrConfiguration], [ErrDamaged] or [ErrForeign],
// or the system's.
func (r *Repository) CheckFiles() error {
	if err := checkFiles(r.Dir, whatIsUsed()...); err != nil {
		return err
	}
	return checkConfiguration(r.Dir)
}

// variable is the last value of a variable of a section without a subsection, as git config
// writes it where nothing is quoted (https://git-scm.com/docs/git-config#_configuration_file).
func variable(config []byte, section, name string) string {
	var value string
	within := false
	for line := range bytes.Lines(config) {
		text := strings.TrimSpace(string(line))
		if strings.HasPrefix(text, "[") {
			within = strings.EqualFold(text, "["+section+"]")
			continue
		}
		key, rest, ok := strings.Cut(text, "=")
		if within && ok && strings.EqualFold(strings.TrimSpace(key), name) {
			value = strings.TrimSpace(rest)
		}
	}
	return value
}

// configuration is that of a new repository. Its refs are looked after by us, and its objects by
// [Repository.Maintain]: a gc that git begins by itself would come at the wrong time.
func configuration(format, identity string, now time.Time) []byte {
	var b bytes.Buffer
	version := 0
	if format == gitwire.SHA256 {
		version = 1
	}
	fmt.Fprintf(&b, "[core]\n\trepositoryformatversion = %d\n\tfilemode = true\n\tbare = true\n"+
		"\tlogAllRefUpdates = false\n", version)
	if format == gitwire.SHA256 {
		b.WriteString("[extensions]\n\tobjectformat = sha256\n")
	}
	b.WriteString("[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n")
	fmt.Fprintf(&b, "[ghapp]\n\tsince = %s\n", now.UTC().Format(time.RFC3339))
	if identity != "" {
		fmt.Fprintf(&b, "\trepository = %s\n", identity)
	}
	return b.Bytes()
}

// checkIdentity returns why an identity cannot stand in the configuration.
func checkIdentity(identity string) error {
	for _, c := range []byte(identity) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("-_./=", rune(c)) {
			return fmt.Errorf("%q cannot stand for a repository", identity)
		}
	}
	return nil
}
