package serve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/internal/keyfile"
	"github.com/ghapp-dev/ghapp/secret"
	"github.com/ghapp-dev/ghapp/server/internal/settings"
)

const maxSecret = 64 << 10

// readSecret is the text of a file that only we can read.
func readSecret(path string) (secret.Text, error) {
	refuse := func(err error) (secret.Text, error) {
		return secret.Text{}, &fault.SettingError{Err: fmt.Errorf("read the secret in %s: %w", path, err)}
	}
	file, err := os.Open(path)
	if err != nil {
		return refuse(err)
	}
	defer file.Close()
	if exposure, err := keyfile.Exposed(path); err == nil && exposure != nil {
		return secret.Text{}, &fault.SettingError{Err: errors.New(exposure.String()), Hint: exposure.Hint()}
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	switch {
	case err != nil:
		return refuse(err)
	case len(data) > maxSecret:
		return refuse(fmt.Errorf("it has more than %d bytes", maxSecret))
	case len(strings.TrimSpace(string(data))) == 0:
		return refuse(errors.New("the file is empty"))
	}
	return secret.New(strings.TrimSpace(string(data))), nil
}

// natsTLS is how NATS is reached. Nil where nothing is said of it.
func natsTLS(n settings.NATS) (*tls.Config, error) {
	if n.Certificate == "" && n.CA == "" {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if n.CA != "" {
		pem, err := os.ReadFile(n.CA)
		if err != nil {
			return nil, &fault.SettingError{Err: fmt.Errorf("read the authorities of NATS: %w", err)}
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &fault.SettingError{Err: errors.New(n.CA + " holds no certificate")}
		}
	}
	if n.Certificate != "" {
		// Read for each connection, since certificates are renewed.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(n.Certificate, n.Key)
			return &pair, err
		}
	}
	return config, nil
}
