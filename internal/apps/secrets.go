package apps

import (
	"os"
	"regexp"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/secret"
)

// namesVariable finds the key URIs that name a variable which holds a key.
func namesVariable() *regexp.Regexp { return regexp.MustCompile(`env:([A-Za-z_][A-Za-z0-9_]*)`) }

// Own are the secrets that this process has in variables, of whatever App they are. No
// program that it starts gets them; see [childenv].
func (o *Opener) Own() childenv.Own {
	var own childenv.Own
	add := func(text string) { own.Values = append(own.Values, secret.New(text)) }
	for _, name := range []string{"GHAPP_PRIVATE_KEY", "GHAPP_WEBHOOK_SECRET",
		"GHAPP_SYNC_SECRET", "GHAPP_SYNC_NOTIFY_URL", "GHAPP_MIRROR_NOTIFY_URL"} {
		text, _ := o.LookupEnv(name)
		add(text)
	}
	options := config.Options{Flags: o.Flags, LookupEnv: o.LookupEnv}
	loaded := o.read()
	if loaded == nil { // Load tells of its warnings, and not this
		loaded, _ = config.Load(options)
	}
	var keys []string
	if loaded != nil {
		for _, key := range loaded.Keys() {
			keys = append(keys, key.Reveal())
			if key.HasSecret() {
				add(key.Reveal())
			}
		}
	}
	// Of a configuration that cannot be used, the key is among this.
	text, _ := o.LookupEnv("GHAPP_KEY")
	keys = append(keys, text, o.Flags["key"])
	if loaded == nil {
		path, err := config.Path(options)
		if info, errStat := os.Stat(path.Text); err == nil && errStat == nil &&
			info.Mode().IsRegular() && info.Size() < 1<<20 {
			file, _ := os.ReadFile(path.Text)
			keys = append(keys, string(file))
		}
	}
	for _, match := range namesVariable().FindAllStringSubmatch(strings.Join(keys, "\n"), -1) {
		own.Names = append(own.Names, match[1])
		text, _ := o.LookupEnv(match[1])
		add(text)
	}
	for _, name := range identitySecrets(loaded) {
		own.Names = append(own.Names, name)
		text, _ := o.LookupEnv(name)
		add(text)
	}
	return own
}
