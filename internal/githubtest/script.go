package githubtest

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Script carries out one line of a script, for tests that are written as text. Words are separated by blanks; a word
// may be written in double quotes, as in Go, or in single quotes, and a part of a word too: body="a b". An empty line
// and one that begins with # do nothing. OWNER/REPO, OWNER and APP (an App ID, client ID or slug) must be there, and
// an unknown word is an error.
//
//	fault [METHOD] PATH WHAT...    see Fault; WHAT is one or more of
//	    status=N body=TEXT header=NAME:VALUE redirect=URL delay=DURATION cut=BYTES reset times=N skip=N
//	    html502  secondary[=DURATION]  no-token  overgrant=all  overgrant=PERMISSION:VALUE
//	clear                          end all faults
//	clock DURATION                 GitHub's clock against ours: +300s is fast, -5m slow, 0 right
//	life DURATION                  of tokens from now on
//	lag DURATION [401|403]         a token so young is unknown
//	format classic|stateless       of tokens from now on
//	versions VERSION...            API versions that are known
//	limit N|off                    REST requests per hour and installation
//	allowlist OWNER on|off         IP allow list without our address
//	install APP OWNER [REPO...|all]
//	uninstall OWNER                every App's installation there; so too the next four
//	suspend OWNER
//	unsuspend OWNER
//	select OWNER [REPO...|all]     which repositories the installation reaches
//	permit OWNER [PERMISSION=VALUE...]
//	revoke                         every token minted so far
//	rotate-key APP [FILE]          delete the App's keys, make a new one, write it to FILE as PEM
//	remove-keys APP                delete the App's keys
//	create OWNER/REPO [public]
//	commit OWNER/REPO[.wiki] BRANCH [orphan] PATH=TEXT...
//	rename OWNER/REPO NAME
//	transfer OWNER/REPO OWNER
//	delete OWNER/REPO
//	webhook APP URL [SECRET [ORIGIN [EVENT...]]]   tell of pushes, or the events; ORIGIN is GitHub's address in them
//	redeliver APP                  what was told last
//	forget                         the requests recorded so far
func (gh *GitHub) Script(line string) error {
	words, err := split(line)
	if err != nil || len(words) == 0 {
		return err
	}
	c, known := scriptCommands[words[0]]
	args := words[1:]
	switch {
	case !known:
		err = errors.New("no such command")
	case len(args) < c.least || c.most >= 0 && len(args) > c.most:
		err = fmt.Errorf("wrong number of words: %s %s", words[0], c.usage)
	default:
		err = c.run(gh, args)
	}
	if err != nil {
		return fmt.Errorf("githubtest: script line %q: %w", line, err)
	}
	return nil
}

// scriptCommand is a command of the script; most is how many words it takes, -1 for any number.
type scriptCommand struct {
	usage       string
	least, most int
	run         func(gh *GitHub, args []string) error
}

