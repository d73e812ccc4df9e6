package credcache

import (
	"bytes"
	"encoding/hex"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/credential"
)

// namePrefix begins the names of the files.
const namePrefix = "answer-"

// Question is what git asked and all that decides who answers, as text: the flags of
// the credential helper, the variables that choose the App, and the request. Two
// questions are the same if all of that is.
type Question struct{ text []byte }

// variables are those that decide who answers. One that ghapp reads and that is not
// among them keeps every question from being one.
func variables() []string {
	return []string{
		"GHAPP_AGENT_SOCK", "GHAPP_API_URL", "GHAPP_API_VERSION", "GHAPP_APP", "GHAPP_AUDIENCE", "GHAPP_BROKER",
		"GHAPP_CA_FILE", "GHAPP_CONFIG", "GHAPP_HOST", "GHAPP_IDENTITY", "GHAPP_INSTALLATION", "GHAPP_KEY",
		"GHAPP_KEY_TIMEOUT", "HOME", "XDG_CONFIG_HOME",
	}
}

// Ask returns the question that a credential helper with these flags and in this
// environment, as of os.Environ, was asked. It is false for one that no answer is kept
// for: one with a secret in it, such as GHAPP_PRIVATE_KEY, or whose meaning is not
// known here.
func Ask(flags, environ []string, asked *credential.Credential) (Question, bool) {
	known := variables()
	values := make([]string, len(known))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if i := slices.Index(known, name); i >= 0 {
			values[i] = value
		} else if strings.HasPrefix(name, "GHAPP_") && value != "" {
			return Question{}, false
		}
	}
	text := bytes.NewBufferString(header)
	add := func(word, value string) (ok bool) {
		text.WriteString(word + value + "\n")
		return !strings.Contains(value, "\n")
	}
	for i, flag := range flags {
		if !add("flag ", flag) || !elsewhereToo(flags[i:]) {
			return Question{}, false
		}
	}
	for i, value := range values {
		if value != "" && slices.Contains(paths(), known[i]) && !strings.HasPrefix(value, "/") {
			return Question{}, false
		}
		// A key that is not in a file may have a PIN in its URI.
		if known[i] == "GHAPP_KEY" && strings.Contains(value, ":") {
			return Question{}, false
		}
		if value != "" && !add("env ", known[i]+"="+value) {
			return Question{}, false
		}
	}
	if _, password := asked.Login(); !password.IsZero() || !asked.Encoded.IsZero() || !asked.OAuthRefreshToken.IsZero() {
		return Question{}, false
	}
	if asked.Encode(text) != nil {
		return Question{}, false
	}
	text.WriteString("\n")
	return Question{text.Bytes()}, true
}

// paths are the variables whose values are paths. A relative one names another file in
// another directory, which is no part of the question.
func paths() []string {
	return []string{"GHAPP_AGENT_SOCK", "GHAPP_CA_FILE", "GHAPP_CONFIG", "GHAPP_KEY", "HOME", "XDG_CONFIG_HOME"}
}

// elsewhereToo reports whether the first of these flags says the same in every directory:
// its value is no path, or an absolute one.
func elsewhereToo(flags []string) bool {
	name, value, given := strings.Cut(flags[0], "=")
	if !slices.Contains([]string{"--key", "--config", "--ca-file"}, name) {
		return true
	}
	if !given && len(flags) > 1 {
		value = flags[1]
	}
	return strings.HasPrefix(value, "/")
}

// Name is the name of the file with the answer. It need not be the only question of
// that name, since the file repeats the question.
func (q Question) Name() string {
	hash := fnv.New128a()
	hash.Write(q.text)
	return namePrefix + hex.EncodeToString(hash.Sum(nil))
}

// IsName reports whether a file of this name holds an answer.
func IsName(name string) bool {
	digits, ok := strings.CutPrefix(name, namePrefix)
	sum, err := hex.DecodeString(digits)
	return ok && err == nil && len(sum) == 16 && digits == strings.ToLower(digits)
}
