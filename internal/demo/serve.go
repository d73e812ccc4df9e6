package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/ghapp-dev/ghapp/internal/term"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// serve keeps the GitHub running until ctx ends, and prints on w what is to be pasted
// elsewhere to use it.
func (s *stage) serve(ctx context.Context, w io.Writer, asJSON bool) error {
	variables := [][2]string{
		{"GHAPP_HOST", s.origin}, {"GHAPP_APP", s.app.ClientID}, {"GHAPP_KEY", filepath.Join(s.dir, "app.pem")},
		// Of the tokens of this GitHub, nothing is left in the user's own cache.
		{"XDG_CACHE_HOME", filepath.Join(s.dir, "cache")},
	}
	program := thisProgram()
	if asJSON {
		environ := map[string]string{}
		for _, v := range variables {
			environ[v[0]] = v[1]
		}
		err := term.JSON(w, map[string]any{"environment": environ, "repository": repositoryName, "program": program})
		if err != nil {
			return err
		}
	} else {
		lines := "export"
		for _, v := range variables {
			lines += " \\\n    " + v[0] + "=" + text.ShellWord(v[1])
		}
		_, err := fmt.Fprintf(w, `A GitHub of our own runs at %s, with an App that is installed on acme.
Paste this in a second terminal, and see what ghapp does:

  %s
  %s clone %s

Ctrl-C ends it here, and takes everything away but your clones.
`, s.origin, lines, text.ShellWord(program), repositoryName)
		if err != nil {
			return err
		}
	}
	<-ctx.Done() // which is how it is meant to end
	return nil
}

// thisProgram is how a shell starts this program: by its name where PATH leads to it, or
// else by its path.
func thisProgram() string {
	path, err := os.Executable()
	if err != nil {
		return "ghapp"
	}
	if found, err := exec.LookPath("ghapp"); err == nil {
		own, ownErr := os.Stat(path)
		other, otherErr := os.Stat(found)
		if ownErr == nil && otherErr == nil && os.SameFile(own, other) {
			return "ghapp"
		}
	}
	return path
}