var scriptCommands = map[string]scriptCommand{
	"fault": {"[METHOD] PATH WHAT...", 1, -1, (*GitHub).scriptFault},
	"clear": {"", 0, 0, func(gh *GitHub, _ []string) error { gh.ClearFaults(); return nil }},
	"clock": {"DURATION", 1, 1, duration((*GitHub).SetClockOffset)},
	"life":  {"DURATION", 1, 1, duration((*GitHub).SetTokenLife)},
	"lag": {"DURATION [401|403]", 1, 2, func(gh *GitHub, args []string) error {
		status := http.StatusUnauthorized
		if len(args) == 2 {
			var err error
			if status, err = strconv.Atoi(args[1]); err != nil {
				return err
			}
		}
		if err := gh.SetPropagationDelayStatus(status); err != nil {
			return err
		}
		return duration((*GitHub).SetPropagationDelay)(gh, args[:1])
	}},
	"format": {"classic|stateless", 1, 1, func(gh *GitHub, args []string) error {
		formats := map[string]TokenFormat{"classic": Classic, "stateless": Stateless}
		f, ok := formats[args[0]]
		if !ok {
			return fmt.Errorf("%q is neither classic nor stateless", args[0])
		}
		gh.SetTokenFormat(f)
		return nil
	}},
	"versions": {"VERSION...", 1, -1, func(gh *GitHub, args []string) error { return gh.SetKnownVersions(args...) }},
	"limit": {"N|off", 1, 1, func(gh *GitHub, args []string) error {
		limit := -1
		if args[0] != "off" {
			n, err := strconv.Atoi(args[0])
			if err != nil || n < 0 {
				return fmt.Errorf("%q is no number of requests", args[0])
			}
			limit = n
		}
		gh.SetRateLimit(limit)
		return nil
	}},
	"allowlist": {"OWNER on|off", 2, 2, func(gh *GitHub, args []string) error {
		if args[1] != "on" && args[1] != "off" {
			return fmt.Errorf("%q is neither on nor off", args[1])
		}
		gh.mu.Lock()
		there := gh.accounts[fold(args[0])] != nil
		gh.mu.Unlock()
		if !there {
			return fmt.Errorf("no account %s", args[0])
		}
		gh.SetIPAllowList(args[0], args[1] == "on")
		return nil
	}},
	"install": {"APP OWNER [REPO...|all]", 2, -1, func(gh *GitHub, args []string) error {
		app, err := gh.scriptApp(args[0])
		if err != nil {
			return err
		}
		all, names, err := gh.scriptSelection(args[1], args[2:])
		if err == nil {
			app.Install(args[1], InstallOptions{All: all, Repositories: names})
		}
		return err
	}},
	"uninstall": {"OWNER", 1, 1, eachInstallation((*Installation).Uninstall)},
	"suspend":   {"OWNER", 1, 1, eachInstallation((*Installation).Suspend)},
	"unsuspend": {"OWNER", 1, 1, eachInstallation((*Installation).Unsuspend)},
	"select": {"OWNER [REPO...|all]", 1, -1, func(gh *GitHub, args []string) error {
		all, names, err := gh.scriptSelection(args[0], args[1:])
		if err != nil {
			return err
		}
		return eachInstallation(func(i *Installation) {
			if all {
				i.SelectAll()
			} else {
				i.Select(names...)
			}
		})(gh, args[:1])
	}},
	"permit": {"OWNER [PERMISSION=VALUE...]", 1, -1, func(gh *GitHub, args []string) error {
		permissions := map[string]string{}
		for _, arg := range args[1:] {
			name, value, ok := strings.Cut(arg, "=")
			if !ok || level(value) == 0 {
				return fmt.Errorf("%q is not of the form PERMISSION=read|write|admin", arg)
			}
			permissions[name] = value
		}
		return eachInstallation(func(i *Installation) { i.SetPermissions(permissions) })(gh, args[:1])
	}},
	"revoke": {"", 0, 0, func(gh *GitHub, _ []string) error { gh.RevokeTokens(); return nil }},
	"rotate-key": {"APP [FILE]", 1, 2, func(gh *GitHub, args []string) error {
		app, err := gh.scriptApp(args[0])
		if err != nil {
			return err
		}
		key, err := app.RotateKey()
		if err != nil || len(args) == 1 {
			return err
		}
		block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
		return os.WriteFile(args[1], pem.EncodeToMemory(block), 0o600)
	}},
	"remove-keys": {"APP", 1, 1, func(gh *GitHub, args []string) error {
		app, err := gh.scriptApp(args[0])
		if err == nil {
			app.RemoveKeys()
		}
		return err
	}},
	"create": {"OWNER/REPO [public]", 1, 2, func(gh *GitHub, args []string) error {
		if len(args) == 2 && args[1] != "public" {
			return fmt.Errorf("%q is not public", args[1])
		}
		gh.mu.Lock()
		_, _, err := gh.nameable(args[0])
		gh.mu.Unlock()
		if err != nil {
			return err
		}
		gh.AddRepository(args[0], RepositoryOptions{Public: len(args) == 2})
		return nil
	}},
	"commit": {"OWNER/REPO[.wiki] BRANCH [orphan] PATH=TEXT...", 2, -1, func(gh *GitHub, args []string) error {
		r := gh.Repository(args[0])
		if main, wiki := strings.CutSuffix(args[0], wikiSuffix); r == nil && wiki {
			if r = gh.Repository(main); r != nil {
				r = r.Wiki()
			}
		}
		if r == nil {
			return fmt.Errorf("no repository %s", args[0])
		}
		o := CommitOptions{Message: "commit to " + args[1]}
		for i, arg := range args[2:] {
			path, text, ok := strings.Cut(arg, "=")
			switch {
			case i == 0 && arg == "orphan":
				o.Orphan = true
			case !ok || path == "":
				return fmt.Errorf("%q is not of the form PATH=TEXT", arg)
			default:
				o.Entries = append(o.Entries, Entry{Path: path, Content: text})
			}
		}
		_, err := r.CommitEntries(args[1], o)
		return err
	}},
	"rename":   {"OWNER/REPO NAME", 2, 2, func(gh *GitHub, args []string) error { return gh.Rename(args[0], args[1]) }},
	"transfer": {"OWNER/REPO OWNER", 2, 2, func(gh *GitHub, args []string) error { return gh.Transfer(args[0], args[1]) }},
	"delete":   {"OWNER/REPO", 1, 1, func(gh *GitHub, args []string) error { return gh.DeleteRepository(args[0]) }},
	"webhook": {"APP URL [SECRET [ORIGIN [EVENT...]]]", 2, -1, func(gh *GitHub, args []string) error {
		app, err := gh.scriptApp(args[0])
		if err == nil {
			more, events := append(slices.Clone(args[2:]), "", ""), []string{"push"}
			if len(args) > 4 {
				events = args[4:]
			}
			app.SetWebhook(Webhook{URL: args[1], Secret: more[0], Origin: more[1]}, events...)
		}
		return err
	}},
	"redeliver": {"APP", 1, 1, func(gh *GitHub, args []string) error {
		app, err := gh.scriptApp(args[0])
		if err != nil {
			return err
		}
		told := app.Deliveries()
		if len(told) == 0 {
			return errors.New("nothing was delivered")
		}
		_, err = app.Redeliver(told[len(told)-1].GUID)
		return err
	}},
	"forget": {"", 0, 0, func(gh *GitHub, _ []string) error { gh.ResetRequests(); return nil }},
}

