// Package identity has what proves to a token broker who asks: the JSON Web Tokens that CI
// systems, clouds and clusters give to what runs there.
//
//	who, err := identity.Open("github-actions", identity.Options{Environ: os.Environ()})
package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/secret"
)

// Options are what an identity has of the process around it.
type Options struct {
	// Environ is as [os.Environ]. Nil: an empty environment.
	Environ []string
	// Transport sends the requests that may go through a proxy. Nil: net/http's, with the
	// environment's proxy. The metadata services of clouds are asked without one.
	Transport http.RoundTripper
	// Timeout bounds how long a token may take. 0: 30 seconds.
	Timeout time.Duration

	direct http.RoundTripper // to metadata services; nil: a connection without a proxy
}

// Identity gets tokens of one kind. It is safe for concurrent use. [Open] makes one.
type Identity struct {
	name    string
	timeout time.Duration
	subject func() string
	// token gets a token; it need not ask for the audience.
	token func(ctx context.Context, audience audience) (string, error)
}

// audience tells whom a token is to be for.
type audience = func(context.Context) (string, error)

// opened are the options, with what follows from them.
type opened struct {
	Options
	lookup func(name string) (string, bool)
}

// get is the value of a variable, or "".
func (o opened) get(name string) string {
	value, _ := o.lookup(name)
	return strings.TrimSpace(value)
}

// kind is a kind of identity.
type kind struct {
	// name is what stands before a colon, or alone.
	name string
	// argument says what stands after the colon; "" is nothing.
	argument string
	// optional says that the argument may be left out.
	optional bool
	// there reports whether the environment has it without doubt. Nil: it is never found.
	there func(o opened) bool
	// secrets are the variables with a secret that it reads.
	secrets func(argument string) []string
	open    func(o opened, argument string) (*Identity, error)
}

func kinds() []kind {
	none := func(string) []string { return nil }
	return []kind{
		{name: "github-actions", there: inActions, open: openActions,
			secrets: func(string) []string { return []string{actionsToken} }},
		{name: "gitlab", argument: "VARIABLE", optional: true, there: inGitLab, open: openGitLab, secrets: gitlabVariable},
		{name: "buildkite", there: inBuildkite, open: openBuildkite, secrets: none},
		{name: "circleci", there: inCircleCI, open: openCircleCI,
			secrets: func(string) []string { return []string{circleToken, "CIRCLE_OIDC_TOKEN"} }},
		{name: "gcp", open: openGoogle, secrets: none},
		{name: "azure", there: inAppService, open: openAzure,
			secrets: func(string) []string { return []string{azureHeader} }},
		{name: "spiffe", argument: "SOCKET", optional: true, there: hasWorkloadAPI, open: openSPIFFE, secrets: none},
		{name: "file", argument: "/PATH", open: openFile, secrets: none},
		{name: "env", argument: "NAME", open: openVariable, secrets: func(name string) []string { return []string{name} }},
		{name: "exec", argument: "PROGRAM", open: openProgram, secrets: none},
	}
}

// Names are the names of identities, those that want something after a colon with it.
func Names() []string {
	var names []string
	for _, k := range kinds() {
		switch {
		case k.argument == "":
			names = append(names, k.name)
		case k.optional:
			names = append(names, k.name, k.name+":"+k.argument)
		default:
			names = append(names, k.name+":"+k.argument)
		}
	}
	return names
}

// find is the kind of a name, and what stands after its colon.
func find(name string) (kind, string, error) {
	first, argument, colon := strings.Cut(name, ":")
	all := kinds()
	i := slices.IndexFunc(all, func(k kind) bool { return k.name == first })
	switch {
	case i < 0:
		var names []string
		for _, k := range all {
			names = append(names, k.name)
		}
		if meant := spelling.Nearest(first, names); meant != "" && len(first) < 20 {
			return kind{}, "", errors.New("it is no identity that is known; " + spelling.DidYouMean(meant))
		}
		return kind{}, "", errors.New("it is no identity that is known; there are " + strings.Join(Names(), ", "))
	case all[i].argument == "" && colon:
		return kind{}, "", fmt.Errorf("%s has nothing after it", all[i].name)
	case argument == "" && all[i].argument != "" && !all[i].optional:
		return kind{}, "", fmt.Errorf("write %s:%s", all[i].name, all[i].argument)
	}
	return all[i], argument, nil
}

// Check says what is wrong with the name of an identity, or nil.
func Check(name string) error {
	_, _, err := find(name)
	return err
}

