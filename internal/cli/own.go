package cli

import (
	"os"
	"regexp"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
)

// own are the secrets that this process has in variables, of whatever App they are. No
// program that a command starts gets them; see [childenv].
func (c *command) own() childenv.Own {
	var own childenv.Own
	add := func(text string) { own.Values = append(own.Values, ghapp.NewSecret(text)) }
	for _, name := range []string{"GHAPP_PRIVATE_KEY", "GHAPP_WEBHOOK_SECRET", "GHAPP_SYNC_SECRET", "GHAPP_SYNC_NOTIFY_URL"} {
		text, _ := c.lookup(name)
		add(text)
	}
	loaded := c.loaded
	if loaded == nil { // whoever reads it next tells of its warnings
		loaded, _ = config.Load(config.Options{Flags: c.givenFlags(), LookupEnv: c.lookup})
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
	text, _ := c.lookup("GHAPP_KEY")
	keys = append(keys, text, c.givenFlags()["key"])
	if loaded == nil {
		path, err := config.Path(config.Options{Flags: c.givenFlags(), LookupEnv: c.lookup})
		if info, errStat := os.Stat(path.Text); err == nil && errStat == nil && info.Mode().IsRegular() && info.Size() < 1<<20 {
			file, _ := os.ReadFile(path.Text)
			keys = append(keys, string(file))
		}
	}
	for _, match := range regexp.MustCompile(`env:([A-Za-z_][A-Za-z0-9_]*)`).FindAllStringSubmatch(strings.Join(keys, "\n"), -1) {
		own.Names = append(own.Names, match[1])
		text, _ := c.lookup(match[1])
		add(text)
	}
	return own
}
