// Package config reads the configuration of the command: flags, environment
// variables and a file, in this order of strength, and remembers of each value
// where it came from.
//
// The file is YAML, and names any number of Apps:
//
//	default: deploy          # the App where no owner matches and none is named; may be left out where there is one
//	apps:
//	  deploy:                # a name to choose it by: --app deploy
//	    app: Iv23liABCDEF    # client ID, or App ID
//	    key: deploy.pem      # a path, or a key URI; while a key is replaced, [new.pem, old.pem]
//	    key_timeout: 30s     # how long the key's holder may take
//	    host: github.com
//	    owners: [acme, octo] # whose repositories it is for
//	    installation: 123    # normally found by itself
//	    api_url: https://ghe.example.com/api/v3
//	    api_version: 2022-11-28
//	    ca_file: ca.pem
//	    permissions: {contents: write}   # what git may do in the repositories, instead of to read
//	    repositories:                    # and in some of them
//	      acme/site: {contents: write, workflows: write}
//	      octo/*: {contents: read}
//	  ci:
//	    broker: https://broker.example.com # in the place of app and key: who has the key
//	    identity: github-actions           # what proves to the broker who asks; found by itself
//	    audience: https://ghapp.example.com # normally the broker says so
//
// A path that is not absolute is taken from the directory of the file, that of a flag or a
// variable from the current directory, and one that begins with ~/ from the home directory.
// Here it becomes an absolute one, so that git, whose directory is another, and a
// process that reads it tomorrow find the same file. Whatever is not known, or has the wrong
// type, is refused with its line; all problems are reported at once.
//
// The file is config.yaml in the directory ghapp of $XDG_CONFIG_HOME, and where that
// is not set, in %AppData% on Windows and in ~/.config on every other system, macOS
// included: there git and gh keep theirs too.
//
// A variable that is set but empty counts as not set, since that is what CI systems
// make of a secret that is not there; the error that follows says so.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/userdirs"
	"github.com/ghapp-dev/ghapp/secret"
)

// maxFile is the size in bytes that a config file may have.
const maxFile = 1 << 20

// Options is what [Load] reads besides the file.
type Options struct {
	// Flags are the flags that were given, by their names without dashes; those
	// that are no setting are passed over. A flag that was not given is not in it, and
	// one that was given twice, as --key may be, has a line for each value.
	Flags map[string]string
	// LookupEnv returns a variable and whether it is set, as os.LookupEnv does.
	// Nil is an empty environment.
	LookupEnv func(string) (string, bool)
	// New allows that a file that is named is not there yet: it is about to be made.
	New bool
	// HelperLine says that the flags stand in git's configuration, where they may be older
	// than the file. Where the file has the App that they name, its key there is the one
	// that counts, and a file that they name need not be there (yet).
	HelperLine bool
}

// Config is a configuration. [Load] makes one.
type Config struct {
	path     Value // of the file; its Text is "" where none can be looked for
	found    bool
	info     fs.FileInfo // of the file, where it was found
	warnings []Problem
	file     file

	flags, env map[string]Value // by the keys of Settings
	helperLine bool             // see Options
	empty      map[string]bool  // variables that are set but empty
	privateKey secret.Text      // of the environment
}

// Load reads flags, environment and file. Its error is an [*Error] with all
// problems of all of them. That the file is not there is none, unless a flag or a
// variable names it.
func Load(o Options) (*Config, error) {
	if o.LookupEnv == nil {
		o.LookupEnv = func(string) (string, bool) { return "", false }
	}
	c := &Config{flags: map[string]Value{}, env: map[string]Value{}, empty: map[string]bool{}, helperLine: o.HelperLine}
	home, _ := o.LookupEnv(homeVariable())
	var problems []Problem
	for _, s := range Settings() {
		problems = append(problems, c.readFlag(s, o, home)...)
		problems = append(problems, c.readEnv(s, o, home)...)
	}
	_, keyVariable := c.env["key"]
	_, keyFlag := c.flags["key"]
	if keyVariable && !c.privateKey.IsZero() && !keyFlag {
		problems = append(problems, Problem{
			Text: "GHAPP_KEY and GHAPP_PRIVATE_KEY are both set, and only one key can be used",
			Hint: "unset one of them, or pass --key",
		})
	}
	more, cause := c.readFile(o, home)
	problems = append(problems, more...)
	if len(problems) > 0 {
		return nil, &Error{Problems: problems, Err: cause}
	}
	return c, nil
}

