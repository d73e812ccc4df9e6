package githubtest

import (
	"net/http"
	"time"
)

// CredentialKind is the kind of credential a request carried.
type CredentialKind string

// The kinds of credential.
const (
	NoCredential    CredentialKind = "none"
	JWTCredential   CredentialKind = "jwt"   // Bearer or token, with something that has a JWT's form
	TokenCredential CredentialKind = "token" // Bearer or token, with anything else
	BasicCredential CredentialKind = "basic"
	OtherCredential CredentialKind = "other" // another or an unreadable Authorization header
)

// Credential is what a request carried in its Authorization header.
type Credential struct {
	Kind           CredentialKind
	AppID          int64  // of the App whose JWT or token it is; 0 for a JWT that is not accepted
	InstallationID int64  // of the installation the token was minted for, even if it is dead by now; 0 if it never was
	Username       string // of Basic
	Token          string // the JWT, the token, or the password of Basic
}

// Request is a request as it came in.
type Request struct {
	Time       time.Time // by the stand-in's clock
	Method     string
	Host       string
	Path       string // as sent, escaped, without the query
	Query      string
	UserAgent  string
	APIVersion string // X-GitHub-Api-Version as sent
	Credential Credential
	Header     http.Header
	Body       string // of requests to the REST and LFS endpoints, up to 1 MiB; what git and LFS transfer is not kept
	Status     int    // of the answer; 0 if there was none, or none yet
	Faulted    bool   // a Fault hit it
}

// Requests returns every request since the start or [GitHub.ResetRequests], in order of arrival.
func (gh *GitHub) Requests() []Request {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	return copies(gh.requests)
}

// ResetRequests forgets the requests so far. [GitHub.Mints] and [GitHub.Tokens] are left as they are.
func (gh *GitHub) ResetRequests() {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	gh.requests = nil
}

func copies(requests []*Request) []Request {
	list := make([]Request, len(requests))
	for i, r := range requests {
		list[i] = *r
		list[i].Header = r.Header.Clone()
	}
	return list
}

// newRequest is what can be told of a request by itself.
func newRequest(r *http.Request, now time.Time) *Request {
	kind, credential := authorization(r)
	request := &Request{
		Time: now, Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		UserAgent: r.UserAgent(), APIVersion: r.Header.Get("X-GitHub-Api-Version"), Header: r.Header.Clone(),
		Credential: Credential{Kind: OtherCredential, Username: credential.user, Token: credential.password},
	}
	switch {
	case kind == "":
		request.Credential.Kind = NoCredential
	case kind == "basic":
		request.Credential.Kind = BasicCredential
	case kind == "other":
	case looksLikeJWT(credential.password):
		request.Credential.Kind = JWTCredential
	default:
		request.Credential.Kind = TokenCredential
	}
	return request
}

// arrive records a request and finds the fault that hits it.
func (gh *GitHub) arrive(r *http.Request) (request *Request, f Fault, closed bool) {
	gh.mu.Lock()
	defer gh.mu.Unlock()
	request = newRequest(r, gh.now())
	credential := &request.Credential
	if credential.Kind == JWTCredential {
		if app, _, _ := gh.verify(credential.Token); app != nil {
			credential.AppID = app.ID
		}
	} else if t := gh.tokens[credential.Token]; t != nil {
		credential.AppID, credential.InstallationID = t.inst.app.ID, t.inst.ID
	}
	gh.requests = append(gh.requests, request)
	f, request.Faulted = gh.strike(r)
	return request, f, gh.closed
}