// Secrets are the names of variables that hold a secret of this identity, and are no
// business of other programs; of the empty name, of those that may be found.
func Secrets(name string) []string {
	if name == "" {
		var all []string
		for _, k := range kinds() {
			if k.there != nil {
				all = append(all, k.secrets("")...)
			}
		}
		return append(all, idToken)
	}
	k, argument, err := find(name)
	if err != nil {
		return nil
	}
	return k.secrets(argument)
}

// Open returns the identity of a name:
//
//	github-actions    a job of GitHub Actions, or of Forgejo's, with the permission id-token: write
//	gitlab            a job of GitLab CI: id_tokens: GHAPP_ID_TOKEN, or gitlab:VARIABLE
//	buildkite         a job of Buildkite, by buildkite-agent
//	circleci          a job of CircleCI, by the command circleci there, or CIRCLE_OIDC_TOKEN_V2
//	gcp, azure        the service account or managed identity of a machine, by the metadata service
//	spiffe:SOCKET     a workload's JWT-SVID; without a socket, SPIFFE_ENDPOINT_SOCKET names it
//	file:/PATH        a file that is read anew each time, as a projected token of Kubernetes
//	env:NAME          a variable
//	exec:PROGRAM      what a program prints; GHAPP_AUDIENCE tells it for whom the token is to be
//
// Of the empty name it is the only one of these that the environment has.
func Open(name string, o Options) (*Identity, error) {
	at := prepare(o)
	if name == "" {
		var err error
		if name, err = found(at); err != nil {
			return nil, err
		}
	}
	k, argument, err := find(name)
	if err != nil {
		return nil, fmt.Errorf("the identity cannot be used: %w", err)
	}
	who, err := k.open(at, argument)
	if err != nil {
		return nil, err
	}
	who.name, who.timeout = name, at.Timeout
	return who, nil
}

func prepare(o Options) opened {
	if o.Transport == nil {
		o.Transport = api.NewTransport(nil)
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.direct == nil {
		straight := api.NewTransport(nil)
		straight.Proxy = nil // a proxy would get the token, or have one of its own
		o.direct = straight
	}
	return opened{o, childenv.Lookup(o.Environ)}
}

// found is the name of the one identity that the environment has.
func found(o opened) (string, error) {
	var names []string
	for _, k := range kinds() {
		if k.there != nil && k.there(o) {
			names = append(names, k.name)
		}
	}
	if len(names) == 0 && o.get(idToken) != "" {
		names = []string{"env:" + idToken}
	}
	switch len(names) {
	case 0:
		text := "nothing here proves who this machine is"
		if o.get("GITHUB_ACTIONS") == "true" {
			text += ": the job of GitHub Actions lacks the permission id-token: write"
		} else if o.get("GITLAB_CI") == "true" {
			text += ": the job of GitLab CI lacks id_tokens: GHAPP_ID_TOKEN"
		}
		return "", errors.New(text + "; name an identity: " + strings.Join(Names(), ", "))
	case 1:
		return names[0], nil
	}
	return "", errors.New("several things here prove who this machine is; name one of them: " + strings.Join(names, ", "))
}

// Found is the name of the identity that Open returns of the empty name.
func Found(o Options) (string, error) { return found(prepare(o)) }

// Token gets a token, and looks whether it is a JSON Web Token that has not run out. audience
// is called where the identity can choose it.
func (i *Identity) Token(ctx context.Context, audience func(context.Context) (string, error)) (secret.Text, error) {
	var outside error // of whoever was asked for the audience
	whom := func(ctx context.Context) (text string, err error) {
		text, err = audience(ctx)
		outside = err
		return text, err
	}
	timed, cancel := context.WithTimeoutCause(ctx, i.timeout, fmt.Errorf("no token within %s", i.timeout))
	defer cancel()
	text, err := i.token(timed, whom)
	switch {
	case outside != nil:
		return secret.Text{}, outside
	case err != nil && timed.Err() != nil:
		return secret.Text{}, context.Cause(timed)
	case err != nil:
		return secret.Text{}, err
	}
	token := secret.New(strings.TrimSpace(text))
	claims, err := Read(token)
	switch {
	case err != nil:
		return secret.Text{}, fmt.Errorf("what %s gave is not used: %w", i.name, err)
	case !claims.ExpiresAt.IsZero() && time.Since(claims.ExpiresAt) > time.Minute: // which is the clocks' own
		return secret.Text{}, fmt.Errorf("the token of %s ran out at %s", i.name, claims.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return token, nil
}

// Subject tells this identity from others that the same user may have.
func (i *Identity) Subject() string { return i.subject() }

// String is the name of the identity.
func (i *Identity) String() string { return i.name }
