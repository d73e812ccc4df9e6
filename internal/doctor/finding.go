package doctor

import (
	"fmt"

	"github.com/ghapp-dev/ghapp/internal/diag"
)

// State says how a link is.
type State string

// The states, from the best to the worst. A note is green as well: something to know,
// and nothing to do.
const (
	OK      State = "ok"
	Note    State = "note"
	Warn    State = "warn"   // it works, and should be mended
	Broken  State = "broken" // what needs it fails
	Skipped State = "skipped"
)

// Finding is what was found of one link. It holds no secret. What causes it, and the hint, are of
// internal/diag: causes.go has those that no failed command names.
type Finding struct {
	Link string `json:"link"`
	// About is the App or the host that the link belongs to, where there are several.
	About string `json:"about,omitempty"`
	State State  `json:"state"`
	// Text is what was seen, in a few words.
	Text string `json:"text"`
	// Cause is why it is not as it should be, and Hint what to do about it. Both
	// are empty but for Warn and Broken, and have a line for each of several problems.
	Cause string `json:"cause,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Kind is a stable name of the cause, as errors have it, and Request GitHub's id
	// of the request that failed.
	Kind    string `json:"kind,omitempty"`
	Request string `json:"request,omitempty"`
	// ExitCode is what a command ends with that needs the link; 0 unless Broken.
	ExitCode int `json:"exit_code,omitempty"`
}

func ok(format string, args ...any) Finding {
	return Finding{State: OK, Text: fmt.Sprintf(format, args...)}
}

func note(format string, args ...any) Finding {
	return Finding{State: Note, Text: fmt.Sprintf(format, args...)}
}

// warn and broken take cause, hint and exit code from the table of errors.
func warn(err error, format string, args ...any) Finding {
	f := explained(err, format, args...)
	f.State, f.ExitCode = Warn, 0
	return f
}

func broken(err error, format string, args ...any) Finding {
	f := explained(err, format, args...)
	f.State = Broken
	return f
}

func explained(err error, format string, args ...any) Finding {
	report := diag.Explain(err)
	return Finding{
		Text: fmt.Sprintf(format, args...), Cause: report.Message, Hint: report.Hint, Kind: report.Kind,
		Request: report.Request, ExitCode: report.ExitCode,
	}
}
