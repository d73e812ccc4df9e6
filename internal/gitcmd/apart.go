package gitcmd

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/childenv"
)

// Subject is a part of git's configuration: it reports whether a key, with section and
// variable in lower case, is about it.
type Subject func(key string) bool

// Network are proxies, certificates, and the version of HTTP that a proxy can stand:
// without them some hosts cannot be reached. So are the patience of git-lfs with a server
// and how often it tries again.
func Network(key string) bool {
	section, variable := ends(key)
	if section == "lfs" {
		return slices.Contains([]string{
			"lfs.transfer.maxretries", "lfs.transfer.maxretrydelay", "lfs.concurrenttransfers",
			"lfs.dialtimeout", "lfs.tlstimeout", "lfs.activitytimeout", "lfs.keepalive",
		}, key)
	}
	return section == "http" && slices.Contains([]string{
		"proxy", "proxyauthmethod", "proxysslcert", "proxysslkey", "proxysslcertpasswordprotected", "proxysslcainfo",
		"sslcainfo", "sslcapath", "sslcert", "sslkey", "sslcertpasswordprotected", "sslcerttype", "sslkeytype",
		"sslbackend", "sslversion", "sslcipherlist", "pinnedpubkey", "schannelcheckrevoke", "schannelusesslcainfo",
		"version",
	}, variable)
}

// Logins are the credential helpers for hosts that are not ours, and how ssh is started.
func Logins(key string) bool {
	section, _ := ends(key)
	return section == "credential" || section == "ssh" || key == "core.sshcommand"
}

// Signing is whose signatures count, and which program looks at them.
func Signing(key string) bool {
	section, _ := ends(key)
	return section == "gpg"
}

// ends are the first and the last part of a key.
func ends(key string) (section, variable string) {
	section, _, _ = strings.Cut(key, ".")
	return section, key[strings.LastIndexByte(key, '.')+1:]
}

// Ambient is git's configuration of the user, the system and the environment, read once,
// for calls of git that it is to have no say in but for some subjects.
type Ambient struct {
	environ  environ
	settings []setting
}

// Ambient reads the configuration, but that of any repository. With the error, which is
// git's, comes an Ambient that has none.
func (r *Runner) Ambient(ctx context.Context) (*Ambient, error) {
	env := environ(childenv.For(r.Environ, r.Own))
	env.unset(repositoryVariables()...)
	env.set("GIT_TERMINAL_PROMPT", "0") // the setting of [floor] is taken from it
	env.english()
	asker := *r
	asker.Dir = string(os.PathSeparator)
	a := &Ambient{environ: slices.Clone(r.Environ)}
	out, err := asker.output(ctx, env, []string{"config", "--null", "--list", "--show-scope"})
	if err != nil {
		return a, err
	}
	// Pairs of a scope and an entry.
	list := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	for i := 0; i+1 < len(list); i += 2 {
		if scope := list[i]; scope == "system" || scope == "global" || scope == "command" {
			a.settings = append(a.settings, parseConfig(list[i+1])...)
		}
	}
	return a, nil
}

// Environ is an environment in which git sees no file of configuration or attributes but
// those of its repository, of the configuration only the entries that are about a subject,
// and of git's variables only those about the network, ssh, tracing, and git's own place.
func (a *Ambient) Environ(subjects ...Subject) ([]string, error) {
	env := slices.DeleteFunc(slices.Clone(a.environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return strings.HasPrefix(name, "GIT_") && !passes(name)
	})
	env.set("GIT_CONFIG_NOSYSTEM", "1")
	env.set("GIT_CONFIG_GLOBAL", os.DevNull)
	env.set("GIT_ATTR_NOSYSTEM", "1")
	list := []setting{{"core.attributesFile", os.DevNull}}
	for _, s := range a.settings {
		if slices.ContainsFunc(subjects, func(about Subject) bool { return about(s.key) }) {
			list = append(list, s)
		}
	}
	err := env.configure(list)
	return env, err
}

// Alone is an environment in which git sees no configuration and no attributes but those of
// its repository, for calls that reach nobody: that of an [Ambient] which says nothing.
func Alone(environ []string) []string {
	// Without an entry of the user's, there is none that cannot be read.
	env, _ := (&Ambient{environ: environ}).Environ()
	return env
}

// passes reports whether a variable of git's says nothing of what is fetched and made.
func passes(name string) bool {
	for _, prefix := range []string{"GIT_SSL_", "GIT_PROXY_SSL_", "GIT_TRACE", "GIT_HTTP_LOW_SPEED_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{
		"GIT_HTTP_PROXY_AUTHMETHOD", "GIT_CURL_VERBOSE", "GIT_REDACT_COOKIES",
		"GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_ALLOW_PROTOCOL", "GIT_PROTOCOL_FROM_USER",
		"GIT_EXEC_PATH", // where a git lies that was moved
	}, name)
}
