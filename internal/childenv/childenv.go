// Package childenv builds the environment of every process that a command starts: of
// git and all that git starts, of the programs that hold keys, of editor and browser, of
// sync's checks, and of the command of exec. A child gets what the user has set, but for
// what is secret and ghapp's own.
package childenv

import (
	"encoding/base64"
	"runtime"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/secret"
)

// Own are the secrets of a command that stand in variables under names of the user's
// choice.
type Own struct {
	// Names are of variables that hold a secret, as after the key URI env:NAME.
	Names []string
	// Values are secrets in whatever variable: one whose value is or contains one of
	// them is left out.
	Values []secret.Text
}

// settings are the variables of ghapp's that a child may have: what ghapp itself reads
// when it is started by a child. What is not named here is left out, so that a variable
// that comes to be is no child's business until somebody says so.
func settings() []string {
	return []string{
		"GHAPP_AGENT_SOCK", "GHAPP_API_URL", "GHAPP_API_VERSION", "GHAPP_APP", "GHAPP_AUDIENCE", "GHAPP_BROKER",
		"GHAPP_CA_FILE", "GHAPP_CONFIG", "GHAPP_HOST", "GHAPP_IDENTITY", "GHAPP_INSTALLATION", "GHAPP_KEY",
		"GHAPP_KEY_TIMEOUT",
	}
}

// For returns environ, as of [os.Environ], for a program that may start ghapp again: git,
// which asks the credential helper, or the command of exec.
func For(environ []string, own Own) []string {
	return without(environ, own, func(name string) bool { return !slices.Contains(settings(), name) })
}

// Apart returns environ for a program that has nothing to do with ghapp, without any of
// its variables.
func Apart(environ []string, own Own) []string {
	return without(environ, own, func(string) bool { return true })
}

// Again returns environ for ghapp itself, started by its credential helper to answer one
// question of git's: with the key, or what proves to a broker who asks, and without the secrets of other commands.
func Again(environ []string) []string {
	return without(environ, Own{}, func(name string) bool {
		return name != "GHAPP_PRIVATE_KEY" && name != "GHAPP_ID_TOKEN" && !slices.Contains(settings(), name)
	})
}

func without(environ []string, own Own, ours func(name string) bool) []string {
	var kept []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case strings.HasPrefix(upper(name), "GHAPP_") && ours(upper(name)):
		case slices.ContainsFunc(own.Names, func(secret string) bool { return upper(secret) == upper(name) }):
		case upper(name) == "GODEBUG":
			if quiet := withoutHTTP2(value); quiet != "" {
				kept = append(kept, name+"="+quiet)
			}
		case strings.HasPrefix(name, "GIT_CONFIG_"):
			// They are counted, so that none may be missing; git reads all of them.
			if own.in(value) {
				entry = name + "="
			}
			kept = append(kept, entry)
		case own.in(value):
		default:
			kept = append(kept, entry)
		}
	}
	return kept
}

// withoutHTTP2 takes out of GODEBUG (https://go.dev/doc/godebug) what has net/http print
// every header of HTTP/2, credentials too: git-lfs and many a holder of keys are written in
// Go. net/http looks for it anywhere in the value.
func withoutHTTP2(value string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(value, ","), func(setting string) bool {
		return strings.Contains(setting, "http2debug")
	}), ",")
}

// upper is a name as the system compares it.
func upper(name string) string {
	if runtime.GOOS == "windows" {
		return strings.ToUpper(name)
	}
	return name
}

// leastSecret is how long a secret is that is looked for inside of values, in bytes. A
// PIN of four digits stands in many a port and path.
const leastSecret = 12

func (o Own) in(value string) bool {
	return slices.ContainsFunc(o.Values, func(s secret.Text) bool {
		secret := strings.TrimSpace(s.Reveal())
		switch {
		case secret == "" || strings.TrimSpace(value) == secret:
			return secret != ""
		case len(secret) < leastSecret:
			return false
		}
		// As it is, with its line breaks written out, and in base64: a key is read in all of these.
		for _, form := range []string{secret, strings.ReplaceAll(secret, "\n", `\n`),
			base64.StdEncoding.EncodeToString([]byte(secret))[:len(secret)/3*4]} {
			if strings.Contains(value, form) {
				return true
			}
		}
		return false
	})
}