func duration(set func(*GitHub, time.Duration)) func(*GitHub, []string) error {
	return func(gh *GitHub, args []string) error {
		d, err := time.ParseDuration(args[0])
		if err == nil {
			set(gh, d)
		}
		return err
	}
}

// eachInstallation makes a command of what is done to every App's installation on an account.
func eachInstallation(do func(*Installation)) func(*GitHub, []string) error {
	return func(gh *GitHub, args []string) error {
		gh.mu.Lock()
		list := slices.Collect(maps.Values(gh.installs))
		gh.mu.Unlock()
		list = slices.DeleteFunc(list, func(i *Installation) bool { return fold(i.account.Login) != fold(args[0]) })
		if len(list) == 0 {
			return fmt.Errorf("no installation on %s", args[0])
		}
		for _, i := range list {
			do(i)
		}
		return nil
	}
}

func (gh *GitHub) scriptApp(name string) (*App, error) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	for _, a := range gh.apps {
		if name == a.Slug || name == a.ClientID || name == strconv.FormatInt(a.ID, 10) {
			return a, nil
		}
	}
	return nil, fmt.Errorf("no App %s", name)
}

// scriptSelection reads the repositories of an account, "site" or "acme/site", or "all".
func (gh *GitHub) scriptSelection(owner string, words []string) (all bool, names []string, err error) {
	if len(words) == 1 && words[0] == "all" {
		return true, nil, nil
	}
	for _, name := range words {
		if !strings.Contains(name, "/") {
			name = owner + "/" + name
		}
		if gh.Repository(name) == nil {
			return false, nil, fmt.Errorf("no repository %s", name)
		}
		names = append(names, name)
	}
	return false, names, nil
}

