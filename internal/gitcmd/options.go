package gitcmd

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// OptionError is an option of git clone that is not passed on.
type OptionError struct {
	Option string
	Why    string
}

// Error is one line.
func (e *OptionError) Error() string { return fmt.Sprintf("git clone option %q: %s", e.Option, e.Why) }

// takes says where the value of an option stands.
type takes int

const (
	nothing takes = iota // a switch
	value                // joined with "=" or the next word
	perhaps              // joined with "=" if there is one
)

// option is one of git clone's (https://git-scm.com/docs/git-clone#_options).
type option struct {
	long   string
	short  byte
	takes  takes
	refuse string
}

func cloneOptions() []option {
	return []option{
		{long: "verbose", short: 'v'},
		{long: "quiet", short: 'q'},
		{long: "progress"},
		{long: "reject-shallow"},
		{long: "no-checkout", short: 'n'},
		{long: "checkout"},
		{long: "bare"},
		{long: "mirror"},
		{long: "local", short: 'l'},
		{long: "no-hardlinks"},
		{long: "hardlinks"},
		{long: "shared", short: 's'},
		{long: "recurse-submodules", takes: perhaps},
		{long: "recursive", takes: perhaps},
		{long: "jobs", short: 'j', takes: value},
		{long: "template", takes: value},
		{long: "reference", takes: value},
		{long: "reference-if-able", takes: value},
		{long: "dissociate"},
		{long: "origin", short: 'o', takes: value},
		{long: "branch", short: 'b', takes: value},
		{long: "revision", takes: value},
		{long: "upload-pack", short: 'u', takes: value,
			refuse: "it names a program for the other side, which an https address does not run"},
		{long: "depth", takes: value},
		{long: "shallow-since", takes: value},
		{long: "shallow-exclude", takes: value},
		{long: "single-branch"},
		{long: "no-tags"},
		{long: "tags"},
		{long: "shallow-submodules"},
		{long: "separate-git-dir", takes: value},
		{long: "ref-format", takes: value},
		{long: "config", short: 'c', takes: value},
		{long: "server-option", takes: value},
		{long: "ipv4", short: '4'},
		{long: "ipv6", short: '6'},
		{long: "filter", takes: value},
		{long: "also-filter-submodules"},
		{long: "remote-submodules"},
		{long: "sparse"},
		{long: "bundle-uri", takes: value, refuse: "a bundle would come from another place than the repository"},
		{long: "help", short: 'h', refuse: "see `git clone --help`"},
	}
}

// flags is what the options of a clone say that matters here.
type flags struct {
	bare           bool
	submodules     bool
	separateGitDir string
	read           []readFrom
}

// readFrom is a directory that the clone takes a part of itself from: hooks and
// configuration, or objects, which git does not check again.
type readFrom struct {
	word, dir string
	within    bool // all that is below it, too
}

// ofOthers refuses to take anything from a directory in which others have a say; from is
// git's working directory.
func (f flags) ofOthers(from string) error {
	for _, r := range f.read {
		dir := r.dir
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(from, dir)
		}
		if why := ofOthers(dir, r.within); why != "" {
			return &OptionError{r.word, why + ": others could change the clone; use a copy of your own"}
		}
	}
	return nil
}

// parseOptions reads options as git does, whose parser takes any unambiguous
// beginning of a name. What it does not know, an option of a newer git, passes only
// as one word, so that nothing can hide behind it.
func parseOptions(words []string) (flags, error) {
	var f flags
	for i := 0; i < len(words); i++ {
		word := words[i]
		// next takes the following word as the option's value.
		next := func() (string, error) {
			if i++; i == len(words) {
				return "", &OptionError{word, "its value is missing"}
			}
			return words[i], nil
		}
		var err error
		switch {
		case strings.ContainsRune(word, 0):
			err = &OptionError{word, "it has a NUL byte"}
		case word == "--" || word == "-" || !strings.HasPrefix(word, "-"):
			err = &OptionError{word, "it is no option; the repository and the directory come before the \"--\""}
		case strings.HasPrefix(word, "--"):
			err = f.long(word, next)
		default:
			err = f.cluster(word, next)
		}
		if err != nil {
			return flags{}, err
		}
	}
	return f, nil
}

