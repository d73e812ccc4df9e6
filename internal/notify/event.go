package notify

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/diag"
)

// What is what happened to a target.
type What string

// What is told.
const (
	Published  What = "published"   // a commit is in the directory that was not there before
	Failed     What = "failed"      // the directory stays as it was
	Recovered  What = "recovered"   // what had failed goes well again
	ExecFailed What = "exec-failed" // the commit is in the directory, but the command after it failed

	// Of ghapp mirror alone:
	Gone   What = "gone"   // the repository is, or is out of reach; its mirror stays
	Pruned What = "pruned" // the mirror was taken away, since its repository has been gone for long
)

// Event is what happened to a target, or to one repository of a directory of mirrors, where
// Repository may also be the account of an installation, or "" for all. It is sent as JSON, beside
// ghapp_version and text: one line for people, under the name by which chat services know it.
type Event struct {
	What       What         `json:"event"`
	Target     string       `json:"target"`
	Repository string       `json:"repository"`         // owner/name
	Ref        string       `json:"ref,omitempty"`      // a branch, a tag, a version's range or a commit
	Commit     string       `json:"commit,omitempty"`   // the one that is, or was to be, published
	Previous   string       `json:"previous,omitempty"` // the one before it
	Directory  string       `json:"directory"`
	Error      *diag.Report `json:"error,omitempty"` // of Failed and ExecFailed
	At         time.Time    `json:"at"`              // RFC 3339, in UTC, to the second
}

// String is the event in one line.
func (e Event) String() string {
	what := cmp.Or(strings.TrimSpace(e.Repository+" "+e.Ref), "everything")
	if e.Commit != "" {
		what += " at " + short(e.Commit)
	}
	text := ""
	switch e.What {
	case Published:
		text = fmt.Sprintf("%s is published in %s", what, e.Directory)
	case ExecFailed:
		text = fmt.Sprintf("%s is published in %s, but the command after it failed", what, e.Directory)
	case Gone:
		text = fmt.Sprintf("%s is gone from GitHub, or out of reach; its mirror stays in %s", what, e.Directory)
	case Pruned:
		text = fmt.Sprintf("%s has been gone from GitHub for long; its mirror was taken away from %s", what, e.Directory)
	case Recovered:
		text = fmt.Sprintf("%s goes well again in %s", what, e.Directory)
	default:
		text = fmt.Sprintf("%s failed; %s stays as it was", what, e.Directory)
	}
	if e.Previous != "" && e.Previous != e.Commit {
		text += " (before: " + short(e.Previous) + ")"
	}
	if e.Error != nil {
		first, _, _ := strings.Cut(e.Error.Message, "\n")
		text += ": " + first
	}
	return cmp.Or(e.Target, e.Repository) + ": " + text
}

// short is as much of an object ID as people read.
func short(oid string) string { return oid[:min(len(oid), 12)] }
