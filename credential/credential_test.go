package credential_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

// sameSecrets lets cmp look into secrets, and keeps them out of its reports.
var sameSecrets = cmp.Comparer(func(a, b secret.Text) bool { return a.Reveal() == b.Reveal() })

func encode(t *testing.T, c *credential.Credential) string {
	t.Helper()
	var out bytes.Buffer
	testkit.OK(t, c.Encode(&out))
	return out.String()
}

func TestAnswer(t *testing.T) {
	expiry := time.Unix(4102444800, 999)
	token := secret.New("ghs_example")
	for _, tt := range []struct {
		name    string
		request *credential.Credential
		expiry  time.Time
		want    string
	}{
		{"git before 2.46 is given a password", &credential.Credential{}, expiry,
			"username=x-access-token\npassword=ghs_example\npassword_expiry_utc=4102444800\n"},
		{"another capability changes nothing", &credential.Credential{Capabilities: []string{"state"}}, time.Time{},
			"username=x-access-token\npassword=ghs_example\n"},
		{"git from 2.46 on is given a header and no password",
			&credential.Credential{Capabilities: []string{"authtype", "state"}}, expiry,
			"capability[]=authtype\nauthtype=Basic\ncredential=eC1hY2Nlc3MtdG9rZW46Z2hzX2V4YW1wbGU=\nephemeral=1\n" +
				"password_expiry_utc=4102444800\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := credential.Answer(tt.request, "x-access-token", token, tt.expiry)
			testkit.Diff(t, encode(t, got), tt.want)
			username, password := got.Login()
			testkit.Equal(t, username, "x-access-token")
			testkit.Equal(t, password.Reveal(), "ghs_example")
		})
	}
}

func TestProactiveIsGitsOwnQuestionAlone(t *testing.T) {
	for in, want := range map[string]bool{
		"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=github.com\npath=acme/site\nwwwauth[]=Basic\n": true,
		// After a server's 401.
		"capability[]=authtype\nwwwauth[]=Basic realm=\"GitHub\"\n":                  false,
		"capability[]=authtype\nwwwauth[]=Basic\nwwwauth[]=Basic realm=\"GitHub\"\n": false,
		"capability[]=authtype\nwwwauth[]=Negotiate\n":                               false,
		// git-lfs 3.6, and whoever runs git credential fill.
		"capability[]=authtype\ncapability[]=state\nprotocol=https\nhost=github.com\npath=acme/site\n": false,
		// It would not understand the answer.
		"protocol=https\nhost=github.com\npath=acme/site\nwwwauth[]=Basic\n": false,
		"": false,
	} {
		c := testkit.Must(credential.Parse(strings.NewReader(in)))(t)
		if got := c.Proactive(); got != want {
			t.Errorf("Proactive() = %t of\n%s", got, in)
		}
	}
}

func TestAnswerAnonymousHoldsNoCredential(t *testing.T) {
	answer := credential.AnswerAnonymous()
	testkit.Diff(t, encode(t, answer), "capability[]=authtype\nauthtype= \ncredential= \nephemeral=1\n")
	if username, password := answer.Login(); username != "" || !password.IsZero() {
		t.Errorf("Login() = %q, %q", username, password.Reveal())
	}
	back, err := credential.Parse(strings.NewReader(encode(t, answer)))
	if err != nil || !back.Anonymous() {
		t.Errorf("as git hands it back: %v, %v", back, err)
	}
	token := credential.Answer(&credential.Credential{Capabilities: []string{credential.CapabilityAuthType}},
		"u", secret.New("p"), time.Time{})
	for _, other := range []*credential.Credential{{}, token, {AuthType: "Basic", Encoded: secret.New(" ")}} {
		if other.Anonymous() {
			t.Errorf("%v is taken for an answer without a credential", other)
		}
	}
}

