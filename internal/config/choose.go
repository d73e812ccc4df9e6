package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/spelling"
	"github.com/ghapp-dev/ghapp/secret"
)

// Selector says what an App is needed for. The zero value asks for the App without
// a repository in hand.
type Selector struct {
	// Owner of the repository; "" if there is none.
	Owner string
	// Host of the repository, as its URL has it; "" where only owner/name is known.
	Host string
	// AnyPort says that Host comes without the port on which it serves https.
	AnyPort bool
	// KeyOnly asks for the private key alone, and for no App that it belongs to.
	KeyOnly bool
	// HostOnly asks how to reach the host alone, and for no App or key.
	HostOnly bool
}

// AppSettings is one App and everything needed to use it. One of Key, PrivateKey and Broker
// is set, and no more; with Broker there is no App.
type AppSettings struct {
	// Name is its name in the config file; "" where flags or variables name the App.
	Name   string
	Owners []string // as the config file has them

	App          Value // client ID or App ID
	Key          Value // path or key URI
	PreviousKey  Value // the one before it, given with it; normally unset
	KeyTimeout   Value // a [time.Duration]; never unset
	Broker       Value // the URL of who has the key
	Identity     Value // the name of an identity; unset: the one that the environment has
	Audience     Value // whom its token is to be for; unset: the broker says so
	Installation Value // ID or address of the settings page; normally unset
	Host         Value // never unset
	APIURL       Value
	APIVersion   Value
	CAFile       Value

	PrivateKey       secret.Text // as PEM
	PrivateKeySource Source

	owners Source
	rights []rights
}

// App chooses an App and returns its settings. Flags and variables decide first:
// --app or GHAPP_APP is the name of an App in the config file, or else the ID of one
// that is not looked for there. Then, among the file's Apps for the host (that of the
// repository, or else of --host or GHAPP_HOST), the one that lists the owner, the
// default, and the only one, in this order.
//
// Each of its settings comes from the strongest source that has it: flag, variable,
// the App in the file, default. An API URL belongs to the host it was given with or
// above: a stronger source with another host sets it aside.
//
// Nothing is taken from the selector, which may come from a stranger: an App is
// never used for another host than its own. The error is an [*Error], and wraps
// [ErrOtherHost] where the host is the reason.
func (c *Config) App(s Selector) (AppSettings, error) {
	host := ""
	if s.Host != "" {
		parsed, err := api.ParseHost(s.Host, "")
		if err != nil {
			return AppSettings{}, &Error{Problems: []Problem{{Text: "the repository's " + err.Error()}}}
		}
		if host = parsed.Name; s.AnyPort {
			host = c.withPort(host)
		}
	}
	app, problem := c.choose(s.Owner, host)
	if problem != nil && !(s.HostOnly && errors.Is(problem, ErrOtherHost)) {
		return AppSettings{}, problem
	}
	a := c.settings(app)
	if own := hostName(a.Host.Text); host != "" && own != host {
		return AppSettings{}, otherHost(Problem{
			Text: fmt.Sprintf("the App is for %s (%s), and the repository is on %s", own, a.Host.Source, host),
			Hint: "if it is an App of that host, pass --host " + host,
		})
	}
	if s.HostOnly {
		return a, nil
	}
	problems := c.missing(a, s.KeyOnly)
	if len(problems) == 0 && !s.KeyOnly && a.Broker.Text == "" && !idPattern().MatchString(a.App.Text) &&
		!strings.Contains(a.App.Text, "/apps/") {
		problems = []Problem{{
			Text: fmt.Sprintf("the App that %s names is neither a client ID (Iv23li…) nor an App ID (a number), "+
				"and there is no config file with an App of that name", a.App.Source.Name),
			Hint: "give the client ID from the top of the App's settings page",
		}}
	}
	if len(problems) > 0 {
		return AppSettings{}, &Error{Problems: problems}
	}
	return a, nil
}

// withPort is the configured host of a name that comes without a port; the name itself where there
// is none. An App that is for it as it is comes first.
func (c *Config) withPort(name string) string {
	hosts := []string{c.given("host").Text}
	for _, a := range c.file.apps {
		hosts = append(hosts, a.host())
	}
	found := name
	for _, text := range hosts {
		host, err := api.ParseHost(text, "")
		switch {
		case err != nil:
		case host.Name == name:
			return name
		case found == name && host.Is(name, true):
			found = host.Name
		}
	}
	return found
}

func otherHost(p Problem) *Error { return &Error{Problems: []Problem{p}, Err: ErrOtherHost} }

// given returns the value of a flag, or else of the variable.
func (c *Config) given(key string) Value {
	if v, ok := c.flags[key]; ok {
		return v
	}
	return c.env[key]
}

