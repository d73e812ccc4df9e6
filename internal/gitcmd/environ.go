package gitcmd

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/childenv"
)

// repositoryVariables are the variables that tell git which repository it is in, from
// `git rev-parse --local-env-vars`; a command started by a hook has them set. Not
// among them are those that carry configuration.
func repositoryVariables() []string {
	return []string{
		"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE",
		"GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS",
		"GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_INTERNAL_SUPER_PREFIX", "GIT_SHALLOW_FILE",
		"GIT_COMMON_DIR", "GIT_QUARANTINE_PATH", "GIT_NAMESPACE", "GIT_CONFIG",
	}
}

// Environment returns the environment for a program that is to use git with the
// credentials of s and no others for s.Origin. It is r.Environ without secrets,
// and with configuration appended to whatever GIT_CONFIG_COUNT there is. It reads
// git's configuration and ~/.netrc.
func (r *Runner) Environment(ctx context.Context, s Scope) ([]string, error) {
	env, err := r.own(s)
	if err != nil {
		return nil, err
	}
	ambient, err := r.ambient(ctx, env)
	if err != nil {
		return nil, err
	}
	if err := env.configure(s.overrides(ambient)); err != nil {
		return nil, err
	}
	return env, nil
}

// Plain is r.Environ without secrets, for programs that have nothing to do with git.
func (r *Runner) Plain() []string {
	return childenv.Apart(r.Environ, r.Own)
}

// own is the environment with the credentials of s, whatever the machine's
// configuration.
func (r *Runner) own(s Scope) (environ, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	env := environ(childenv.For(r.Environ, r.Own))
	if err := s.checkProxy(env); err != nil {
		return nil, err
	}
	// GIT_SSL_NO_VERIFY would send the token to anybody. LFS_DEBUG_HTTP prints it. With
	// SSLKEYLOGFILE anyone who records the connection can read it.
	env.unset("GIT_SSL_NO_VERIFY", "LFS_DEBUG_HTTP", "SSLKEYLOGFILE")
	env.set("GIT_TERMINAL_PROMPT", "0")
	env.set("GIT_ASKPASS", "") // goes before core.askPass and SSH_ASKPASS
	env.set("GIT_TRACE_REDACT", "1")

	var list []setting
	if file := env.get("GIT_SSL_CAINFO"); s.CAFile != "" && file != "" {
		// The variable goes before all settings; as a setting it stays for all
		// other hosts.
		env.unset("GIT_SSL_CAINFO")
		list = append(list, setting{"http.sslCAInfo", file})
	}
	list = append(list, s.credentials(s.Origin != "" && netrcFor(env, s.Origin))...)
	return env, env.configure(list)
}

// environ is the environment of a call of our own: besides the credentials it
// keeps hooks, other repositories and other languages out.
func (r *Runner) environ(ctx context.Context, s Scope) (environ, error) {
	env, err := r.own(s)
	if err != nil {
		return nil, err
	}
	env.unset(repositoryVariables()...)
	for name, path := range map[string]string{
		"GIT_DIR": r.Repository.Dir, "GIT_WORK_TREE": r.Repository.WorkTree, "GIT_INDEX_FILE": r.Repository.Index,
		"GIT_OBJECT_DIRECTORY": r.Repository.Objects, "GIT_GRAFT_FILE": r.Repository.Grafts,
		"GIT_SHALLOW_FILE": r.Repository.Shallow,
	} {
		if path != "" {
			env.set(name, path)
		}
	}
	env.allow(s.protocols())
	env.english()
	list := []setting{
		{"core.hooksPath", os.DevNull},
		{"core.fsmonitor", "false"},
		{"transfer.bundleURI", "false"},
		{"color.ui", "false"},
		{"color.remote", "false"},
	}
	list = append(list, r.bare()...)
	for _, entry := range r.Config {
		key, value, _ := strings.Cut(entry, "=")
		list = append(list, setting{key, value})
	}
	// Hooks can stand in the configuration from git 2.54 on.
	for _, event := range []string{"post-checkout", "post-index-change", "pre-auto-gc", "reference-transaction"} {
		list = append(list, setting{"hook." + event + ".enabled", "false"})
	}
	if err := env.configure(list); err != nil {
		return nil, err
	}
	if s.Submodules {
		ambient, err := r.ambient(ctx, env)
		if err != nil {
			return nil, err
		}
		if err := env.configure(s.overrides(ambient)); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// bare is the configuration of [Runner.NoBare].
func (r *Runner) bare() []setting {
	if r.NoBare {
		return []setting{{"safe.bareRepository", "explicit"}}
	}
	return nil
}

// environ is a list of NAME=value.
type environ []string

func (e environ) get(name string) string {
	value, _ := e.lookup(name)
	return value
}

// lookup returns the last value of name, which is the one that a child sees.
func (e environ) lookup(name string) (string, bool) {
	for _, entry := range slices.Backward(e) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

func (e *environ) unset(names ...string) {
	*e = slices.DeleteFunc(*e, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(names, name)
	})
}

func (e *environ) set(name, value string) {
	e.unset(name)
	*e = append(*e, name+"="+value)
}

// configure appends to the configuration that the environment carries.
func (e *environ) configure(list []setting) error {
	count := 0
	if text := e.get("GIT_CONFIG_COUNT"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil || count < 0 {
			return fmt.Errorf("GIT_CONFIG_COUNT in the environment is %q, which is no count", text)
		}
	}
	parameters := e.get("GIT_CONFIG_PARAMETERS")
	var names, entries []string
	for i, s := range list {
		key, value := fmt.Sprintf("GIT_CONFIG_KEY_%d", count+i), fmt.Sprintf("GIT_CONFIG_VALUE_%d", count+i)
		names = append(names, key, value)
		entries = append(entries, key+"="+s.key, value+"="+s.value)
		if parameters != "" {
			parameters += " " + quote(s.key) + "=" + quote(s.value)
		}
	}
	e.unset(names...)
	*e = append(*e, entries...)
	e.set("GIT_CONFIG_COUNT", strconv.Itoa(count+len(list)))
	if parameters != "" {
		// git -c of a caller, which git reads after the counted ones.
		e.set("GIT_CONFIG_PARAMETERS", parameters)
	}
	return nil
}

// quote quotes as git does in GIT_CONFIG_PARAMETERS.
func quote(text string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(text) + "'"
}

// allow narrows the transports that git may use to protocols, or to those of them
// that the user allows.
func (e *environ) allow(protocols []string) {
	if users, ok := e.lookup("GIT_ALLOW_PROTOCOL"); ok {
		protocols = slices.DeleteFunc(protocols, func(name string) bool {
			return !slices.Contains(strings.Split(users, ":"), name)
		})
	}
	e.set("GIT_ALLOW_PROTOCOL", strings.Join(protocols, ":"))
}

// allows reports whether git may use a transport.
func (e environ) allows(protocol string) bool {
	return slices.Contains(strings.Split(e.get("GIT_ALLOW_PROTOCOL"), ":"), protocol)
}

// english makes git's messages those that classify knows. The character set stays
// the user's: filters that git starts depend on it.
func (e *environ) english() {
	if all := e.get("LC_ALL"); all != "" {
		e.set("LC_CTYPE", all)
	}
	e.unset("LC_ALL", "LANGUAGE")
	e.set("LC_MESSAGES", "C")
}
