package mirror

import (
	"time"

	"github.com/ghapp-dev/ghapp/internal/barerepo"
)

// Report is what became of one pass.
type Report struct {
	Began time.Time
	Took  time.Duration
	// Mirrors are how many are wanted, and Fresh how many of them are known to be as GitHub says.
	Mirrors, Fresh int
	// Compared were asked about ref by ref, Changed had something new, Made are new mirrors,
	// Moved have another place now.
	Compared, Changed, Made, Moved int
	// Forced and Deleted are refs that were moved back or deleted, and are kept.
	Forced, Deleted int
	Bytes           int64 // of packs, and of large files
	Large           int   // files of Git LFS that came
	Calls           int64 // to the API
	Requests        int64 // to the git service
	Processes       int64 // of git

	Gone   []Record // that were marked in this pass
	Pruned []Record // that were taken away
	Held   string   // why nothing was pruned, though something is to be; "": that is not so
	// Failed is what failed in this pass, and Waiting how many failures of before wait for their
	// next try.
	Failed  []Failed
	Waiting int
	// Stopped is why the pass did not come to its end, such as a disk that is nearly full; nil: it
	// did.
	Stopped error
	// None is why nothing is to be mirrored at all: the App is installed nowhere, reaches no repository, or the
	// options leave out every one; nil: that is not so.
	None error
}

// outcome is how the pass ended, where err is why it did not come to its end.
func (r *Report) outcome(err error) string {
	switch {
	case err != nil, r.Stopped != nil, r.None != nil, len(r.Failed) > 0:
		return "failed"
	case r.Made+r.Changed+r.Moved+len(r.Gone)+len(r.Pruned) > 0:
		return "changed"
	}
	return "unchanged"
}

// Failed is one failure.
type Failed struct {
	Repository string // owner/name; "" where it is about an installation
	Account    string // of the installation
	Wiki       bool
	LFS        bool // it is about large files, and what git has is up to date
	Err        error
	Again      time.Time // zero: at the next pass
}

// Outcome is what became of one mirror in a pass.
type Outcome struct {
	Record Record // by then
	Result barerepo.Result
	Wiki   barerepo.Result
	Err    error // of either; nil: both are as GitHub says
	Took   time.Duration
}

// Observer is told what goes on in a pass. Each may be nil. They are called from several
// goroutines at once.
type Observer struct {
	// Planned is how many mirrors are going to be compared.
	Planned func(n int)
	// Began is told of each when its turn comes. sizeKB is what GitHub says of its size where it is
	// fetched for the first time, and else 0.
	Began func(name string, sizeKB int64)
	// Received is told how many bytes of a pack have come, in all of one mirror's turn.
	Received func(name string, bytes int64)
	// Ended is told what became of it.
	Ended func(Outcome)
}

func (o *Observer) planned(n int) {
	if o.Planned != nil {
		o.Planned(n)
	}
}

func (o *Observer) began(name string, sizeKB int64) {
	if o.Began != nil {
		o.Began(name, sizeKB)
	}
}

func (o *Observer) received(name string, bytes int64) {
	if o.Received != nil {
		o.Received(name, bytes)
	}
}

func (o *Observer) ended(out Outcome) {
	if o.Ended != nil {
		o.Ended(out)
	}
}