// choose returns the App of the file that is meant; one without a name stands for
// flags and variables alone.
func (c *Config) choose(owner, host string) (fileApp, *Error) {
	none := fileApp{}
	fail := func(hint, format string, args ...any) (fileApp, *Error) {
		return none, &Error{Problems: []Problem{{File: c.path.Text, Text: fmt.Sprintf(format, args...), Hint: hint}}}
	}
	all := names(c.file.apps)
	if by := c.given("app"); by.Text != "" {
		app, ok := c.file.app(by.Text)
		if !ok && c.helperLine {
			app, ok = c.appWithID(by.Text, host)
		}
		if !ok && len(all) > 0 && !idPattern().MatchString(by.Text) {
			hint := "give one of these names, or the client ID from the top of the App's settings page"
			if meant := spelling.Nearest(by.Text, all); meant != "" {
				hint = spelling.DidYouMean(meant)
			}
			return fail(hint,
				"%s names no App of this file (%s), and is neither a client ID nor an App ID",
				by.Source.Name, strings.Join(all, ", "))
		}
		return app, nil
	}
	if len(all) == 0 {
		return none, nil
	}
	apps := c.file.apps
	if host == "" && c.given("host").Text != "" {
		host = hostName(c.given("host").Text)
	}
	if host != "" {
		apps = slices.DeleteFunc(slices.Clone(apps), func(a fileApp) bool { return a.host() != host })
	}
	if len(apps) == 0 {
		var with []string
		for _, a := range c.file.apps {
			with = append(with, a.name+" for "+a.host())
		}
		return none, otherHost(Problem{
			File: c.path.Text,
			Text: fmt.Sprintf("no App of this file is for %s (%s)", host, strings.Join(with, ", ")),
			Hint: "add one with host: " + host,
		})
	}
	if owner != "" {
		claims := slices.DeleteFunc(slices.Clone(apps), func(a fileApp) bool { return !a.isFor(owner) })
		switch len(claims) {
		case 0:
		case 1:
			return claims[0], nil
		default:
			return fail("choose one with --app or --host, or give the repository's whole URL",
				"several Apps are for %s, on different hosts: %s", owner, strings.Join(names(claims), ", "))
		}
	}
	if i := slices.IndexFunc(apps, func(a fileApp) bool { return a.name == c.file.def.Text }); i >= 0 {
		return apps[i], nil
	}
	if len(apps) == 1 {
		return apps[0], nil
	}
	if owner == "" {
		return fail("choose one with --app, or set default:", "there are several Apps: %s", strings.Join(names(apps), ", "))
	}
	return fail("choose one with --app, add "+owner+" to its owners, or set default:",
		"there are several Apps, and none lists the owner %s: %s", owner, strings.Join(names(apps), ", "))
}

// appWithID returns the App of the file with a client ID or App ID, on a host or, where
// that is "", on the one that flags and variables name. It is false where there is none, or
// more than one.
func (c *Config) appWithID(id, host string) (fileApp, bool) {
	if host == "" {
		host = hostName(c.given("host").Text)
	}
	apps := slices.DeleteFunc(slices.Clone(c.file.apps),
		func(a fileApp) bool { return a.values["app"].Text != id || a.host() != host })
	if len(apps) != 1 {
		return fileApp{}, false
	}
	return apps[0], true
}

// settings puts the settings of an App together, from all sources.
func (c *Config) settings(app fileApp) AppSettings {
	defaults := map[string]Value{}
	for _, s := range Settings() {
		if s.Default != "" {
			defaults[s.Key] = Value{Text: s.Default, Source: Source{Kind: FromDefault}}
		}
	}
	flags := c.flags
	if _, ok := app.values["key"]; ok && c.helperLine {
		flags = maps.Clone(flags)
		for _, key := range []string{"key", previousKey, "key_timeout"} {
			delete(flags, key)
		}
	}
	layers := []map[string]Value{flags, c.env, app.values, defaults}
	strongest := func(key string, layers []map[string]Value) (Value, int) {
		for i, layer := range layers {
			if v, ok := layer[key]; ok {
				return v, i
			}
		}
		return Value{}, 0
	}
	a := AppSettings{Name: app.name, Owners: slices.Clone(app.owners), owners: app.source, rights: app.rights}
	for _, s := range Settings() {
		field := a.field(s.Key)
		if field == nil {
			continue
		}
		value, layer := strongest(s.Key, layers)
		if s.Key == "api_url" {
			beside, _ := strongest("host", layers[layer:])
			if used, _ := strongest("host", layers); hostName(beside.Text) != hostName(used.Text) {
				value = Value{}
			}
		}
		if s.Key == "key" {
			a.PreviousKey = layers[layer][previousKey] // given with it
		}
		*field = value
	}
	if app.name != "" {
		a.App = app.values["app"] // the flag or the variable was its name
	}
	if a.Key.Source.Kind < FromEnvironment && !c.privateKey.IsZero() {
		a.Key, a.PreviousKey = Value{}, Value{}
		a.PrivateKey, a.PrivateKeySource = c.privateKey, Source{Kind: FromEnvironment, Name: "GHAPP_PRIVATE_KEY"}
	}
	// With --key beside GHAPP_KEY and GHAPP_PRIVATE_KEY, the flag stands.
	return a
}

