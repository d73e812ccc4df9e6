package config

import (
	"strings"

	"github.com/ghapp-dev/ghapp/secret"
)

// Entry is one value and where it came from, for people and, as JSON, for programs.
type Entry struct {
	// App is the name of an App in the config file; "" for what stands outside of
	// any, and for the App that flags or variables name.
	App string `json:"app"`
	// Key is a key of [Settings], "previous_key" where there is one, "default",
	// "owners", "permissions", "repositories." with a repository after it, or "sync."
	// or "mirror." with a name and one of the keys below it.
	Key string `json:"key"`
	// Value is "" where nobody gave one, and [secret.Placeholder] for a private key
	// and for a PIN in a key URI.
	Value string `json:"value"`
	// Source is "" where nobody gave a value.
	Source Source `json:"source"`
}

// List returns all values, set or not: those outside of Apps, and then those of
// each App that [Config.App] may choose, as they would be used. It has the order of
// [Settings], and of the Apps in the file.
func (c *Config) List() []Entry {
	entries := []Entry{
		{Key: "config", Value: c.path.Text, Source: c.path.Source},
		{Key: "default", Value: c.file.def.Text, Source: c.file.def.Source},
	}
	apps := c.file.apps
	if by := c.given("app"); by.Text != "" || len(apps) == 0 {
		app, _ := c.file.app(by.Text)
		apps = []fileApp{app}
	}
	for _, app := range apps {
		entries = append(entries, c.settings(app).list()...)
	}
	for _, s := range c.file.syncs {
		entries = append(entries, s.given...)
	}
	for _, m := range c.file.mirrors {
		entries = append(entries, m.given...)
	}
	return entries
}

func (a AppSettings) list() []Entry {
	var entries []Entry
	add := func(key, value string, source Source) {
		entries = append(entries, Entry{App: a.Name, Key: key, Value: value, Source: source})
	}
	for _, s := range Settings() {
		switch field := a.field(s.Key); {
		case ofBroker(s.Key) && field.Text == "": // there is no broker, or nothing to say of it
		case field != nil:
			add(s.Key, field.Text, field.Source)
			if before := a.PreviousKey; s.Key == "key" && before.Text != "" {
				add(previousKey, before.Text, before.Source)
			}
		case s.Key == "private_key" && !a.PrivateKey.IsZero():
			add(s.Key, secret.Placeholder, a.PrivateKeySource)
		case s.Key == "private_key":
			add(s.Key, "", Source{})
		}
		if s.Key == "app" && a.Name != "" {
			add("owners", strings.Join(a.Owners, ", "), a.owners)
		}
	}
	return append(entries, a.listRights()...)
}