// Parse reads the text of a file as [Load] reads the config file, without flags and
// variables. The path is that of the file, for messages and for the relative paths in it, and
// home what ~ stands for.
func Parse(path string, text []byte, home string) (*Config, error) {
	c := &Config{flags: map[string]Value{}, env: map[string]Value{}, empty: map[string]bool{}, found: true}
	c.path = Value{Text: path, Source: Source{Kind: FromFile, Name: path}}
	var problems []Problem
	if c.file, problems = parse(path, text, home); len(problems) > 0 {
		return nil, &Error{Problems: problems}
	}
	return c, nil
}

// Path returns the path of the config file that [Load] would read, whatever is in
// there, and whatever else is wrong: for those who are about to mend it. The path is ""
// as that of [Config.Path].
func Path(o Options) (Value, error) {
	if o.LookupEnv == nil {
		o.LookupEnv = func(string) (string, bool) { return "", false }
	}
	c := &Config{flags: map[string]Value{}, env: map[string]Value{}, empty: map[string]bool{}}
	home, _ := o.LookupEnv(homeVariable())
	for _, s := range Settings() {
		if s.Key != "config" {
			continue
		}
		if problems := append(c.readFlag(s, o, home), c.readEnv(s, o, home)...); len(problems) > 0 {
			return Value{}, &Error{Problems: problems}
		}
	}
	c.locate(o)
	return c.path, nil
}

// Path returns the path of the config file, and whether it is there. The path is
// "" where no file was named and the environment has no home directory.
func (c *Config) Path() (path Value, found bool) { return c.path, c.found }

// Info describes the config file as it was when it was read, or is nil where it was not
// there.
func (c *Config) Info() fs.FileInfo { return c.info }

// Warnings returns what does not stand in the way, but should be mended.
func (c *Config) Warnings() []Problem { return c.warnings }

func (c *Config) readFlag(s Setting, o Options, home string) []Problem {
	text, given := o.Flags[s.Flag]
	if s.Flag == "" || !given {
		return nil
	}
	name := "--" + s.Flag
	if text = strings.TrimSpace(text); text == "" {
		return []Problem{emptyFlag(name)}
	}
	if s.Key == "key" && secretIn(text) == "" {
		return c.readKeys(s, text, home)
	}
	text, problem := checked(s, name, text, home)
	if problem != nil {
		return []Problem{*problem}
	}
	c.flags[s.Key] = Value{Text: text, Source: Source{Kind: FromFlag, Name: name}}
	return nil
}

// emptyFlag refuses a flag without a value: to pass it over could mean to use another
// App than the one meant.
func emptyFlag(name string) Problem {
	return Problem{Text: name + " is empty", Hint: "leave it out or give it a value; a variable in it may be unset"}
}

func (c *Config) readEnv(s Setting, o Options, home string) []Problem {
	raw, set := o.LookupEnv(s.Env)
	if !set {
		return nil
	}
	text := strings.TrimSpace(raw)
	switch {
	case text == "":
		c.empty[s.Env] = true
		return nil
	case s.Key == "private_key":
		c.privateKey = secret.New(raw)
		return nil
	}
	text, problem := checked(s, s.Env, text, home)
	if problem != nil {
		return []Problem{*problem}
	}
	c.env[s.Key] = valueOf(text, Source{Kind: FromEnvironment, Name: s.Env})
	return nil
}

// checked returns the text of a flag or a variable, of a path the absolute one, or what is
// wrong with it. The name is that of the flag or of the variable.
func checked(s Setting, name, text, home string) (string, *Problem) {
	if secret := secretIn(text); secret != "" {
		return "", &Problem{Text: name + " takes " + s.Takes + ", and holds " + secret, Hint: hintFor(secret)}
	}
	if why := unfit(s.Key, text); why != "" {
		return "", &Problem{Text: name + ": " + why, Hint: fitHint(s.Key)}
	}
	if !isPath(s.Key, text) {
		return text, nil
	}
	var err error
	text, err = completed(s.Key, text, here(), home)
	if err != nil {
		return "", &Problem{Text: name + ": " + err.Error()}
	}
	return text, nil
}

// completed is the value of a setting with the paths in it complete.
func completed(key, text, dir, home string) (string, error) {
	switch key {
	case "key":
		return CompleteKey(text, dir, home)
	case "identity":
		return completeIdentity(text, dir, home)
	}
	return complete(text, dir, home)
}

