package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/secret"
)

// Given returns what flags and variables say, with nothing of the file: an App that may
// not be in there yet. What nobody gave is unset, or has its default.
func (c *Config) Given() AppSettings { return c.settings(fileApp{}) }

// FileAlone returns the configuration without what flags and variables say, but for the
// path of the file: as it is for a process that has neither, such as a cron job.
func (c *Config) FileAlone() *Config {
	alone := *c
	alone.flags, alone.env, alone.privateKey = map[string]Value{}, map[string]Value{}, secret.Text{}
	return &alone
}

// Apps returns the Apps of the file, in its order, and of these the ones for the host
// that a flag or a variable names, if one does. No other flag or variable chooses an
// App, a key or an installation for them.
func (c *Config) Apps() []AppSettings {
	plain := *c
	plain.flags, plain.env = maps.Clone(c.flags), maps.Clone(c.env)
	for _, key := range []string{"app", "key", previousKey, "installation"} {
		delete(plain.flags, key)
		delete(plain.env, key)
	}
	plain.privateKey = secret.Text{}
	host := c.given("host").Text
	var list []AppSettings
	for _, app := range c.file.apps {
		if host == "" || app.host() == hostName(host) {
			list = append(list, plain.settings(app))
		}
	}
	return list
}

// Claimant returns the name of the App that has an owner on a host among its owners, or
// "".
func (d *Draft) Claimant(host, owner string) string {
	f, _ := parse(d.path, d.text, d.home)
	i := slices.IndexFunc(f.apps, func(a fileApp) bool { return a.host() == hostName(host) && a.isFor(owner) })
	if i < 0 {
		return ""
	}
	return f.apps[i].name
}

// AppName makes the name of an App for the file out of another name, such as that of
// GitHub: letters, digits and hyphens.
func AppName(text string) string {
	name := strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "-")
	name = strings.TrimRight(name[:min(len(name), 34)], "-") // and room for a number
	if name == "" || idPattern().MatchString(name) {
		return "app" + name
	}
	return name
}
