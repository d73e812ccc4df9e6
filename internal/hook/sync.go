package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/diag"
	"github.com/ghapp-dev/ghapp/internal/fault"
)

const (
	// maxSyncRequest is how large a body of POST /sync is at most, in bytes.
	maxSyncRequest = 64 << 10
	// maxWait is how long POST /sync waits for the outcome.
	maxWait = time.Minute
)

// syncRequest is the body of POST /sync.
type syncRequest struct {
	Targets []string `json:"targets"` // their names
	All     bool     `json:"all"`     // instead of names
	Wait    bool     `json:"wait"`    // answer with the outcome, if that is there within a minute
}

// outcome is the answer to POST /sync. Its Status is queued, running (the minute is over), done, failed or refused.
type outcome struct {
	Status string       `json:"status"`
	Error  *diag.Report `json:"error,omitempty"`
}

// sync answers POST /sync: 202 when the request is queued, 200 or 500 with the outcome when that was waited for, 404
// where no target has the name.
func (h *Handler) sync(w http.ResponseWriter, r *http.Request) answer {
	// A web page cannot set the header that is asked for without asking us first; a request that a page made is none
	// of ours all the same.
	if r.Header.Get("Origin") != "" {
		return h.no(http.StatusForbidden, "a web page asked for this")
	}
	if !bears(r, h.SyncSecrets) {
		a := h.no(http.StatusUnauthorized, "the secret is missing or wrong: send Authorization: Bearer SECRET")
		a.header = http.Header{"WWW-Authenticate": {"Bearer"}}
		return a
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != jsonType {
		return h.no(http.StatusUnsupportedMediaType, "send Content-Type: application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSyncRequest))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return h.no(http.StatusRequestEntityTooLarge, "the body has over 64 KiB")
	} else if err != nil {
		return h.no(http.StatusBadRequest, "the request came to no end")
	}
	wanted, why := parseSyncRequest(body)
	if why != "" {
		return h.no(http.StatusBadRequest, why)
	}
	ended := make(chan error, 1)
	unknown := h.OnSync(wanted.Targets, wanted.All, func(err error) {
		select {
		case ended <- err:
		default: // it was called before
		}
	})
	if len(unknown) > 0 {
		return h.no(http.StatusNotFound, "there is no target "+inWords(unknown))
	}
	h.Log.Info("a pass was asked for", "targets", wanted.Targets, "all", wanted.All, "from", r.RemoteAddr)
	if !wanted.Wait {
		return answer{status: http.StatusAccepted, json: outcome{Status: "queued"}}
	}
	late := time.NewTimer(maxWait)
	defer late.Stop()
	select {
	case err := <-ended:
		if err != nil {
			report := diag.Explain(err)
			return answer{status: http.StatusInternalServerError, text: "the pass failed", json: outcome{"failed", &report}}
		}
		return answer{status: http.StatusOK, json: outcome{Status: "done"}}
	case <-late.C:
	case <-r.Context().Done():
	}
	return answer{status: http.StatusAccepted, json: outcome{Status: "running"}}
}

// no is a request that is refused. Its kind is what HTTP calls the status: unauthorized, not-found.
func (h *Handler) no(status int, why string) answer {
	kind := strings.ReplaceAll(strings.ToLower(http.StatusText(status)), " ", "-")
	return answer{status: status, text: why,
		json: outcome{"refused", &diag.Report{Message: why, Kind: kind, ExitCode: fault.Failed}}}
}

// parseSyncRequest reads a request, and says what is wrong with it.
func parseSyncRequest(body []byte) (w syncRequest, why string) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil || d.Decode(new(any)) != io.EOF {
		return syncRequest{}, `the body is not of the form {"targets":["NAME"],"wait":true}`
	}
	switch {
	case w.All && len(w.Targets) > 0:
		return syncRequest{}, `give either "targets" or "all"`
	case !w.All && len(w.Targets) == 0:
		return syncRequest{}, `no target is named; {"all":true} means all of them`
	}
	return w, ""
}

// inWords names names that came from outside.
func inWords(names []string) string {
	text := ""
	for i, name := range names {
		if i == 10 {
			return text + " …"
		}
		if i > 0 {
			text += ", "
		}
		text += clean(name)
	}
	return text
}

// encode writes JSON in one line.
func encode(value any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.Encode(value) // of structs and texts: it cannot fail
	return b.String()
}
