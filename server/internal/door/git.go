package door

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/gitauth"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/exchange"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
)

// serveGit answers POST /git-credentials: git's question in the body as a credential helper has
// it, the answer in the form that git reads, and the proof in the Authorization header. A
// question about what is not ours has an empty answer, as helpers have it.
func (d *Door) serveGit(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	body, err := readBody(w, r)
	if err != nil {
		v.refuse(r.Context(), w, err)
		return
	}
	question, err := credential.Parse(bytes.NewReader(body))
	if err != nil {
		v.refuse(r.Context(), w, malformed("the body is not what git asks a credential helper"))
		return
	}
	asked, ours, err := d.parseQuestion(question)
	if err != nil {
		v.refuse(r.Context(), w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !ours {
		return
	}
	proof, err := proofOf(r)
	if err != nil {
		v.refuse(r.Context(), w, err)
		return
	}
	answer, err := v.obtain(r, proof, asked)
	if err != nil {
		v.refuse(r.Context(), w, err)
		return
	}
	var text bytes.Buffer
	if err := credential.Answer(question, gitauth.Username, answer.Token, answer.ExpiresAt).Encode(&text); err != nil {
		v.refuse(r.Context(), w, failed)
		return
	}
	w.Write(text.Bytes())
}

// parseQuestion reads which repository git asks about; ours is false where it is none of our
// hosts', or somebody else's name is to be used there.
func (d *Door) parseQuestion(question *credential.Credential) (asked exchange.Request, ours bool, err error) {
	for _, host := range d.config.Hosts {
		if (&gitauth.Answerer{Origin: host}).Ours(question) {
			asked.Host = host
		}
	}
	if asked.Host == "" || question.Username != "" && question.Username != gitauth.Username {
		return exchange.Request{}, false, nil
	}
	if question.Path == "" {
		return exchange.Request{}, true, malformed("git does not name the repository: set credential.useHttpPath")
	}
	repository, err := gitauth.RepositoryOf(question.Path)
	if err != nil || repository.Host != "" {
		return exchange.Request{}, false, nil
	}
	asked.Ask = policy.Ask{
		Owner: repository.Owner, Repositories: []string{repository.Owner + "/" + repository.Name},
		Permissions: ghapp.Permissions{"contents": "read"},
	}
	return asked, true, nil
}

// proofOf is the token in the Authorization header: Bearer, or the password of Basic, whose user
// name may be any. It is empty where there is no such header.
func proofOf(r *http.Request) (secret.Text, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return secret.Text{}, nil
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if _, password, ok := r.BasicAuth(); ok {
		token = password
	} else if !strings.EqualFold(scheme, "bearer") {
		token = ""
	}
	if token == "" || len(values) > 1 {
		return secret.Text{}, malformed("the Authorization header is neither Bearer nor Basic with a token as password")
	}
	return secret.New(token), nil
}
