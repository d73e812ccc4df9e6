package lfsbatch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/lfsstore"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// object is a file in a question.
type object struct {
	ID   string `json:"oid"`
	Size int64  `json:"size"`
}

// link is where a file is, and what has to be sent there.
type link struct {
	Href   string            `json:"href"`
	Header map[string]string `json:"header"`
}

// answered is what the API says of a file.
type answered struct {
	object
	Actions struct {
		Download *link `json:"download"`
	} `json:"actions"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// row is what was said of a file that was asked for.
type row struct {
	link *link
	err  *transferError
}

// links are the answers, by the IDs of files.
type links map[string]row

// problem is why there is no link to a file; a nil error: there is one.
func (l links) problem(p lfsstore.Pointer) error {
	r, said := l[p.ID]
	switch {
	case !said:
		return &transferError{err: fmt.Errorf("the server says nothing of it")}
	case r.err != nil:
		return r.err
	}
	return nil
}

// ask asks where files are.
func (f *fetch) ask(ctx context.Context, want []lfsstore.Pointer) (links, error) {
	question := struct {
		Operation string   `json:"operation"`
		Transfers []string `json:"transfers"`
		Objects   []object `json:"objects"`
		Hash      string   `json:"hash_algo"`
	}{Operation: "download", Transfers: []string{"basic"}, Hash: "sha256"}
	sizes := map[string]int64{}
	for _, p := range want {
		question.Objects = append(question.Objects, object{p.ID, p.Size})
		sizes[p.ID] = p.Size
	}
	asked, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	f.requests.Add(1)
	body, err := f.API.LFSBatch(ctx, f.repository, asked)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Transfer string     `json:"transfer"`
		Hash     string     `json:"hash_algo"`
		Objects  []answered `json:"objects"`
	}
	err = json.Unmarshal(body, &answer)
	switch {
	case err != nil:
		err = fmt.Errorf("the answer cannot be read")
	case answer.Transfer != "" && answer.Transfer != "basic":
		err = fmt.Errorf("the answer is about %q transfers, and only basic ones are known", text.Shorten(answer.Transfer, 40))
	case answer.Hash != "" && answer.Hash != "sha256":
		err = fmt.Errorf("the answer is about %q, and only SHA-256 is known", text.Shorten(answer.Hash, 40))
	}
	if err != nil {
		return nil, &ghapp.Error{
			Kind: ghapp.ErrUnreachable, Op: "ask for the large files of " + f.repository.String(), Err: err,
		}
	}
	found := links{}
	for _, a := range answer.Objects {
		if size, wanted := sizes[a.ID]; wanted {
			found[a.ID] = a.row(size)
		}
	}
	return found, nil
}

// row is what an answer means.
func (a *answered) row(size int64) row {
	no := func(again bool, format string, args ...any) row {
		return row{err: &transferError{err: fmt.Errorf(format, args...), again: again}}
	}
	switch {
	case a.Error != nil:
		again := a.Error.Code == http.StatusTooManyRequests || a.Error.Code >= 500
		message := text.Shorten(text.OneLine(a.Error.Message), 200)
		return no(again, "the server says %d: %s", a.Error.Code, message)
	case a.Size != size:
		return no(false, "the server has it with %d bytes", a.Size)
	case a.Actions.Download == nil:
		return no(false, "the server says not where it is")
	}
	return row{link: a.Actions.Download}
}