func TestLogin(t *testing.T) {
	for _, tt := range []struct{ name, in, username, password string }{
		{"nothing", "", "", ""},
		{"password", "username=u\npassword=p", "u", "p"},
		{"basic in git's spelling", "authtype=basic\ncredential=dTpwOnE=", "u", "p:q"},
		{"basic wins", "username=x\npassword=y\nauthtype=Basic\ncredential=dTpw", "u", "p"},
		{"bearer is not a login", "authtype=Bearer\ncredential=dTpw", "", ""},
		{"not base64", "username=u\npassword=p\nauthtype=Basic\ncredential=%", "u", "p"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testkit.Must(credential.Parse(strings.NewReader(tt.in)))(t)
			if username, password := c.Login(); username != tt.username || password.Reveal() != tt.password {
				t.Errorf("Login() = %q, %q", username, password.Reveal())
			}
		})
	}
}

func TestAnnouncementNamesWhatAnswerUses(t *testing.T) {
	testkit.Equal(t, credential.Announcement, "version 0\ncapability authtype\n", "Announcement")
}

func TestCheckOrigin(t *testing.T) {
	for _, tt := range []struct {
		protocol, host string
		want           error
	}{
		{"https", "github.com", nil},
		{"https", "ghes.example:8443", nil},
		{"http", "localhost", nil},
		{"http", "localhost:8080", nil},
		{"http", "127.0.0.1", nil},
		{"http", "127.8.9.10:80", nil},
		{"http", "[::1]", nil},
		{"http", "[::1]:8080", nil},
		{"", "github.com", credential.ErrNoOrigin},
		{"https", "", credential.ErrNoOrigin},
		{"", "", credential.ErrNoOrigin},
		{"http", "github.com", credential.ErrNotHTTPS},
		{"HTTPS", "github.com", credential.ErrNotHTTPS},
		{"ssh", "github.com", credential.ErrNotHTTPS},
		{"ssh", "localhost", credential.ErrNotHTTPS},
		{"http", "0.0.0.0", credential.ErrNotHTTPS},
		{"http", "127.0.0.1.evil.example", credential.ErrNotHTTPS},
		{"http", "localhost.evil.example", credential.ErrNotHTTPS},
		{"http", "localhost:80@evil.example", credential.ErrNotHTTPS},
		{"http", "localhost:", credential.ErrNotHTTPS},
		{"http", "127.0.0.1@evil.example", credential.ErrNotHTTPS},
		{"http", "127.0.0.1:80:81", credential.ErrNotHTTPS},
		{"http", "evil.example:80", credential.ErrNotHTTPS},
		{"http", "127.0.0.1:x", credential.ErrNotHTTPS},
		{"http", "127.0.0.1:65536", credential.ErrNotHTTPS},
		{"http", "127.0.0", credential.ErrNotHTTPS},
		{"http", "127.0.0.1.1", credential.ErrNotHTTPS},
		{"http", "127.0.0.256", credential.ErrNotHTTPS},
		{"http", "127.0.0.01", credential.ErrNotHTTPS},
		{"http", "128.0.0.1", credential.ErrNotHTTPS},
		{"http", "127.+1.0.1", credential.ErrNotHTTPS},
		{"http", "[::1].evil.example", credential.ErrNotHTTPS},
		{"http", "[::1]:80:81", credential.ErrNotHTTPS},
		{"http", "[fe80::1]:80", credential.ErrNotHTTPS},
	} {
		t.Run(tt.protocol+"://"+tt.host, func(t *testing.T) {
			c := credential.Credential{Protocol: tt.protocol, Host: tt.host}
			testkit.ErrorIs(t, c.CheckOrigin(), tt.want, "CheckOrigin()")
		})
	}
}

func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	const canary = "canary"
	c := &credential.Credential{
		Encoded:           secret.New(canary),
		Password:          secret.New(canary),
		OAuthRefreshToken: secret.New(canary),
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("", "credential", c)
	text := testkit.Must(json.Marshal(c))(t)
	for name, printed := range map[string]string{
		"%v": fmt.Sprintf("%v", c), "%+v": fmt.Sprintf("%+v", c), "%#v": fmt.Sprintf("%#v", c),
		"%v of the value": fmt.Sprintf("%v", *c), "%+v of the value": fmt.Sprintf("%+v", *c),
		"JSON": string(text), "slog": log.String(),
	} {
		if strings.Contains(printed, canary) {
			t.Errorf("%s shows a secret: %s", name, printed)
		}
	}
	testkit.Equal(t, strings.Count(encode(t, c), canary), 3, "Encode left a secret out")
}
