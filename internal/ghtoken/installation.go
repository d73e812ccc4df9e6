package ghtoken

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxText bounds what [Installation] reads, in bytes: GitHub's longest token is about 520 characters and
// may grow, and there may be something around it.
const MaxText = 16 << 10

// Installation finds the one installation access token in a text. Its errors repeat
// nothing of the text, which may be a secret of another kind.
func Installation(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", errors.New("there is no token on standard input")
	case len(text) > MaxText:
		return "", errors.New("what is on standard input is not one token")
	}
	var object struct {
		Token string `json:"token"`
	}
	if json.Unmarshal([]byte(text), &object) == nil && object.Token != "" {
		text = object.Token
	}
	token := ""
	for line := range strings.Lines(text) {
		found, err := tokenInLine(line)
		switch {
		case err != nil:
			return "", err
		case token != "" && found != "" && found != token:
			return "", errors.New("what is on standard input is not one token, but several")
		case found != "":
			token = found
		}
	}
	if token == "" {
		return "", errors.New("there is no token on standard input")
	}
	return token, nil
}

// besides are the names of the lines that stand with a token, in the forms that have
// several, and that hold none.
var besides = []string{"GH_HOST", "protocol", "host", "path", "username", "password_expiry_utc"}

// tokenInLine is the token in a line, without what may stand around it: "" where the line
// is one that has none.
func tokenInLine(line string) (string, error) {
	word := strings.TrimSpace(line)
	if name, value, ok := strings.Cut(strings.TrimPrefix(word, "export "), "="); ok && variableName(name) {
		if slices.Contains(besides, name) {
			return "", nil
		}
		word = value
	}
	word = unquoted(word)
	word = strings.TrimPrefix(word, "x-access-token:")
	switch {
	case word == "":
		return "", nil
	case strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' }):
		return "", errors.New("what is on standard input is not one token")
	case !Valid(word):
		return "", errors.New("what is on standard input is no token: it has other characters than GitHub's have")
	}
	if kind, other := otherSecret(word); other {
		return "",
			fmt.Errorf("what is on standard input is %s, and no installation access token; only such a one is revoked", kind)
	}
	// v1. begins those of an old GitHub Enterprise Server.
	if !strings.HasPrefix(word, "ghs_") && !strings.HasPrefix(word, "v1.") {
		return "", errors.New("what is on standard input is no installation access token: those begin with ghs_")
	}
	return word, nil
}

// unquoted is a word without the quotes of JSON or of a shell around it.
func unquoted(word string) string {
	for _, quote := range []string{`"`, "'"} {
		if len(word) > 1 && strings.HasPrefix(word, quote) && strings.HasSuffix(word, quote) {
			return strings.TrimSpace(word[1 : len(word)-1])
		}
	}
	return word
}

// variableName reports whether text can be what stands before the = of a variable.
func variableName(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// otherSecret names the secrets of GitHub's that are something else, by their beginning
// (https://github.blog/engineering/behind-githubs-new-authentication-token-formats/).
func otherSecret(word string) (kind string, ok bool) {
	for prefix, kind := range map[string]string{
		"ghp_": "a personal access token", "github_pat_": "a personal access token", "gho_": "an OAuth access token",
		"ghu_": "a user access token", "ghr_": "a refresh token",
		"eyJ": "a JSON Web Token, which ends by itself within ten minutes",
	} {
		if strings.HasPrefix(word, prefix) {
			return kind, true
		}
	}
	return "", false
}
