package diag

import (
	"errors"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/scrub"
)

// OneLine is an error with its hint in one line, for a log or for the credential helper to
// show. A server can repeat a credential in whatever it answers, which is taken out.
func OneLine(err error) error {
	report := Explain(err)
	text := report.Message
	if report.Hint != "" {
		text += " (" + report.Hint + ")"
	}
	var secrets scrub.Scrubber
	return errors.New(strings.ReplaceAll(secrets.String(text), "\n", "; "))
}
