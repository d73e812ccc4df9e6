package ghapp

import "github.com/ghapp-dev/ghapp/internal/redact"

// Secret is a token or a JSON Web Token. Its method Reveal returns the text;
// every other way of printing it (fmt, log/slog, encoding/json, an error) gives
// [redacted]. IsZero reports whether it holds nothing.
type Secret = redact.Secret

// NewSecret returns a Secret that holds text, for callers who were given a token
// by someone else and want to revoke it, say.
func NewSecret(text string) Secret { return redact.NewSecret(text) }