func (f *flags) long(word string, next func() (string, error)) error {
	name, text, joined := strings.Cut(word[len("--"):], "=")
	o, negated, err := find(word, name)
	if err != nil || o == nil {
		return err
	}
	if negated {
		return f.apply(word, *o, "", true)
	}
	if o.takes == value && !joined {
		if text, err = next(); err != nil {
			return err
		}
	}
	return f.apply(word, *o, text, false)
}

// find returns the option that name stands for, or nil for one that is not known.
func find(word, name string) (found *option, negated bool, err error) {
	for _, o := range cloneOptions() {
		for _, no := range []bool{false, true} {
			full := o.long
			if no {
				full = "no-" + full
			}
			if full == name {
				return &o, no, nil
			}
			if strings.HasPrefix(full, name) {
				if found != nil {
					return nil, false, &OptionError{word, "write its name in full"}
				}
				found, negated = &o, no
			}
		}
	}
	return found, negated, nil
}

// cluster reads -nq and -bmain.
func (f *flags) cluster(word string, next func() (string, error)) error {
	for i := 1; i < len(word); i++ {
		at := slices.IndexFunc(cloneOptions(), func(o option) bool { return o.short == word[i] })
		if at < 0 {
			return &OptionError{word, fmt.Sprintf("git clone has no -%c", word[i])}
		}
		o := cloneOptions()[at]
		text := ""
		if o.takes == value {
			if text = word[i+1:]; text == "" {
				var err error
				if text, err = next(); err != nil {
					return err
				}
			}
			i = len(word)
		}
		if err := f.apply(word, o, text, false); err != nil {
			return err
		}
	}
	return nil
}

func (f *flags) apply(word string, o option, text string, negated bool) error {
	if o.refuse != "" && !negated {
		return &OptionError{word, o.refuse}
	}
	switch o.long {
	case "bare", "mirror":
		f.bare = !negated
	case "recurse-submodules", "recursive":
		f.submodules = !negated
	case "separate-git-dir":
		f.separateGitDir = text
	case "config":
		return refuseConfig(word, text)
	case "template", "reference", "reference-if-able":
		if !negated && text != "" {
			f.read = append(f.read, readFrom{word, text, o.long == "template"})
		}
	}
	return nil
}

// configKey is a key as git's configuration has it, and nothing around it: git takes
// blanks off before it looks at a key, and what is checked here has to be what git reads
// (https://git-scm.com/docs/git-config#_syntax).
const configKey = `^([A-Za-z0-9-]+)\.(?:([^\x00\n]*)\.)?([A-Za-z][A-Za-z0-9-]*)$`

// refuseConfig refuses settings that would send the clone's credentials, or the
// clone, elsewhere from then on. The call itself does not heed them.
func refuseConfig(word, text string) error {
	key, _, _ := strings.Cut(text, "=")
	parts := regexp.MustCompile(configKey).FindStringSubmatch(key)
	if parts == nil {
		return &OptionError{word, "its key is none that git reads as it stands: " +
			"write section.variable, without blanks around it"}
	}
	section, variable := strings.ToLower(parts[1]), strings.ToLower(parts[3])
	refuse := func(why string) error { return &OptionError{word, why} }
	switch {
	case section == "credential":
		return refuse("the clone's credential helper is ghapp's to set")
	case section == "http" && variable == "extraheader":
		return refuse("a header would stay in the clone's configuration, secret or not")
	case section == "http" && variable == "sslverify":
		return refuse("whoever stands in the way of a later git pull would get the token")
	case section == "url", section == "remote" && (variable == "url" || variable == "pushurl"):
		return refuse("a rewritten address is not the one that was asked for")
	case section == "include", section == "includeif":
		return refuse("a file that is included can say what ghapp refuses here")
	}
	return nil
}
