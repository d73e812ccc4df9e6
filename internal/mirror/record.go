package mirror

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/barerepo"
	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/inventory"
)

// Record is what is known of a repository, and of its mirror.
type Record struct {
	ID     int64  `json:"id"` // GitHub's
	NodeID string `json:"node_id,omitempty"`
	// Name is owner/name, as GitHub last had it.
	Name string `json:"name"`
	// NamedAt is when it was first listed by that name. An older token for the name may be for another
	// repository, which had it then.
	NamedAt time.Time `json:"named_at,omitzero"`
	// Former are names that it had before, the last one last.
	Former        []string  `json:"former,omitempty"`
	Installation  int64     `json:"installation"`
	PushedAt      time.Time `json:"pushed_at,omitzero"`
	DefaultBranch string    `json:"default_branch,omitempty"`
	Visibility    string    `json:"visibility,omitempty"`
	Archived      bool      `json:"archived,omitempty"`
	Fork          bool      `json:"fork,omitempty"`
	HasWiki       bool      `json:"has_wiki,omitempty"`
	Topics        []string  `json:"topics,omitempty"`
	SizeKB        int64     `json:"size_kb,omitempty"` // that GitHub tells, KiB

	// Path is where the mirror is, below the directory of all; "": there is none.
	Path string `json:"path,omitempty"`
	// Left says that the options leave it out by now, so that it is not kept up to date.
	Left bool `json:"left,omitempty"`
	// Gone is why it is not kept up to date although it is wanted; nil: it is there.
	Gone *Gone `json:"gone,omitempty"`
	// Lost is why the mirror is damaged, or not there, of a repository that GitHub does not give any more; nil: it
	// is not.
	Lost *Failure `json:"lost,omitempty"`

	Code Copy `json:"code,omitzero"`
	Wiki Copy `json:"wiki,omitzero"`
	// PushedThen and BranchThen are what GitHub said when Code was last compared. PushedThen is
	// zero where a push may have come in the same second.
	PushedThen time.Time `json:"pushed_then,omitzero"`
	BranchThen string    `json:"branch_then,omitempty"`
}

// Copy is a git repository here, of a repository's code or of its wiki.
type Copy struct {
	ComparedAt time.Time `json:"compared_at,omitzero"` // ref by ref; zero: never
	ChangedAt  time.Time `json:"changed_at,omitzero"`
	Bytes      int64     `json:"bytes,omitempty"` // on the disk
	Kept       int       `json:"kept,omitempty"`  // refs that were moved or deleted, and are kept
	// KeptSince is how far back those go.
	KeptSince time.Time `json:"kept_since,omitzero"`
	// Stat is what it was when it was last brought up to date; nil: that is not known.
	Stat barerepo.Stat `json:"stat,omitempty"`
	// Last is the last entry of the journal, which shows that one is lost; nil: there was none.
	Last *barerepo.Entry `json:"journal_last,omitempty"`
	// Lost is history that could not be read when the copy was made anew, until a full run goes on without it;
	// nil: all could be.
	Lost *Lost `json:"history_lost,omitempty"`
	// Absent says that GitHub has none: a wiki without a page.
	Absent bool `json:"absent,omitempty"`
	// Failure is why the last try failed; nil: it did not.
	Failure *Failure `json:"failure,omitempty"`
	// Large is how its large files are, where they are kept.
	Large Large `json:"lfs,omitzero"`
}

// remembered is what is known of the history of the copy.
func (c *Copy) remembered() barerepo.Remembered {
	was := barerepo.Remembered{Kept: c.Kept, KeptSince: c.KeptSince, Last: c.Last}
	if c.Lost != nil {
		was.Lost = c.Lost.What
	}
	return was
}

// remember takes what is known of it.
func (c *Copy) remember(now barerepo.Remembered) {
	c.Kept, c.KeptSince, c.Last = now.Kept, now.KeptSince, now.Last
}

// Lost is history that was lost.
type Lost struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// failure is the error of it, of the mirror at a path; nil: nothing was lost.
func (l *Lost) failure(path string) error {
	if l == nil {
		return nil
	}
	return &barerepo.Error{Problem: barerepo.ErrHistoryLost, Op: "make " + path + " anew", Detail: l.What}
}

// Failure tells of it as of what has failed; nil: nothing was lost.
func (l *Lost) Failure(path string) *Failure {
	if l == nil {
		return nil
	}
	report := diag.Explain(l.failure(path))
	return &Failure{At: l.At, Since: l.At, Tries: 1, Message: report.Message, Hint: report.Hint, Kind: report.Kind,
		Exit: report.ExitCode}
}

// Failure is why something failed, and when it is tried again.
type Failure struct {
	At      time.Time `json:"at"`
	Since   time.Time `json:"since"` // when it began to fail
	Tries   int       `json:"tries"`
	Again   time.Time `json:"again,omitzero"`
	Message string    `json:"message"`
	Hint    string    `json:"hint,omitempty"`
	Kind    string    `json:"kind"`
	Exit    int       `json:"exit_code"`
}

// Reason is why a mirror is not kept up to date any more.
type Reason string

// The reasons.
const (
	// NotFound: GitHub answers 404 to its ID: it was deleted, or the installation does not reach
	// it any more.
	NotFound Reason = "not-found"
	// NotSelected: it is there, and not among what the installation reaches.
	NotSelected Reason = "not-selected"
	// Blocked: GitHub keeps it from everybody for legal reasons (451).
	Blocked Reason = "blocked"
	// Unlisted: it is not listed, and GitHub was not asked about it, since too many are missing.
	Unlisted Reason = "unlisted"
	// Suspended: the installation is.
	Suspended Reason = "suspended"
	// Uninstalled: the App is, on its owner.
	Uninstalled Reason = "uninstalled"
)

