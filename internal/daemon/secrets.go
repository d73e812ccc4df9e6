package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/fault"
	"github.com/ghapp-dev/ghapp/secret"
)

// Secrets are those of files, or else of a variable. None is no secret at all, and never
// an open door.
func (o Options) Secrets(files []string, variable string) ([]secret.Text, error) {
	var list []secret.Text
	for _, file := range files {
		secret, err := readSecret(file)
		if err != nil {
			return nil, err
		}
		list = append(list, secret)
	}
	if text, _ := o.LookupEnv(variable); len(files) == 0 && strings.TrimSpace(text) != "" {
		list = append(list, secret.New(strings.TrimSpace(text)))
	}
	return list, nil
}

// maxSecret bounds the file of a secret, in bytes.
const maxSecret = 4 << 10

func readSecret(name string) (secret.Text, error) {
	file, err := os.Open(name)
	if err != nil {
		return secret.Text{}, &fault.SettingError{
			Err: fmt.Errorf("read a secret: %w", err), Hint: "name a file that this user can read",
		}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	switch trimmed := strings.TrimSpace(string(text)); {
	case err != nil:
		return secret.Text{}, &fault.SettingError{Err: fmt.Errorf("read a secret: %w", err)}
	case trimmed == "":
		return secret.Text{}, &fault.SettingError{
			Err:  fmt.Errorf("%s is empty, and holds no secret", name),
			Hint: "openssl rand -hex 32 makes one; GitHub's page of the webhook takes the same",
		}
	case len(text) > maxSecret:
		return secret.Text{}, &fault.SettingError{
			Err: fmt.Errorf("%s has more than %d bytes, and is no secret of a webhook", name, maxSecret),
		}
	default:
		return secret.New(trimmed), nil
	}
}

// WebhookSecrets are those with which GitHub signs.
func (o Options) WebhookSecrets() ([]secret.Text, error) {
	return o.Secrets(o.WebhookSecretFiles, "GHAPP_WEBHOOK_SECRET")
}

// NoSecret is the error of an address for webhooks without a secret.
func NoSecret() error {
	return &fault.SettingError{
		Err: errors.New("--webhook has no secret, and would believe everybody"),
		Hint: "openssl rand -hex 32 > FILE, give that with --webhook-secret-file, " +
			"and enter the same text as the webhook's secret at GitHub",
	}
}
