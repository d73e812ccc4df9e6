package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/diag"
)

// linkConfiguration is where everything else is said.
const linkConfiguration = "configuration"

// checkConfiguration reads it and takes the Apps that are to be looked at.
func (x *examination) checkConfiguration(context.Context) Finding {
	loaded, err := x.Load()
	if err != nil {
		return broken(err, "it cannot be used")
	}
	x.loaded = loaded
	x.names.configuration(loaded)
	err = x.choose(loaded)
	text := place(loaded)
	switch {
	case err != nil && len(x.apps) == 0:
		return broken(err, "%s", text)
	case err != nil:
		return warn(err, "%s", text)
	}
	for _, p := range loaded.Warnings() {
		return warn(&diag.TroubleError{Trouble: diag.ConfigurationOpen, Text: p.Text, Hint: p.Hint}, "%s", text)
	}
	return ok("%s", text)
}

// choose takes the App of the repository where there is one, and else all that there are.
// The error is that of the first one that cannot be used.
func (x *examination) choose(loaded *config.Config) error {
	if x.Repository.Name != "" {
		r := x.Repository
		settings, err := loaded.App(config.Selector{Owner: r.Owner, Host: r.Host, AnyPort: r.AnyPort})
		if err == nil {
			x.apps = []*appChain{{x: x, settings: settings, repository: x.Repository}}
		}
		return err
	}
	var first error
	for settings, err := range loaded.Each() {
		switch {
		case err == nil:
			x.apps = append(x.apps, &appChain{x: x, settings: settings})
		case first == nil:
			first = err
		}
	}
	x.chooseOrigin(loaded)
	return first
}

// chooseOrigin has the App of the current directory's repository look at that as well.
func (x *examination) chooseOrigin(loaded *config.Config) {
	settings, err := loaded.App(config.Selector{Owner: x.Origin.Owner, Host: x.Origin.Host, AnyPort: x.Origin.AnyPort})
	if x.Origin.Name == "" || err != nil {
		return // there is none, or it is elsewhere
	}
	for _, a := range x.apps {
		if a.settings.Name == settings.Name {
			a.repository, a.atOrigin = x.Origin, true
			x.names.repository(x.Origin.String())
		}
	}
}

// place is where the configuration comes from.
func place(loaded *config.Config) string {
	path, found := loaded.Path()
	sources := map[string]bool{}
	var others []string
	for _, e := range loaded.List() {
		if name := e.Source.Name; e.Source.Kind >= config.FromEnvironment && !sources[name] && e.Key != "config" {
			sources[name] = true
			others = append(others, name)
		}
	}
	switch {
	case found && len(others) > 0:
		return fmt.Sprintf("%s, and %s", path.Text, strings.Join(others, ", "))
	case found:
		return path.Text
	case len(others) > 0:
		return strings.Join(others, ", ")
	case path.Text != "":
		return "nothing is configured, and there is no " + path.Text
	}
	return "nothing is configured"
}

// checkSettings tells which App is meant and who says so.
func (a *appChain) checkSettings(context.Context) Finding {
	s := a.settings
	text := fmt.Sprintf("App %s (%s) on %s (%s)", s.App.Text, s.App.Source, s.Host.Text, s.Host.Source)
	if a.brokered() {
		text = fmt.Sprintf("a broker has the key; repositories on %s (%s)", s.Host.Text, s.Host.Source)
	}
	for _, v := range []struct {
		name  string
		value config.Value
	}{{"API", s.APIURL}, {"API version", s.APIVersion}, {"installation", s.Installation}} {
		if v.value.Text != "" {
			text += fmt.Sprintf(", %s %s (%s)", v.name, v.value.Text, v.value.Source)
		}
	}
	if a.atOrigin {
		text += "; " + a.repository.String() + " is this directory's origin"
	}
	return ok("%s", text)
}