func (gh *GitHub) scriptFault(args []string) error {
	f := Fault{Match: args[0]}
	args = args[1:]
	if !strings.HasPrefix(f.Match, "/") && len(args) > 0 {
		f.Match += " " + args[0]
		args = args[1:]
	}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		set, known := faultWords[name]
		if !known {
			return fmt.Errorf("no such fault %q", name)
		}
		if err := set(&f, value); err != nil {
			return fmt.Errorf("%s: %w", arg, err)
		}
	}
	return gh.Fault(f)
}

// faultWords are what a fault can be made of.
var faultWords = map[string]func(f *Fault, value string) error{
	"status":   func(f *Fault, v string) error { return number(&f.Status, v) },
	"times":    func(f *Fault, v string) error { return number(&f.Times, v) },
	"skip":     func(f *Fault, v string) error { return number(&f.Skip, v) },
	"cut":      func(f *Fault, v string) error { return number(&f.CutAfter, v) },
	"body":     func(f *Fault, v string) error { f.Body = v; return nil },
	"redirect": func(f *Fault, v string) error { f.RedirectTo = v; return nil },
	"reset": func(f *Fault, v string) error {
		if v != "" {
			return errors.New("takes no value")
		}
		f.Reset = true
		return nil
	},
	"delay": func(f *Fault, v string) (err error) { f.Delay, err = time.ParseDuration(v); return err },
	"header": func(f *Fault, v string) error {
		name, value, ok := strings.Cut(v, ":")
		if !ok || name == "" {
			return errors.New("not of the form NAME:VALUE")
		}
		if f.Header == nil {
			f.Header = http.Header{}
		}
		f.Header.Add(name, strings.TrimSpace(value))
		return nil
	},
	"html502":  func(f *Fault, _ string) error { f.become(HTML502("")); return nil },
	"no-token": func(f *Fault, _ string) error { f.become(NoToken()); return nil },
	"secondary": func(f *Fault, v string) error {
		var after time.Duration
		if v != "" {
			var err error
			if after, err = time.ParseDuration(v); err != nil {
				return err
			}
		}
		f.become(SecondaryLimit("", after))
		return nil
	},
	"overgrant": func(f *Fault, v string) error {
		if f.Overgrant == nil {
			f.Overgrant = &Overgrant{Permissions: map[string]string{}}
		}
		if v == "all" {
			f.Overgrant.AllRepositories = true
			return nil
		}
		name, value, _ := strings.Cut(v, ":")
		if level(value) == 0 {
			return errors.New("neither all nor of the form PERMISSION:read|write|admin")
		}
		f.Overgrant.Permissions[name] = value
		return nil
	},
}

// become takes the answer of another fault.
func (f *Fault) become(other Fault) {
	f.Status, f.Body = other.Status, other.Body
	if other.Header != nil {
		f.Header = other.Header
	}
}

func number(n *int, text string) (err error) {
	if *n, err = strconv.Atoi(text); err == nil && *n < 0 {
		err = errors.New("less than 0")
	}
	return err
}

// split takes a line apart into words.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	for rest := strings.TrimSpace(line); rest != ""; {
		switch c := rest[0]; {
		case c == '#' && !inWord && len(words) == 0:
			return nil, nil
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord, rest = false, rest[1:]
		case c == '"':
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, fmt.Errorf("githubtest: script line %q: a quote is not closed", line)
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("githubtest: script line %q: %w", line, err)
			}
			word.WriteString(text)
			inWord, rest = true, rest[len(quoted):]
		case c == '\'':
			text, after, ok := strings.Cut(rest[1:], "'")
			if !ok {
				return nil, fmt.Errorf("githubtest: script line %q: a quote is not closed", line)
			}
			word.WriteString(text)
			inWord, rest = true, after
		default:
			word.WriteByte(c)
			inWord, rest = true, rest[1:]
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
