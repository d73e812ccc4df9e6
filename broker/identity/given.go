package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// idToken is the variable in which a token is looked for that has no other place.
const idToken = "GHAPP_ID_TOKEN"

// given is an identity whose token is there already, for an audience that whoever made it has
// chosen.
func given(read func() (string, error)) *Identity {
	return &Identity{
		token: func(context.Context, audience) (string, error) { return read() },
		subject: func() string {
			text, err := read()
			if err != nil {
				return ""
			}
			return subjectOf(text)
		},
	}
}

// openVariable is a token in a variable.
func openVariable(o opened, name string) (*Identity, error) {
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return nil, errors.New("env: is to be followed by the name of a variable")
	}
	return given(func() (string, error) {
		text := o.get(name)
		if text == "" {
			return "", fmt.Errorf("the variable %s is not set, or empty", name)
		}
		return text, nil
	}), nil
}

// openFile is a token in a file that somebody renews, as the kubelet does with a projected
// token of a service account
// (https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/).
func openFile(_ opened, path string) (*Identity, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("file: is to be followed by an absolute path")
	}
	return given(func() (string, error) {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		if info, err := file.Stat(); err != nil || info.IsDir() {
			return "", fmt.Errorf("%s is a directory, and not the file of a token", path)
		}
		text, err := io.ReadAll(io.LimitReader(file, maxToken+1))
		return string(text), err
	}), nil
}

// inGitLab looks for a token of GitLab CI, which a job has in a variable of its choice
// (https://docs.gitlab.com/ci/secrets/id_token_authentication/).
func inGitLab(o opened) bool { return o.get("GITLAB_CI") == "true" && o.get(idToken) != "" }

func gitlabVariable(name string) []string {
	if name == "" {
		name = idToken
	}
	return []string{name}
}

func openGitLab(o opened, name string) (*Identity, error) {
	return openVariable(o, gitlabVariable(name)[0])
}
