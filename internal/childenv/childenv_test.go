package childenv_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/secret"
)

func TestNoSecretOfOursReachesAChild(t *testing.T) {
	environ := []string{
		"PATH=/bin", "HOME=/home/me", "EMPTY=", "=C:=C:\\", "no equals sign",
		"GHAPP_APP=Iv23li", "GHAPP_KEY=env:DEPLOY_KEY", "GHAPP_AGENT_SOCK=/run/s",
		"GHAPP_PRIVATE_KEY=pem", "GHAPP_WEBHOOK_SECRET=w", "GHAPP_SYNC_SECRET=s", "GHAPP_SYNC_NOTIFY_URL=https://u",
		"GHAPP_WEBHOOK_SECRET_FILE=/f", "GHAPP_TOMORROWS_SECRET=t",
		"DEPLOY_KEY=-----BEGIN", "COPY= the secret itself \n", "IN_OTHERS=user:the secret itself@host",
		"PORT=81234", "PIN=1234", "GODEBUG=a=1,http2debug=2,xhttp2debug=1,b=2", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=a.b",
		"GIT_CONFIG_VALUE_0=the secret itself",
	}
	own := childenv.Own{
		Names:  []string{"DEPLOY_KEY", "NOT_SET"},
		Values: []secret.Text{{}, secret.New("the secret itself"), secret.New("1234")},
	}
	git := []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0=the secret itself"}
	plain := []string{"PATH=/bin", "HOME=/home/me", "EMPTY=", "=C:=C:\\", "no equals sign"}
	settings := []string{"GHAPP_APP=Iv23li", "GHAPP_KEY=env:DEPLOY_KEY", "GHAPP_AGENT_SOCK=/run/s"}
	join := func(lists ...[]string) (all []string) {
		for _, list := range lists {
			all = append(all, list...)
		}
		return all
	}
	emptied := []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=a.b", "GIT_CONFIG_VALUE_0="} // git counts them
	want := join(plain, settings, []string{"PORT=81234", "GODEBUG=a=1,b=2"}, emptied)
	testkit.Diff(t, childenv.For(environ, own), want)
	want = join(plain, []string{"PORT=81234", "GODEBUG=a=1,b=2"}, emptied)
	testkit.Diff(t, childenv.Apart(environ, own), want)
	want = join(plain, settings, []string{"GHAPP_PRIVATE_KEY=pem"}, environ[14:17], environ[17:19],
		[]string{"GODEBUG=a=1,b=2"}, git)
	testkit.Diff(t, childenv.Again(environ), want)
}

// A key is read in all of these forms, so none of them is for a child.
func TestNoFormOfAKeyReachesAChild(t *testing.T) {
	key := "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA0\nabcd\n-----END RSA PRIVATE KEY-----\n"
	own := childenv.Own{Values: []secret.Text{secret.New(key)}}
	for name, value := range map[string]string{
		"as it is":                key,
		"line breaks written out": strings.ReplaceAll(key, "\n", `\n`),
		"in base64":               base64.StdEncoding.EncodeToString([]byte(key)),
		"within another value":    "KEY='" + key + "'",
	} {
		for _, variable := range []string{"COPY", "GIT_CONFIG_VALUE_0"} {
			if got := childenv.For([]string{variable + "=" + value}, own); strings.Contains(strings.Join(got, ""), "MIIE") ||
				len(strings.Join(got, "")) > 30 {
				t.Errorf("%s, in %s: a child gets %q", name, variable, got)
			}
		}
	}
}
