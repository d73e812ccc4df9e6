package apps_test

import (
	"testing"

	"github.com/ghapp-dev/ghapp/credential"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/credcache"
)

// A variable that the configuration reads and a question does not hold would have one
// App's answer given for another's; one that no question may hold would have none kept.
func TestQuestionsHoldTheVariablesOfTheConfiguration(t *testing.T) {
	asked := &credential.Credential{Protocol: "https", Host: "github.com", Path: "acme/site.git"}
	plain, ok := credcache.Ask(nil, nil, asked)
	if !ok {
		t.Fatal("it is no question")
	}
	for _, s := range config.Settings() {
		q, ok := credcache.Ask(nil, []string{s.Env + "=/x"}, asked)
		if want := s.Key != "private_key"; ok != want {
			t.Errorf("with %s it is a question: %t, want %t", s.Env, ok, want)
		} else if ok && q.Name() == plain.Name() {
			t.Errorf("%s makes it no other question", s.Env)
		}
	}
}
