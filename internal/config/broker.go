package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ofBroker reports whether a setting is about a broker.
func ofBroker(key string) bool { return key == "broker" || key == "identity" || key == "audience" }

// completeIdentity completes the path in the name of an identity, as [CompleteKey] does in a key.
func completeIdentity(name, dir, home string) (string, error) {
	kind, path, _ := strings.Cut(name, ":")
	if kind == "exec" {
		return CompleteKey(name, dir, home)
	}
	path, err := complete(path, dir, home)
	return kind + ":" + path, err
}

const hintBrokerDecides = "leave one of them out: a broker has the key, and decides about the App by who asks " +
	"and for what"

// brokered says what is wrong with an App whose key a broker has.
func brokered(a AppSettings, keyOnly bool) []Problem {
	if keyOnly {
		return []Problem{{
			Text: fmt.Sprintf("there is no key on this machine: the broker %s (%s) has it", a.Broker.Text, a.Broker.Source),
			Hint: "run this where the key is",
		}}
	}
	key := a.Key.Source
	if !a.PrivateKey.IsZero() {
		key = a.PrivateKeySource
	}
	var problems []Problem
	for _, other := range []struct {
		what   string
		source Source
	}{{"a key", key}, {"an App", a.App.Source}, {"an installation", a.Installation.Source}} {
		if other.source.Kind > FromDefault {
			problems = append(problems, Problem{
				Text: fmt.Sprintf("a broker is named (%s) and %s as well (%s)", a.Broker.Source, other.what, other.source),
				Hint: hintBrokerDecides,
			})
		}
	}
	return problems
}

// checkBrokered refuses what an App of the file cannot have beside a broker.
func (p *parser) checkBrokered(app *yaml.Node, where string) {
	for _, key := range []string{"app", "key", "key_timeout", "installation"} {
		if node := valueOfKey(app, key); node != nil {
			p.problem(node.Line, hintBrokerDecides, "%s has a broker and %s as well", where, key)
		}
	}
}

// Identities are the names of identities by which brokers are asked, whether they are used or
// not; "" is the one that the environment has.
func (c *Config) Identities() []string {
	given := c.given("identity").Text
	var names []string
	if c.given("broker").Text != "" {
		names = append(names, given)
	}
	for _, app := range c.file.apps {
		if app.values["broker"].Text != "" {
			names = append(names, app.values["identity"].Text)
			if given != "" {
				names = append(names, given)
			}
		}
	}
	return names
}
