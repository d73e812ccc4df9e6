package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestEachIsEveryAppThatMayBeChosen(t *testing.T) {
	const two = "apps:\n  one: {app: 1, key: a.pem}\n  two: {app: 2, host: ghe.test}\n"
	for _, test := range []struct {
		name  string
		file  string
		flags map[string]string
		want  []string
	}{
		{"all", two, nil, []string{"one 1", "two 2: the private key is missing"}},
		{"one host", two, map[string]string{"host": "ghe.test", "key": "b.pem"}, []string{"two 2"}},
		{"host of none", two, map[string]string{"host": "other.test"}, []string{" : no App of this file is for other.test"}},
		{"named", two, map[string]string{"app": "one"}, []string{"one 1"}},
		{"flags alone", "", map[string]string{"app": "3", "key": "c.pem"}, []string{" 3"}},
		{"nothing", "", nil, []string{" : no App is configured"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			loaded, err, _ := world{file: test.file, flags: test.flags}.load(t)
			testkit.OK(t, err)
			var got []string
			for settings, err := range loaded.Each() {
				line := settings.Name + " " + settings.App.Text
				if e, ok := errors.AsType[*Error](err); ok {
					text, _, _ := strings.Cut(e.Problems[0].Text, ":")
					text, _, _ = strings.Cut(text, " (")
					line += ": " + text
				}
				got = append(got, line)
			}
			testkit.Diff(t, got, test.want)
		})
	}
}
