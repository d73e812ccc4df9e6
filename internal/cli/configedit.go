package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/signer"
)

func (c *command) configSet() *cobra.Command {
	return &cobra.Command{
		Use:   "set KEY VALUE...",
		Short: "Set a value in the config file",
		Long: `Sets a value in the config file, which is made where there is none. Everything else
in there stays as it is written, comments included, and what ghapp would refuse to
read is not written.

KEY is default, or the name of an App and one of its keys, as config show has them:
deploy.key. A new App begins with its app. Several values make a list, of which a key
has two while it is replaced: the newest one first. A path that is not absolute is taken
from the directory of the config file.`,
		Example: `  ghapp config set deploy.app Iv23liABCDEFGHIJKLMN
  ghapp config set deploy.key /etc/ghapp/app.pem
  ghapp config set deploy.owners acme octo
  ghapp config set deploy.repositories.acme/site contents:write
  ghapp config set default deploy`,
		Args: usage(cobra.MinimumNArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error { return c.setInFile(args[0], args[1:]) },
	}
}

func (c *command) configUnset() *cobra.Command {
	return &cobra.Command{
		Use:   "unset KEY",
		Short: "Take a value out of the config file",
		Long: `Takes a value out of the config file. KEY is as for config set; the name of an App
alone takes out all of it.`,
		Example: `  ghapp config unset deploy.installation
  ghapp config unset deploy`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return c.unsetInFile(args[0]) },
	}
}

