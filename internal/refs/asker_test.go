package refs_test

import (
	"net/http"
	"net/http/httptrace"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/refs"
)

func TestAWarmPassIsOneRequestOnAKeptConnection(t *testing.T) {
	w := newWorld(t)
	oid := w.commit(t, "deployment")
	w.commit(t, "deployment-2")
	w.ask(t, refs.Want{Branch: "deployment"})
	w.github.ResetRequests()

	reused := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if i.Reused {
			reused++
		}
	}})
	found, err := w.asker.Ask(ctx, site, refs.Want{Branch: "deployment"})
	if want := (refs.Found{Repository: site, Ref: "refs/heads/deployment", Commit: oid}); err != nil || found != want {
		t.Errorf("%+v, %v; want %+v", found, err, want)
	}
	requests := w.github.Requests()
	if len(requests) != 1 || requests[0].Method != http.MethodPost || requests[0].Path != "/acme/site.git/git-upload-pack" {
		t.Errorf("requests: %+v", requests)
	}
	if reused != 1 {
		t.Errorf("%d of 1 requests went over a kept connection", reused)
	}
}
