//go:build unix

package mirror

import (
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// A repository that does not fit on the disk fails by itself, with its name and size; a full disk stops all.
func TestARepositoryThatDoesNotFitStopsNoOther(t *testing.T) {
	r := directory(t)
	r.Entry = config.DefaultMirror()
	r.Entry.MinFree = 100 << 10
	left := int64(4 << 20)
	r.free = func(string) (int64, error) { return left, nil }
	s := &site{info: &ghapp.InstallationInfo{ID: 7, Account: "acme"}}
	large := &Record{ID: 1, Name: "acme/site", SizeKB: 5800}
	ts := r.newPass(Request{}).transfers()
	testkit.OK(t, ts.do(t.Context(), &job{site: s, record: large, code: true}))
	testkit.Equal(t, ts.full.Load() == nil, true, "others are stopped")
	testkit.Equal(t, len(ts.report.Failed), 1)
	testkit.ErrorContains(t, ts.report.Failed[0].Err, "acme/site does not fit on the disk: it has 5.7 MiB")
	testkit.Contains(t, large.Code.Failure.Message, "4.0 MiB are free, and 100.0 KiB are to stay so")
	testkit.OK(t, ts.checkRoom("acme/small", 1<<20))

	left = 50 << 10
	testkit.OK(t, ts.do(t.Context(), &job{site: s, record: large, code: true}))
	testkit.ErrorContains(t, ts.full.Load(), "the disk is nearly full")
	testkit.Equal(t, len(ts.report.Failed), 1)
}
