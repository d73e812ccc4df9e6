package doctor

import (
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

func TestPrinter(t *testing.T) {
	findings := []Finding{
		{Link: "key", State: OK, Text: "SHA256:abc"},
		{Link: "hooks", About: "deploy", State: Note, Text: "one two three four five six seven eight nine ten eleven twelve"},
		{Link: "configuration", State: Broken, Text: "c.yaml", Cause: "first cause that is so long that it does not stand " +
			"in one line\nsecond", Hint: "do this", Kind: "k", ExitCode: 3},
		{Link: "App", State: Skipped, Text: "not checked: it needs configuration"},
		{Link: "clock", State: Warn, Text: "off", Cause: "late", Hint: "set it"},
	}
	for name, test := range map[string]struct {
		printer Printer
		want    string
	}{
		"no terminal": {Printer{}, `ok       key            SHA256:abc
note     hooks          deploy: one two three four five six seven eight nine ten eleven twelve
broken   configuration  c.yaml
         cause: first cause that is so long that it does not stand in one line
         cause: second
         hint:  do this
skipped  App            not checked: it needs configuration
warn     clock          off
         cause: late
         hint:  set it

1 link broken, 1 warning.
`},
		"narrow, with colours": {Printer{width: 60, colour: true}, `{32}ok     {0}  key            SHA256:abc
{32}note   {0}  hooks          deploy: one two three four five six
                        seven eight nine ten eleven twelve
{1;31}broken {0}  configuration  c.yaml
         cause: first cause that is so long that it does not
                stand in one line
         cause: second
         hint:  do this
{2}skipped{0}  App            not checked: it needs configuration
{33}warn   {0}  clock          off
         cause: late
         hint:  set it

1 link broken, 1 warning.
`},
		"quiet": {Printer{quiet: true}, `broken   configuration  c.yaml
         cause: first cause that is so long that it does not stand in one line
         cause: second
         hint:  do this
warn     clock          off
         cause: late
         hint:  set it

1 link broken, 1 warning.
`},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			test.printer.w = &b
			for _, f := range findings {
				testkit.OK(t, test.printer.Write(f))
			}
			testkit.OK(t, test.printer.End(findings))
			got := strings.ReplaceAll(b.String(), "\x1b[", "{")
			for _, code := range []string{"32", "33", "1;31", "2", "0"} {
				got = strings.ReplaceAll(got, "{"+code+"m", "{"+code+"}")
			}
			testkit.Diff(t, got, test.want)
			for line := range strings.Lines(b.String()) {
				if strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
					t.Errorf("a line ends with a blank: %q", line)
				}
			}
		})
	}
}