// Gone says since when a mirror is not kept up to date, and why.
type Gone struct {
	Reason Reason    `json:"reason"`
	Since  time.Time `json:"since"` // that Reason
	// AskedAt is when GitHub was last asked about it; zero: never.
	AskedAt time.Time `json:"asked_at,omitzero"`
}

// Installation is what is known of one.
type Installation struct {
	ID      int64  `json:"id"`
	Account string `json:"account"`
	// ListedAt is when all it reaches was last known, and WholeAt when it was last listed anew.
	ListedAt time.Time `json:"listed_at,omitzero"`
	WholeAt  time.Time `json:"whole_at,omitzero"`
	Failure  *Failure  `json:"failure,omitempty"`
}

// LastPass is how the last pass over a directory ended.
type LastPass struct {
	BeganAt time.Time `json:"began_at"`
	Seconds float64   `json:"seconds"`
	// Outcome is unchanged, changed, or failed.
	Outcome string `json:"outcome"`
	// Failed is how many repositories and installations failed.
	Failed int `json:"failed"`
	// Owners are those that are named, and that no installation of the App could be asked for.
	Owners []FailedOwner `json:"owners,omitempty"`
	// Failure is why it did not come to its end; nil: it did.
	Failure *Failure `json:"failure,omitempty"`
}

// FailedOwner is an owner of whom nothing could be mirrored, and why.
type FailedOwner struct {
	Account string   `json:"account"`
	Failure *Failure `json:"failure"`
}

// owner is the failure of an owner; nil: there is none.
func (l *LastPass) owner(account string) *Failure {
	if l == nil {
		return nil
	}
	for _, o := range l.Owners {
		if strings.EqualFold(o.Account, account) {
			return o.Failure
		}
	}
	return nil
}

// Failing reports whether the last try to bring any part of it up to date failed.
func (r *Record) Failing() bool {
	return r.Lost != nil || r.Code.Failure != nil || r.Code.Large.Failure != nil ||
		r.Wiki.Failure != nil || r.Wiki.Large.Failure != nil
}

// repository is the name to ask for.
func (r *Record) repository(host string) ghapp.RepositoryName {
	name, _ := ghapp.ParseRepository(r.Name) // it was one when it was listed
	name.Host = host
	return name
}

// wanted is where the mirror belongs.
func (r *Record) wanted() string { return filepath.FromSlash(r.Name) + ".git" }

// waits reports whether the mirror waits for its place among those that move.
func (r *Record) waits() bool {
	file, moving := strings.CutPrefix(filepath.ToSlash(r.Path), own+"/moving/"+identity(r.ID)+".")
	return moving && !strings.Contains(file, "/") && strings.HasSuffix("."+file, ".git")
}

// goneSince is since when GitHub has not had the repository: not before it was last seen there, whatever the record
// says of that.
func (r *Record) goneSince() time.Time {
	return slices.MaxFunc([]time.Time{r.Gone.Since, r.NamedAt, r.Code.ComparedAt, r.Code.ChangedAt}, time.Time.Compare)
}

// wikiOf is where the wiki of a mirror is.
func wikiOf(path string) string { return path[:len(path)-len(".git")] + ".wiki.git" }

// known is the record as a listing has it.
func (r *Record) known(host string) inventory.Repository {
	return inventory.Repository{
		ID: r.ID, NodeID: r.NodeID, Name: r.repository(host), PushedAt: r.PushedAt, DefaultBranch: r.DefaultBranch,
		Visibility: r.Visibility, Archived: r.Archived, Fork: r.Fork, Wiki: r.HasWiki, Topics: r.Topics, SizeKB: r.SizeKB,
	}
}

// take takes what a listing says, and reports whether that is news.
func (r *Record) take(found inventory.Repository, installation int64, now time.Time) (news bool) {
	was := *r
	r.ID, r.NodeID, r.Name, r.Installation = found.ID, found.NodeID, found.Name.String(), installation
	r.PushedAt, r.DefaultBranch, r.Visibility = found.PushedAt, found.DefaultBranch, found.Visibility
	r.Archived, r.Fork, r.HasWiki, r.SizeKB = found.Archived, found.Fork, found.Wiki, found.SizeKB
	r.Topics, r.Gone, r.Lost = found.Topics, nil, nil
	if !strings.EqualFold(was.Name, r.Name) {
		r.NamedAt = now
	}
	r.renamed(was.Name)
	return was.Gone != nil || was.NodeID != r.NodeID || was.Name != r.Name || was.Installation != r.Installation ||
		!was.PushedAt.Equal(r.PushedAt) || was.DefaultBranch != r.DefaultBranch || was.Visibility != r.Visibility ||
		was.Archived != r.Archived || was.Fork != r.Fork || was.HasWiki != r.HasWiki || was.SizeKB != r.SizeKB ||
		!slices.Equal(was.Topics, r.Topics)
}

// mostFormer bounds how many names are remembered of a repository.
const mostFormer = 20

// renamed remembers a name that the repository had.
func (r *Record) renamed(from string) {
	same := func(n string) bool { return strings.EqualFold(n, r.Name) || strings.EqualFold(n, from) }
	if from == "" || strings.EqualFold(from, r.Name) {
		return
	}
	// A copy: records are handed out while they change.
	r.Former = append(slices.DeleteFunc(slices.Clone(r.Former), same), from)
	r.Former = r.Former[max(0, len(r.Former)-mostFormer):]
}
