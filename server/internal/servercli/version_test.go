package servercli_test

import (
	"bytes"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/servercli"
)

// make server writes the version into the program.
func TestVersionIsThatOfTheBuild(t *testing.T) {
	var out bytes.Buffer
	testkit.Equal(t, servercli.Run(t.Context(), servercli.Env{Stdout: &out, Version: "v1.2.3"}, []string{"version"}), 0)
	testkit.Equal(t, out.String(), "ghapp-server v1.2.3\n")
}
