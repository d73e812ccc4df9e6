package config

import (
	"iter"
	"slices"
)

// Each yields the settings of every App that [Config.App] may choose, in the order of
// the file, with the error that it would return for that App. Where none is configured
// it yields that error alone.
func (c *Config) Each() iter.Seq2[AppSettings, error] {
	return func(yield func(AppSettings, error) bool) {
		apps := c.file.apps
		if c.given("app").Text != "" || len(apps) == 0 {
			only, err := c.App(Selector{})
			yield(only, err)
			return
		}
		if given := c.given("host").Text; given != "" {
			host := hostName(given)
			apps = slices.DeleteFunc(slices.Clone(apps), func(a fileApp) bool { return a.host() != host })
		}
		if len(apps) == 0 {
			_, err := c.App(Selector{})
			yield(AppSettings{}, err)
		}
		for _, app := range apps {
			settings := c.settings(app)
			var err error
			if problems := c.missing(settings, false); len(problems) > 0 {
				err = &Error{Problems: problems}
			}
			if !yield(settings, err) {
				return
			}
		}
	}
}
