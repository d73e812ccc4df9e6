package gitauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// discovery is how GitHub's git service answers git's first request for a repository
// (https://git-scm.com/docs/http-protocol#_discovering_references).
type discovery struct {
	status    int
	served    bool   // the repository is there to be fetched
	path      string // of the repository, without a slash before it, after redirects on the host
	elsewhere string // scheme and host of a redirect that leads away, which is not followed
	message   string // the first line of a refusal, made printable
}

// discoverText bounds what is read of a refusal.
const discoverText = 4 << 10

// discover makes git's first request for the repository at a path, with a token, or
// without any credential where that is nil. Protocol version 2 keeps the answer to a
// few lines where version 0 lists every branch.
func (a *Answerer) discover(ctx context.Context, path string, t *ghapp.Token) (discovery, error) {
	const discoverySuffix = "/info/refs"
	url := fmt.Sprintf("%s/%s%s?service=git-upload-pack", a.Origin, path, discoverySuffix)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return discovery{}, err
	}
	var secrets scrub.Scrubber
	if t != nil {
		Authorize(req, t)
		secrets.Add(t.Secret)
	}
	req.Header.Set("Git-Protocol", "version=2")
	req.Header.Set("User-Agent", UserAgent)
	client := http.Client{Transport: a.Transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if next.URL.Scheme != via[0].URL.Scheme || next.URL.Host != via[0].URL.Host || len(via) > 5 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	answer, err := client.Do(req)
	if err != nil {
		return discovery{}, errors.Unwrap(err) // without the URL
	}
	defer answer.Body.Close()
	if foreign := api.ForeignPage(answer); foreign != nil {
		return discovery{}, foreign
	}
	body, _ := io.ReadAll(io.LimitReader(answer.Body, discoverText))
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	d := discovery{
		status: answer.StatusCode,
		served: answer.StatusCode == http.StatusOK && media == "application/x-git-upload-pack-advertisement",
		path:   strings.TrimSuffix(strings.TrimPrefix(answer.Request.URL.Path, "/"), discoverySuffix),
		// A proxy that shows the request it was sent shows the credential.
		message: text.FirstLine(secrets.String(string(body))),
	}
	if to, err := answer.Location(); err == nil && d.status/100 == 3 {
		d.elsewhere = to.Scheme + "://" + to.Host
	}
	return d, nil
}

// Moved returns the repository that GitHub's git service serves under the name of r,
// which is another after a renaming or a transfer. The Kinds of its errors are
// those of [ghapp.App.Token], and [ghapp.ErrWrongHost] where a redirect leads to another
// host, which is not followed.
func (a *Answerer) Moved(ctx context.Context, r ghapp.RepositoryName) (ghapp.RepositoryName, error) {
	var token *ghapp.Token
	if !a.known(ctx, r.String()) {
		p, err := a.plan(ctx, &credential.Credential{Path: r.String()})
		if err == nil {
			p.repository = r // the wiki itself, where it is one
			_, token, err = a.token(ctx, p)
		}
		if err != nil {
			return r, err
		}
	}
	op := "find out where " + r.String() + " has moved"
	d, err := a.discover(ctx, r.String()+".git", token)
	switch {
	case err != nil && ctx.Err() != nil:
		return r, context.Cause(ctx)
	case err != nil:
		return r, &ghapp.Error{Kind: ghapp.ErrUnreachable, Op: op, Err: err}
	case d.elsewhere != "":
		return r, &ghapp.Error{Kind: ghapp.ErrWrongHost, Op: op,
			Err: &api.RedirectError{From: a.Origin, To: d.elsewhere, Status: d.status}}
	case !d.served:
		return r, &ghapp.Error{Kind: ghapp.ErrRefused, Op: op, Status: d.status, Message: d.message}
	}
	present, err := RepositoryOf(d.path)
	present.Wiki = r.Wiki && err == nil
	return present, err
}
