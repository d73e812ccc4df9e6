package gitsession

import (
	"os"
	"runtime"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/apps"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/keyuri"
	"github.com/ghapp-dev/ghapp/internal/text"
)

// Sections make git ask ghapp, and nobody else, for an origin, and believe the
// certificate that ghapp believes.
func Sections(o *apps.Opener, origin string, settings config.AppSettings, scope gitsetup.Scope,
	owner string) []gitsetup.Section {
	sections := []gitsetup.Section{{Name: "credential", Subsection: origin, Settings: []gitsetup.Setting{
		{Name: "helper", Value: ""}, // forgets all others
		{Name: "helper", Value: helperLine(o, settings, scope, owner)},
		{Name: "useHttpPath", Value: "true"},
	}}}
	if path := settings.CAFile.Text; path != "" {
		trust := []gitsetup.Setting{{Name: "sslCAInfo", Value: path}}
		if runtime.GOOS == "windows" { // where git otherwise looks into the system's store alone
			trust = append(trust, gitsetup.Setting{Name: "schannelUseSSLCAInfo", Value: "true"})
		}
		sections = append(sections, gitsetup.Section{Name: "http", Subsection: origin + "/", Settings: trust})
	}
	return sections
}

// helperLine names the helper in git's configuration so that it finds the same App
// tomorrow, with nothing of today's flags and variables around it. Where the config file has
// the App, its settings are followed and not repeated: a key that moves is found where the
// file then says. What the file does not have is written out.
//
// A repository's own line names the file too: where git runs without HOME, as it may under
// cron, nothing else leads to it. It need not be there yet.
func helperLine(o *apps.Opener, s config.AppSettings, scope gitsetup.Scope, owner string) string {
	line := LastingHelper(o.LookupEnv)
	write := func(flag, value string) { line += " --" + flag + " " + text.ShellWord(value) }
	loaded, err := o.Load()
	if err != nil {
		return line // and who asked for settings before has been told
	}
	path, _ := loaded.Path()
	if path.Source.Kind >= config.FromEnvironment || scope == gitsetup.Local && path.Text != "" {
		write("config", path.Text)
	}
	inFile, named := fileApp(loaded, s, owner)
	if inFile.Name != "" && (named || s.Name != "" && o.Chosen("app")) { // not where its ID was said
		write("app", inFile.Name)
	}
	add := func(flag string, v, followed config.Value) {
		given := v.Source.Kind >= config.FromEnvironment && !v.HasSecret()
		if given && followed.Source.Kind != config.FromFile {
			write(flag, v.Text)
		}
	}
	if inFile.Name == "" {
		add("app", s.App, config.Value{})
	}
	add("key", s.Key, inFile.Key)
	add("key", s.PreviousKey, inFile.Key)
	add("key-timeout", s.KeyTimeout, inFile.Key)
	add("installation", s.Installation, inFile.Installation)
	if s.Host.Text != inFile.Host.Text {
		add("host", s.Host, config.Value{})
	}
	if s.APIURL.Text != inFile.APIURL.Text {
		add("api-url", s.APIURL, config.Value{})
	}
	add("api-version", s.APIVersion, inFile.APIVersion)
	add("ca-file", s.CAFile, inFile.CAFile)
	return line
}

// fileApp returns the App of the config file that these settings are of, without what flags
// and variables say, and whether it has to be named to be chosen for an owner. Its Name is ""
// where there is none.
func fileApp(loaded *config.Config, s config.AppSettings, owner string) (app config.AppSettings, named bool) {
	origin := func(a config.AppSettings) string {
		host, err := api.ParseHost(a.Host.Text, "")
		if err != nil {
			return a.Host.Text
		}
		return host.Origin
	}
	same := func(a config.AppSettings) bool {
		return a.App.Text == s.App.Text && a.Broker.Text == s.Broker.Text && origin(a) == origin(s) &&
			(s.Name == "" || a.Name == s.Name)
	}
	alone := loaded.FileAlone()
	if chosen, err := alone.App(config.Selector{Owner: owner, Host: s.Host.Text}); err == nil && same(chosen) {
		return chosen, false
	}
	var found []config.AppSettings
	for _, a := range alone.Apps() {
		if (s.App.Text != "" || s.Broker.Text != "") && same(a) {
			found = append(found, a)
		}
	}
	if len(found) != 1 {
		return config.AppSettings{}, false
	}
	return found[0], true
}

// OnlyInEnvironment is the variable that git's configuration must not repeat: it holds
// the key, or a PIN. It is "" where there is none, or where the config file has a key.
func OnlyInEnvironment(o *apps.Opener, s config.AppSettings, owner string) string {
	if loaded, err := o.Load(); err == nil {
		inFile, _ := fileApp(loaded, s, owner)
		path := keyuri.FilePath(inFile.Key.Text)
		if _, err := os.Stat(path); inFile.Key.Text != "" && (path == "" || err == nil) {
			return ""
		}
	}
	switch {
	case !s.PrivateKey.IsZero():
		return s.PrivateKeySource.String()
	case s.Key.HasSecret() && s.Key.Source.Kind == config.FromEnvironment:
		return s.Key.Source.String()
	}
	return ""
}
