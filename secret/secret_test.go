package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

const canary = "canary-a1b2c3d4e5f6a7b8c9d0"

func TestRevealIsTheText(t *testing.T) {
	testkit.Equal(t, New(canary).Reveal(), canary, "Reveal")
	for _, zero := range []Text{{}, New("")} {
		if zero.Reveal() != "" || !zero.IsZero() || zero.String() != "" {
			t.Errorf("the zero Secret holds %q and prints %q", zero.Reveal(), zero)
		}
	}
	if New(canary).IsZero() {
		t.Error("a Secret with text is zero")
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	secret := New(canary)
	type holder struct {
		Secret  Text
		Pointer *Text
		Any     any
		Map     map[string]Text
		private Text
		list    []Text
	}
	value := holder{secret, &secret, secret, map[string]Text{"key": secret}, secret, []Text{secret}}

	outputs := map[string]string{}
	for _, verb := range "vTtbcdoOqxXUeEfFgGsp" {
		for _, flags := range []string{"", "+", "#", " ", "0", "-80"} {
			format := "%" + flags + string(verb)
			outputs[format] = fmt.Sprintf(strings.Repeat(format+"\n", 5), secret, &secret, value, &value, []any{secret})
		}
	}
	outputs["error"] = fmt.Errorf("refused: %v", secret).Error()
	outputs["panic"] = func() (text string) {
		defer func() { text = fmt.Sprint(recover()) }()
		panic(secret)
	}()
	text, err := json.Marshal(value)
	testkit.OK(t, err)
	outputs["json"] = string(text)
	type document struct{ Secret Text }
	if text, err = xml.Marshal(document{secret}); err != nil {
		t.Fatal(err)
	}
	outputs["xml"] = string(text)
	var log, encoded bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).With("with", secret).Info("message", "secret", secret, "holder", value,
			slog.Group("group", "secret", &secret))
	}
	outputs["slog"] = log.String()
	_ = gob.NewEncoder(&encoded).Encode(value) // an error is fine, and what it wrote must be clean
	outputs["gob"] = encoded.String()

	for how, output := range outputs {
		for _, form := range []string{
			canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary)),
			base64.StdEncoding.EncodeToString([]byte(canary)),
		} {
			if strings.Contains(output, form) {
				t.Errorf("%s prints the secret: %s", how, output)
			}
		}
	}
	for _, how := range []string{"%v", "%s", "%+v", "json", "slog", "xml", "error", "panic"} {
		if !strings.Contains(outputs[how], Placeholder) {
			t.Errorf("%s does not say that something was left out: %s", how, outputs[how])
		}
	}
	if got, want := fmt.Sprintf("%#v", secret), "secret.Text("+Placeholder+")"; got != want {
		t.Errorf("%%#v = %s, want %s", got, want)
	}
}