func (c *command) configEdit() *cobra.Command {
	return &cobra.Command{
		Use:   "edit",
		Short: "Edit the config file, and check it before it counts",
		Long: `Opens a copy of the config file in $VISUAL, $EDITOR, or else vi, and puts it in the
place of the file when ghapp would read it. What is wrong is told with its line, and
can be edited again; what is not written in the end is kept beside the file.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.editFile(cmd.Context()) },
	}
}

// configFile is the config file that is to be changed.
type configFile struct {
	path    string
	options config.Options // of the environment only what says where the file is
}

// fileToChange finds the config file, whatever is in there. What flags and variables say
// of an App is not looked at, and flags that do are refused: they look as if they would
// be written, or chose what is.
func (c *command) fileToChange() (*configFile, error) {
	given := c.givenFlags()
	for _, s := range config.Settings() {
		if _, ok := given[s.Flag]; ok && s.Flag != "" && s.Key != "config" {
			return nil, &diag.UsageError{Err: fmt.Errorf("--%s is not written to the config file: name the App in KEY, such as deploy.%s", s.Flag, s.Key)}
		}
	}
	o := config.Options{Flags: given, New: true, LookupEnv: func(name string) (string, bool) {
		if strings.HasPrefix(name, "GHAPP_") && name != "GHAPP_CONFIG" {
			return "", false
		}
		return c.lookup(name)
	}}
	path, err := config.Path(o)
	switch {
	case err != nil:
		return nil, err
	case path.Text == "":
		return nil, noConfigPlace()
	}
	return &configFile{path.Text, o}, nil
}

// changedFile is what a program is told.
type changedFile struct {
	Path    string `json:"path"`
	Changed bool   `json:"changed"`
}

func (c *command) tellChange(path string, changed bool) error {
	switch {
	case c.json:
		return term.JSON(c.Stdout, changedFile{path, changed})
	case changed:
		c.progress("written to %s", c.fromHome(path))
	default:
		c.progress("%s is as it was", c.fromHome(path))
	}
	return nil
}

func (c *command) setInFile(key string, values []string) error {
	if err := noSecrets(key, values); err != nil {
		return err
	}
	file, err := c.fileToChange()
	if err != nil {
		return err
	}
	var path []string
	changed, err := file.change(func(d *config.Draft) error {
		if path, err = keyPath(d, key); err != nil {
			return err
		}
		value, err := valueFor(path, values)
		if err != nil {
			return &diag.UsageError{Err: err}
		}
		if len(path) > 2 && path[2] != "app" && !d.Has("apps", path[1]) {
			// The reader would miss the app of an App that nobody means.
			return &diag.SettingError{
				Err:  fmt.Errorf("there is no App %s in %s", named(path[1]), file.path),
				Hint: "`ghapp config show` has the names of those that are; a new one begins with `ghapp config set NAME.app CLIENT-ID`",
			}
		}
		return d.Set(value, path...)
	})
	if err != nil {
		return err
	}
	if len(path) == 3 {
		c.warnOfSetting(file, path[2], values)
	}
	return c.tellChange(file.path, changed)
}

func (c *command) unsetInFile(key string) error {
	file, err := c.fileToChange()
	if err != nil {
		return err
	}
	changed, err := file.change(func(d *config.Draft) error {
		path, err := keyPath(d, key)
		if err != nil {
			return err
		}
		found, err := d.Unset(path...)
		if err == nil && !found {
			err = &diag.SettingError{Err: fmt.Errorf("there is no %s in %s", named(key), file.path), Hint: "`ghapp config show` has the values of the file, with their lines"}
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.tellChange(file.path, changed)
}

// maxNamed is the length of the longest name that is repeated in a message. Anything
// longer could be a token that stands in the wrong place.
const maxNamed = 39

func named(name string) string {
	if len(name) > maxNamed {
		return fmt.Sprintf("(a name of %d characters)", len(name))
	}
	return name
}

// noSecrets refuses what others could read in the command line. What else is secret the
// reader of the file knows, and refuses as well.
func noSecrets(key string, values []string) error {
	if slices.ContainsFunc(values, signer.HasSecret) {
		return &diag.SettingError{
			Err:  fmt.Errorf("the value of %s has a PIN or a password in it, and others can read a command line", named(key)),
			Hint: "say where it is instead (pin-source=file:/path in a pkcs11: URI), or write it with `ghapp config edit`",
		}
	}
	return nil
}

// keyPath is where a key, as people write it, stands in the file. The name of an App may
// have dots in it: the longest one that is in the file is meant, and for a new App all
// but the last word.
func keyPath(d *config.Draft, key string) ([]string, error) {
	if ofSync(d, key) {
		return nil, &diag.UsageError{
			Err:  fmt.Errorf("%s is about directories to keep, which are not written value by value", named(key)),
			Hint: "write it with `ghapp config edit`, under sync: or sync_defaults:",
		}
	}
	if key != "default" && d.Has("apps", key) {
		return []string{"apps", key}, nil
	}
	name, rest := "", ""
	for i := len(key) - 1; i >= 0 && name == ""; i-- {
		if key[i] == '.' && d.Has("apps", key[:i]) {
			name, rest = key[:i], key[i+1:]
		}
	}
	if whole, ok := strings.CutPrefix(key, "apps."); ok && name == "" {
		return keyPath(d, whole) // as messages name it
	}
	if name == "" {
		dot := strings.LastIndexByte(key, '.')
		for _, mapping := range []string{".permissions.", ".repositories."} {
			if i := strings.Index(key, mapping); i >= 0 {
				dot = i // what follows may have dots as well
			}
		}
		if dot < 0 {
			return []string{key}, nil
		}
		name, rest = key[:dot], key[dot+1:]
	}
	if rest == "previous_key" {
		return nil, &diag.UsageError{Err: fmt.Errorf("the key before the newest one is given with it: `ghapp config set %s.key NEWEST PREVIOUS`", named(name))}
	}
	path := []string{"apps", name}
	if mapping, entry, ok := strings.Cut(rest, "."); ok {
		return append(path, mapping, entry), nil
	}
	return append(path, rest), nil
}

// ofSync reports whether a key is one of sync: or sync_defaults:, and not of an App that is
// called so, or is to be.
func ofSync(d *config.Draft, key string) bool {
	first, rest, _ := strings.Cut(key, ".")
	return (first == "sync" || first == "sync_defaults") && rest != "app" && !d.Has("apps", first)
}

// valueFor is the value of a key in the form that the file has for it: what git may do
// is written as for --permissions.
func valueFor(path, values []string) (any, error) {
	last := path[len(path)-1]
	if len(path) == 3 && last == "permissions" || len(path) == 4 && path[2] == "repositories" {
		permissions, all, err := parsePermissions(strings.Split(strings.Join(values, ","), ","))
		if err != nil || all || len(permissions) == 0 {
			return nil, fmt.Errorf("%s: want contents:read, contents:write or workflows:write", named(strings.Join(path[2:], ".")))
		}
		return map[string]string(permissions), nil
	}
	if len(values) == 1 && last != "owners" {
		return values[0], nil
	}
	return values, nil
}

// warnOfSetting says so where a value is not going to do what it seems to: where a
// variable goes before it, or where a path leads to nothing.
func (c *command) warnOfSetting(file *configFile, key string, values []string) {
	for _, s := range config.Settings() {
		if text, _ := c.lookup(s.Env); s.Key == key && strings.TrimSpace(text) != "" {
			c.log().Warn(s.Env + " is set, and goes before the config file")
		}
	}
	if key != "key" && key != "ca_file" {
		return
	}
	for _, value := range values {
		full, err := config.CompleteKey(value, filepath.Dir(file.path), c.home())
		if path := signer.FilePath(full); err == nil && path != "" {
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				c.log().Warn(path + " is not there; a path in the config file is taken from the directory of that file")
			}
		}
	}
}

// change makes a change in the file, and reports whether there is one now. Its errors
// have their hints.
func (f *configFile) change(change func(*config.Draft) error) (changed bool, err error) {
	err = config.Edit(f.path, f.options, func(d *config.Draft) error {
		before := d.Bytes()
		err := change(d)
		changed = !bytes.Equal(before, d.Bytes())
		return err
	})
	if err == nil {
		return changed, nil
	}
	// Where the file was wrong already, that is to be mended first; it has the lines.
	if _, wrong := config.Load(f.options); wrong != nil {
		if told, ok := errors.AsType[*config.Error](wrong); ok {
			told.Problems = append(told.Problems, config.Problem{Text: "nothing was written", Hint: "mend the file with `ghapp config edit`"})
		}
		return false, wrong
	}
	if told, ok := errors.AsType[*config.Error](err); ok {
		for i := range told.Problems { // of a text that nobody has seen
			told.Problems[i].File, told.Problems[i].Line = "", 0
		}
	}
	return false, notWritten(err)
}

// notWritten gives an error of the system its hint and its exit code.
func notWritten(err error) error {
	for _, known := range []func(error) bool{
		func(err error) bool { _, ok := errors.AsType[*config.Error](err); return ok },
		func(err error) bool { _, ok := errors.AsType[*diag.SettingError](err); return ok },
		func(err error) bool { _, ok := errors.AsType[*diag.UsageError](err); return ok },
	} {
		if known(err) {
			return err
		}
	}
	hint := ""
	if errors.Is(err, fs.ErrPermission) {
		hint = "run it as the user who owns the file and its directory, or name another file with --config"
	}
	return &diag.SettingError{Err: err, Hint: hint}
}

// editFile has a person edit a copy of the file until it is right, or until they have
// had enough.
func (c *command) editFile(ctx context.Context) error {
	file, err := c.fileToChange()
	if err != nil {
		return err
	}
	before, err := os.ReadFile(file.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return notWritten(err)
	}
	copied, err := file.copy(before)
	if err != nil {
		return notWritten(fmt.Errorf("copy the config file %s to edit it: %w", file.path, err))
	}
	for {
		err := c.edit(ctx, copied)
		after, unread := os.ReadFile(copied)
		if unread != nil {
			return errors.Join(err, fmt.Errorf("read what was edited: %w", unread))
		}
		untouched := bytes.Equal(before, after)
		if err == nil && (before != nil || !untouched) { // not a file of nothing
			err = file.put(before, after, copied)
		}
		if err == nil {
			_ = os.Remove(copied)
			return c.tellChange(file.path, !untouched)
		}
		if wrong, ok := errors.AsType[*config.Error](err); ok && c.person().There() {
			c.report(diag.Explain(wrong))
			again, unasked := c.person().Agrees(ctx, "Edit it again?", true)
			if again {
				continue
			}
			err = &examinedExit{diag.Configuration} // it has been told
			if unasked != nil {
				err = unasked
			}
		}
		if untouched {
			_ = os.Remove(copied)
			return err
		}
		_ = os.Chmod(copied, 0o600) // some editors make a new file
		c.console().Tell("nothing was written to %s; what was edited is kept in %s", file.path, copied)
		return err
	}
}

// copy is a file beside the config file, for its owner alone, since there may be a PIN in
// it. Its name ends as that of the config file, by which an editor knows what it is, and
// it is in the same directory, from which paths are taken.
func (f *configFile) copy(text []byte) (path string, err error) {
	dir, name := filepath.Split(f.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	ending := filepath.Ext(name)
	made, err := os.CreateTemp(dir, strings.TrimSuffix(name, ending)+".edit-*"+ending)
	if err != nil {
		return "", err
	}
	_, err = made.Write(text)
	if err = errors.Join(err, made.Close()); err != nil {
		_ = os.Remove(made.Name())
		return "", err
	}
	return made.Name(), nil
}

// put puts what was edited in the place of the file, if that is still what it was. The
// lines of an error are those of the copy, which is there to be looked at.
func (f *configFile) put(before, after []byte, copied string) error {
	err := config.Edit(f.path, f.options, func(d *config.Draft) error {
		if !bytes.Equal(d.Bytes(), before) {
			return &diag.SettingError{
				Err:  fmt.Errorf("%s was changed by somebody else meanwhile, and is left so", f.path),
				Hint: "compare the two, and edit the file once more",
			}
		}
		d.SetBytes(after)
		return nil
	})
	if wrong, ok := errors.AsType[*config.Error](err); ok {
		for i := range wrong.Problems {
			if wrong.Problems[i].File == f.path {
				wrong.Problems[i].File = copied
			}
		}
	}
	if err == nil {
		return nil
	}
	return notWritten(err)
}

// edit runs the editor on a file. What a person wrote in the environment is a command of
// the shell's, as for git: it may have options. The private key is none of its business.
func (c *command) edit(ctx context.Context, path string) error {
	editor, from := "vi", ""
	if runtime.GOOS == "windows" {
		editor = "notepad"
	}
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if text, _ := c.lookup(name); strings.TrimSpace(text) != "" {
			editor, from = text, " (from "+name+")"
		}
	}
	argv := []string{"sh", "-c", editor + ` "$@"`, editor, path}
	if _, err := exec.LookPath("sh"); err != nil && runtime.GOOS == "windows" {
		argv = append(strings.Fields(editor), path)
	}
	// Without ctx: the editor may have something to save, and is waited for. What the
	// keyboard sends reaches it by itself.
	run := exec.Command(argv[0], argv[1:]...)
	run.Stdin, run.Stdout, run.Stderr = c.Stdin, c.Stdout, c.Stderr
	if c.json {
		run.Stdout = c.Stderr
	}
	run.Env = childenv.Apart(c.Environ, c.apps().Own())
	err := run.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &diag.ExitError{Code: diag.Failed, Err: fmt.Errorf("the editor %s%s failed: %w", editor, from, err), Hint: "set VISUAL or EDITOR to an editor that is installed"}
	}
	return nil
}
