package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A file that holds no secret is an error, and never an open door.
func TestSecretsOfFilesGoBeforeTheVariable(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "secret")
		testkit.OK(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	variables := map[string]string{"SET": "\tof the variable\n", "BLANK": " "}
	o := Options{LookupEnv: func(name string) (string, bool) {
		value, set := variables[name]
		return value, set
	}}
	for name, test := range map[string]struct {
		files    []string
		variable string
		want     string
		fails    string
	}{
		"files":       {[]string{file(" one\n"), file("two")}, "SET", "one, two", ""},
		"variable":    {nil, "SET", "of the variable", ""},
		"blank":       {nil, "BLANK", "", ""},
		"none":        {nil, "UNSET", "", ""},
		"empty file":  {[]string{file("one"), file(" \n")}, "SET", "", "holds no secret"},
		"no file":     {[]string{filepath.Join(t.TempDir(), "none")}, "SET", "", "read a secret"},
		"a large one": {[]string{file(strings.Repeat("x", maxSecret+1))}, "SET", "", "is no secret of a webhook"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := o.Secrets(test.files, test.variable)
			if test.fails != "" {
				testkit.ErrorContains(t, err, test.fails)
				return
			}
			testkit.OK(t, err)
			var got []string
			for _, s := range list {
				got = append(got, s.Reveal())
			}
			testkit.Equal(t, strings.Join(got, ", "), test.want)
		})
	}
}