// field returns the field of a setting, or nil for one that is not an App's, or a
// secret.
func (a *AppSettings) field(key string) *Value {
	switch key {
	case "app":
		return &a.App
	case "key":
		return &a.Key
	case "key_timeout":
		return &a.KeyTimeout
	case "broker":
		return &a.Broker
	case "identity":
		return &a.Identity
	case "audience":
		return &a.Audience
	case "installation":
		return &a.Installation
	case "host":
		return &a.Host
	case "api_url":
		return &a.APIURL
	case "api_version":
		return &a.APIVersion
	case "ca_file":
		return &a.CAFile
	}
	return nil
}

// missing says what an App cannot be used without.
func (c *Config) missing(a AppSettings, keyOnly bool) []Problem {
	if a.Broker.Text != "" {
		return brokered(a, keyOnly)
	}
	noApp := a.App.Text == "" && !keyOnly
	noKey := a.Key.Text == "" && a.PrivateKey.IsZero()
	var problems []Problem
	if noApp && noKey && len(c.empty) == 0 {
		hint := "run `ghapp setup`, or pass --app and --key, or set GHAPP_APP and GHAPP_KEY"
		if c.path.Text != "" {
			hint += ", or write " + c.path.Text
		}
		return []Problem{{Text: "no App is configured", Hint: hint}}
	}
	if noApp {
		problems = append(problems, Problem{
			Text: "the App is missing: " + c.absent("app"),
			Hint: "pass --app with its client ID or App ID, or set GHAPP_APP",
		})
	}
	if noKey {
		p := Problem{
			Text: "the private key is missing: " + c.absent("key", "private_key"),
			Hint: "pass --key with the path of the PEM file, or set GHAPP_KEY, or GHAPP_PRIVATE_KEY with the PEM itself",
		}
		if a.Name != "" {
			p.Text += ", and apps." + a.Name + " of " + c.path.Text + " has no key"
		}
		for _, app := range c.file.apps {
			if a.Name == "" && app.values["app"].Text == a.App.Text {
				p.Hint = "the config file has an App with this ID: pass --app " + app.name
			}
		}
		problems = append(problems, p)
	}
	return problems
}

// absent says of settings that nobody gave where they were looked for. A variable
// that is set but empty is named as such: it is what is left of a secret that a CI
// system does not have, or does not show.
func (c *Config) absent(keys ...string) string {
	var parts []string
	for _, s := range Settings() {
		if !slices.Contains(keys, s.Key) {
			continue
		}
		if s.Flag != "" {
			parts = append(parts, "there is no --"+s.Flag)
		}
		if c.empty[s.Env] {
			parts = append(parts, s.Env+" is set but empty")
		} else {
			parts = append(parts, s.Env+" is not set")
		}
	}
	return strings.Join(parts, ", ")
}

// GitOwners returns the owners that the config file names for the App, in owners and
// in repositories, each as it is written there, in order.
func (a AppSettings) GitOwners() []string { return namedOwners(a.Owners, a.rights) }

func namedOwners(owners []string, rights []rights) []string {
	named := slices.Clone(owners)
	for _, r := range rights {
		if owner, _, ok := strings.Cut(r.of, "/"); ok {
			named = append(named, owner)
		}
	}
	slices.Sort(named)
	return slices.Compact(named)
}

// Hosts returns, for each host that the configuration has an App for, how to reach
// it: with the App where there is one only or where it is named, and without, but for
// the owners of all its Apps, where the owner of a repository decides. The error is that
// of [Config.App].
func (c *Config) Hosts() ([]AppSettings, error) {
	apps := c.file.apps
	if c.given("app").Text != "" || len(apps) < 2 {
		only, err := c.App(Selector{})
		return []AppSettings{only}, err
	}
	host := ""
	if given := c.given("host").Text; given != "" {
		host = hostName(given)
	}
	var list []AppSettings
	for _, app := range apps {
		name := app.host()
		if host != "" && name != host ||
			slices.ContainsFunc(list, func(a AppSettings) bool { return hostName(a.Host.Text) == name }) {
			continue
		}
		if sharing := slices.DeleteFunc(slices.Clone(apps),
			func(other fileApp) bool { return other.host() != name }); len(sharing) > 1 {
			app = shared(sharing)
		}
		list = append(list, c.settings(app))
	}
	if len(list) == 0 {
		_, err := c.App(Selector{})
		return nil, err
	}
	return list, nil
}

// shared is what several Apps say of their one host. Certificate authorities on which
// they do not agree are left out: there is no telling whose are meant.
func shared(apps []fileApp) fileApp {
	one := fileApp{values: map[string]Value{}}
	if host, ok := apps[0].values["host"]; ok {
		one.values["host"] = host
	}
	for _, app := range apps {
		one.owners = append(one.owners, namedOwners(app.owners, app.rights)...)
	}
	for _, app := range apps {
		file, ok := app.values["ca_file"]
		if !ok {
			continue
		}
		if before, ok := one.values["ca_file"]; ok && before.Text != file.Text {
			delete(one.values, "ca_file")
			break
		}
		one.values["ca_file"] = file
	}
	return one
}