// locate finds the path of the config file and reports whether somebody named it.
func (c *Config) locate(o Options) (named bool) {
	switch {
	case c.flags["config"].Text != "":
		c.path = c.flags["config"]
	case c.env["config"].Text != "":
		c.path = c.env["config"]
	default:
		if path := userdirs.ConfigFile(runtime.GOOS, o.LookupEnv); path != "" {
			if full, err := filepath.Abs(path); err == nil { // HOME may be a relative one
				path = full
			}
			c.path = Value{Text: path, Source: Source{Kind: FromDefault}}
		}
		return false
	}
	return true
}

// readFile finds, reads and parses the config file.
func (c *Config) readFile(o Options, home string) (problems []Problem, cause error) {
	named := c.locate(o)
	if c.path.Text == "" {
		return nil, nil
	}
	path := c.path.Text
	data, info, err := read(path)
	switch {
	case err == nil:
	case (!named || o.New || o.HelperLine && c.path.Source.Kind == FromFlag) && errors.Is(err, fs.ErrNotExist):
		return nil, nil
	default:
		text := "cannot read the config file"
		if named {
			text += " that " + c.path.Source.Name + " names"
		}
		return []Problem{{File: path, Text: text + ": " + reason(err)}}, err
	}
	c.found, c.info = true, info
	if why := writableByOthers(info); why != "" {
		c.warnings = append(c.warnings, Problem{
			File: path,
			Text: "other users can change the config file, which says where keys are: " + why,
			Hint: "make it your own with chown, and keep others out with chmod go-w",
		})
	}
	keyDir, problem := keyDirectory(o.LookupEnv, filepath.Dir(path), home)
	if problem != nil {
		return []Problem{*problem}, nil
	}
	c.file, problems = parseWithKeys(path, data, home, keyDir)
	c.warnOfOneKeyForAll()
	return problems, nil
}

// KeyDirVariable names the directory from which the relative paths of Apps' keys in the
// config file are taken, instead of the file's own: where a service manager or a container
// puts what is secret.
const KeyDirVariable = "GHAPP_KEY_DIR"

func keyDirectory(lookup func(string) (string, bool), beside, home string) (string, *Problem) {
	text, _ := lookup(KeyDirVariable)
	if text = strings.TrimSpace(text); text == "" {
		return beside, nil
	}
	dir, err := complete(text, here(), home)
	switch {
	case secretIn(text) != "":
		return "", &Problem{Text: KeyDirVariable + " takes a path, and holds " + secretIn(text),
			Hint: hintFor(secretIn(text))}
	case err != nil:
		return "", &Problem{Text: KeyDirVariable + ": " + err.Error()}
	}
	return dir, nil
}

// warnOfOneKeyForAll says so where a variable for one App's key takes the place of the keys
// of several.
func (c *Config) warnOfOneKeyForAll() {
	own := 0
	for _, app := range c.file.apps {
		if app.values["key"].Text != "" {
			own++
		}
	}
	variable := c.env["key"].Source.Name
	if variable == "" && !c.privateKey.IsZero() {
		variable = "GHAPP_PRIVATE_KEY"
	}
	if own < 2 || variable == "" || c.flags["key"].Text != "" || c.given("app").Text != "" {
		return
	}
	c.warnings = append(c.warnings, Problem{
		Text: fmt.Sprintf("%s takes the place of the key that each of the %d Apps of the config file has", variable, own),
		Hint: "unset it; " + KeyDirVariable + " says where the files of the keys are",
	})
}

func read(path string) ([]byte, fs.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return data, info, err
}

// reason leaves out the path, which stands before it.
func reason(err error) string {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err.Error()
	}
	return err.Error()
}

// homeVariable is the variable that names the home directory.
func homeVariable() string {
	if runtime.GOOS == "windows" {
		return "USERPROFILE"
	}
	return "HOME"
}

// expand replaces a ~ at the beginning of a path by the home directory, as a shell
// does, but not after an = or inside of a file.
func expand(path, home string) (string, error) {
	switch {
	case !strings.HasPrefix(path, "~"):
		return path, nil
	case len(path) > 1 && !os.IsPathSeparator(path[1]):
		return "", errors.New("~ with the name of a user is not supported; write the whole path")
	case home == "":
		return "", errors.New("the path begins with ~, but the environment names no home directory")
	}
	return filepath.Join(home, path[1:]), nil
}
