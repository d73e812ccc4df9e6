package identity

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// The variables of a job of GitHub Actions that may have a token
// (https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token).
const (
	actionsURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	actionsToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

func inActions(o opened) bool { return o.get(actionsURL) != "" && o.get(actionsToken) != "" }

func openActions(o opened, _ string) (*Identity, error) {
	address := o.get(actionsURL)
	return &Identity{
		subject: func() string { return address }, // which is of one job
		token: func(ctx context.Context, whom audience) (string, error) {
			if !inActions(o) {
				return "", fmt.Errorf("%s and %s are not set: the job needs the permission id-token: write",
					actionsURL, actionsToken)
			}
			aud, err := whom(ctx)
			if err != nil {
				return "", err
			}
			u, err := url.Parse(address)
			if err != nil || u.Scheme != "https" && !(u.Scheme == "http" && api.IsLoopback(u.Hostname())) {
				return "", fmt.Errorf("%s is no https URL", actionsURL)
			}
			query := u.Query()
			query.Set("audience", aud)
			u.RawQuery = query.Encode()
			var answer struct {
				Value string `json:"value"`
			}
			body, err := fetch(ctx, o.Transport, u, http.Header{"Authorization": {"Bearer " + o.get(actionsToken)}},
				"GitHub Actions")
			if err != nil {
				return "", err
			}
			if json.Unmarshal(body, &answer) != nil {
				return "", errors.New("what GitHub Actions answered is not the JSON expected")
			}
			return answer.Value, nil
		},
	}, nil
}

// openGoogle asks the metadata server of Google Cloud
// (https://cloud.google.com/compute/docs/instances/verifying-instance-identity#request_signature).
func openGoogle(o opened, _ string) (*Identity, error) {
	host := cmp.Or(o.get("GCE_METADATA_HOST"), "metadata.google.internal")
	return &Identity{
		subject: func() string { return host },
		token: func(ctx context.Context, whom audience) (string, error) {
			aud, err := whom(ctx)
			if err != nil {
				return "", err
			}
			u := &url.URL{Scheme: "http", Host: host, Path: "/computeMetadata/v1/instance/service-accounts/default/identity",
				RawQuery: url.Values{"audience": {aud}, "format": {"full"}}.Encode()}
			body, err := fetch(ctx, o.direct, u, http.Header{"Metadata-Flavor": {"Google"}},
				"the metadata server of Google Cloud")
			return string(body), err
		},
	}, nil
}

// The variables of Azure's App Service and Container Apps
// (https://learn.microsoft.com/en-us/azure/app-service/overview-managed-identity#rest-endpoint-reference).
const (
	azureEndpoint = "IDENTITY_ENDPOINT"
	azureHeader   = "IDENTITY_HEADER"
)

func inAppService(o opened) bool { return o.get(azureEndpoint) != "" && o.get(azureHeader) != "" }

// openAzure asks for a token of a managed identity: App Service where its variables are set,
// and else the metadata service of a virtual machine
// (https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
// The audience is the Application ID URI of the broker's registration.
func openAzure(o opened, _ string) (*Identity, error) {
	address, version := "http://169.254.169.254/metadata/identity/oauth2/token", "2018-02-01"
	header := http.Header{"Metadata": {"true"}}
	if inAppService(o) {
		address, version = o.get(azureEndpoint), "2019-08-01"
		header = http.Header{"X-Identity-Header": {o.get(azureHeader)}}
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && !isLocal(u.Hostname()) {
		return nil, fmt.Errorf("%s is neither https nor on this machine", azureEndpoint)
	}
	client := o.get("AZURE_CLIENT_ID")
	return &Identity{
		subject: func() string { return client },
		token: func(ctx context.Context, whom audience) (string, error) {
			aud, err := whom(ctx)
			if err != nil {
				return "", err
			}
			query := url.Values{"api-version": {version}, "resource": {aud}}
			if client != "" {
				query.Set("client_id", client)
			}
			asked := *u
			asked.RawQuery = query.Encode()
			body, err := fetch(ctx, o.direct, &asked, header, "Azure")
			if err != nil {
				return "", err
			}
			var answer struct {
				AccessToken string `json:"access_token"`
			}
			if json.Unmarshal(body, &answer) != nil {
				return "", errors.New("what Azure answered is not the JSON expected")
			}
			return answer.AccessToken, nil
		},
	}, nil
}

// isLocal reports whether an address does not leave this machine, or its hypervisor.
func isLocal(host string) bool {
	address, err := netip.ParseAddr(host)
	return api.IsLoopback(host) || err == nil && address.IsLinkLocalUnicast()
}

// fetch asks who gives out tokens, and follows no redirect: the header may be a secret.
func fetch(ctx context.Context, by http.RoundTripper, u *url.URL, header http.Header, who string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("the address of " + who + " cannot be used")
	}
	for name, values := range header {
		req.Header[name] = values
	}
	client := http.Client{Transport: by, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	answer, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return nil, fmt.Errorf("%s at %s does not answer: %w", who, u.Host, printable{err, header})
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4*maxToken))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer of %s is cut short: %w", who, printable{err, header})
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answered %d %w", who, answer.StatusCode,
			printable{errors.New(string(body)), header})
	case header.Get("Metadata-Flavor") != "" && answer.Header.Get("Metadata-Flavor") != header.Get("Metadata-Flavor"):
		return nil, errors.New("what answers is not " + who)
	}
	return body, nil
}

// printable is an error of somebody else's, as one line, without what was sent to them.
type printable struct {
	error
	header http.Header
}

func (p printable) Error() string { return p.String() }

// Unwrap returns the error.
func (p printable) Unwrap() error { return p.error }

func (p printable) String() string {
	line := p.error.Error()
	for _, name := range []string{"Authorization", "X-Identity-Header"} {
		sent := strings.TrimPrefix(p.header.Get(name), "Bearer ")
		if sent != "" {
			line = strings.ReplaceAll(line, sent, "[redacted]")
		}
	}
	return text.Shorten(text.OneLine(line), 300)
}
