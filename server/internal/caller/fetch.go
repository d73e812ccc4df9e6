package caller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxBody = 1 << 20 // of a discovery document or a key set
	maxKeys = 100     // in a set; GitHub has four
	// fetchTime is for all of it: names, connections, both answers to their last byte.
	fetchTime = 10 * time.Second
)

// fetchKeys asks the issuer for its keys. It connects to what the configuration names, and to
// nothing that an answer names.
func (i Issuer) fetchKeys(ctx context.Context) ([]jose.JSONWebKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	keysURL := i.KeysURL
	if keysURL == "" {
		var document struct {
			Issuer  string `json:"issuer"`
			KeysURL string `json:"jwks_uri"`
		}
		if err := i.fetch(ctx, i.configurationURL(), &document); err != nil {
			return nil, err
		}
		if document.Issuer != i.URL {
			return nil, fmt.Errorf("its discovery document is of another issuer, %q", document.Issuer)
		}
		if err := i.checkKeysURL(document.KeysURL); err != nil {
			return nil, err
		}
		keysURL = document.KeysURL
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := i.fetch(ctx, keysURL, &set); err != nil {
		return nil, err
	}
	return usableKeys(set.Keys)
}

// usableKeys leaves out what is not for signatures that are taken here, as RFC 7517 section 5
// wants of readers.
func usableKeys(list []json.RawMessage) ([]jose.JSONWebKey, error) {
	if len(list) > maxKeys {
		return nil, fmt.Errorf("its key set has %d keys; at most %d are read", len(list), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, text := range list {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && usable(key) {
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("its key set has no key for signatures")
	}
	return keys, nil
}

// fetch decodes the JSON at an address of this issuer's.
func (i Issuer) fetch(ctx context.Context, address string, value any) error {
	client, err := i.client(address)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "ghapp-server")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: status %d", address, answer.StatusCode)
	}
	if answer.Header.Get("Content-Encoding") != "" {
		return fmt.Errorf("GET %s: a compressed answer, which was not asked for", address)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody+1))
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w", address, err)
	case len(body) > maxBody:
		return fmt.Errorf("GET %s: an answer of more than %d bytes", address, maxBody)
	}
	if json.Unmarshal(body, value) != nil {
		return fmt.Errorf("GET %s: an answer that is not the JSON it should be", address)
	}
	return nil
}

// client is for one address: it resolves and dials no other host, follows no redirect, and
// takes no compression. It asks no proxy, which would resolve names out of our sight.
func (i Issuer) client(address string) (*http.Client, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	roots, err := i.roots()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Control: func(_, dialed string, _ syscall.RawConn) error {
		addrPort, err := netip.ParseAddrPort(dialed)
		if err != nil {
			return err
		}
		return checkAddress(addrPort.Addr(), i.Addresses)
	}}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, target string) (net.Conn, error) {
				if target != hostPort(u) {
					return nil, fmt.Errorf("%s is not to be connected to", target)
				}
				return dialer.DialContext(ctx, network, target)
			},
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			DisableCompression:     true,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(next *http.Request, _ []*http.Request) error {
			return fmt.Errorf("redirects are not followed; this one is to %q", next.URL.Host)
		},
	}, nil
}

// roots are nil for those of the system.
func (i Issuer) roots() (*x509.CertPool, error) {
	if i.CAFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(i.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: no certificate in it", i.CAFile)
	}
	return pool, nil
}
