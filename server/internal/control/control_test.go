package control_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/audit"
	"github.com/ghapp-dev/ghapp/server/internal/control"
	"github.com/ghapp-dev/ghapp/server/internal/engine"
)

// records is an audit in memory.
type records struct {
	mu   sync.Mutex
	list []audit.Record
	err  error
}

func (r *records) Append(_ context.Context, record audit.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, record)
	return r.err
}

// serve is a server with an engine of its own.
func serve(t *testing.T) (control.Client, *engine.Engine, *records) {
	t.Helper()
	e := testkit.Must(engine.Open(t.Context(), engine.Options{}))(t)
	t.Cleanup(e.Close)
	kept := &records{}
	path := filepath.Join(t.TempDir(), "run", "control")
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- (&control.Server{Orders: e, Audit: kept}).Serve(ctx, path) }()
	t.Cleanup(func() {
		stop()
		testkit.OK(t, <-ended)
		if _, err := os.Lstat(path); err == nil {
			t.Error("the socket stays behind")
		}
	})
	for {
		if _, err := os.Lstat(path); err == nil {
			return control.Client{Path: path}, e, kept
		}
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
	}
}

func TestOrderIsGivenShownAndTakenBackAndEachIsRecorded(t *testing.T) {
	t.Parallel()
	c, e, kept := serve(t)
	given := testkit.Must(c.Give(t.Context(), engine.Target{Repository: "acme/site"}, true, "a leak"))(t)
	testkit.Equal(t, given.Warning, "")
	id := given.Orders[0].ID
	testkit.Fails(t, e.Held(engine.Use{Repositories: []string{"acme/site"}}))
	shown := testkit.Must(c.Orders(t.Context()))(t)
	testkit.Equal(t, len(shown.Orders), 1)
	testkit.Equal(t, shown.Orders[0], given.Orders[0])
	testkit.ErrorContains(t, testkit.ErrorOf(c.TakeBack(t.Context(), "none")), "no order")
	testkit.Must(c.TakeBack(t.Context(), id))(t)
	testkit.OK(t, e.Held(engine.Use{Repositories: []string{"acme/site"}}))
	testkit.Equal(t, len(kept.list), 2)
	testkit.Equal(t, kept.list[0].Reason, "revoke repository acme/site: a leak")
	testkit.Equal(t, kept.list[1].Reason+" "+kept.list[1].ID, "resume "+id)
}

func TestOrderHoldsAlthoughTheAuditIsDown(t *testing.T) {
	t.Parallel()
	c, e, kept := serve(t)
	kept.err = errors.New("the disk is full")
	given := testkit.Must(c.Give(t.Context(), engine.Target{All: true}, false, ""))(t)
	testkit.Contains(t, given.Warning, "the disk is full")
	testkit.Fails(t, e.Held(engine.Use{}))
}

func TestOrderForNobodyOrForTwoIsRefused(t *testing.T) {
	t.Parallel()
	c, e, kept := serve(t)
	for _, target := range []engine.Target{{}, {All: true, Rule: "site"}} {
		testkit.ErrorContains(t, testkit.ErrorOf(c.Give(t.Context(), target, false, "")), "one of them")
	}
	testkit.ErrorContains(t, testkit.ErrorOf(c.Give(t.Context(), engine.Target{All: true}, false,
		strings.Repeat("x", 20<<10))), "cannot be read")
	testkit.Equal(t, len(e.Orders())+len(kept.list), 0)
}

func TestServerThatIsNotThereIsTold(t *testing.T) {
	t.Parallel()
	c := control.Client{Path: filepath.Join(t.TempDir(), "none")}
	err := testkit.ErrorAs[*fault.ExitError](t, testkit.ErrorOf(c.Orders(t.Context())))
	testkit.Equal(t, err.Code, fault.Unreachable)
	testkit.Contains(t, err.Hint, "--config")
}
