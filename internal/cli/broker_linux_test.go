package cli_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testapp"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/signer"
)

// brokered takes the key away from the machine, and gives it a broker that has it. What proves
// to that who asks is a secret of the machine's from now on.
func (m *machine) brokered() *testapp.Broker {
	m.t.Helper()
	testkit.OK(m.t, os.Remove(m.environ["GHAPP_KEY"]))
	app := testkit.Must(ghapp.New(ghapp.Config{
		Client: ghapp.Client{Host: m.server.URL}, Issuer: m.app.ClientID, Signer: signer.FromCryptoSigner(testkit.Key(m.t)),
	}))(m.t)
	b := testapp.NewBroker(m.t, app)
	proof := b.JWT(m.t, "repo:acme/site", b.URL)
	m.traffic.mu.Lock()
	m.traffic.credentials = append(m.traffic.credentials, proof)
	m.traffic.mu.Unlock()
	maps.DeleteFunc(m.environ, func(name, _ string) bool { return name == "GHAPP_KEY" || name == "GHAPP_APP" })
	m.environ["GHAPP_BROKER"], m.environ["GHAPP_IDENTITY"], m.environ["MY_ID_TOKEN"] = b.URL, "env:MY_ID_TOKEN", proof
	return b
}

func TestMachineWithoutAKeyClonesByABroker(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	b := m.brokered()
	r := m.must("-v", "clone", "acme/site")
	testkit.Equal(t, m.read("site/main.txt"), "main\n")
	m.onlyOurs(2)
	m.noSecretOnDisk()
	m.noSecretIn("the output", r.stdout+r.stderr)
	testkit.Equal(t, len(b.Forms()), 1, "exchanges")

	// Plain git asks the helper, which has what is cached.
	testkit.OK(t, os.Remove(filepath.Join(m.work, "site", "main.txt")))
	var environ []string
	for name, value := range m.environ {
		environ = append(environ, name+"="+value)
	}
	fetched := m.as(environ, "site", "git", "fetch", "origin")
	fetched.ends(t, 0)
	m.must("clone", "acme/site", "again")
	testkit.Equal(t, len(b.Forms()), 1, "exchanges, when the cache has a token")
	testkit.Equal(t, b.Lookups(), 0, "questions for the audience of a token that is there already")

	// No program that is started has what proves who asks.
	env := m.must("exec", "acme/site", "--", "env")
	testkit.Contains(t, env.stdout, "GHAPP_BROKER="+b.URL)
	for _, token := range m.github.Tokens() {
		testkit.Equal(t, token.Revoked, false, "revoked a token that the broker gives to others as well")
	}
	testkit.Lacks(t, env.stdout, "MY_ID_TOKEN=", m.environ["MY_ID_TOKEN"])
}

func TestEveryCommandWorksByABrokerOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.brokered()
	for name, test := range map[string]struct {
		args []string
		says string // of what is printed
	}{
		"token":  {[]string{"token", "acme/site"}, "ghs_"},
		"exec":   {[]string{"exec", "acme/site", "--", "git", "ls-remote", m.server.URL + "/acme/site"}, "refs/heads/main"},
		"repos":  {[]string{"repos", "acme"}, "acme/site"},
		"sync":   {[]string{"sync", "acme/site", "--to", filepath.Join(m.root, "live"), "--branch", "main"}, ""},
		"mirror": {[]string{"mirror", "acme", "--to", filepath.Join(m.root, "mirrors")}, ""},
		"config": {[]string{"config", "show"}, "GHAPP_BROKER"},
	} {
		t.Run(name, func(t *testing.T) {
			r := m.ghapp(test.args...)
			r.ends(t, 0)
			testkit.Contains(t, r.stdout, test.says)
		})
	}
	for _, args := range [][]string{{"jwt"}, {"app", "update-permissions"}, {"installations"}, {"repos"},
		{"keys", "fingerprint"}, {"keys", "check"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			m.ghapp(args...).ends(t, 3, "on this machine", m.environ["GHAPP_BROKER"])
		})
	}
	t.Run("mirror of everybody", func(t *testing.T) {
		m.ghapp("mirror", "--to", filepath.Join(m.root, "all")).ends(t, 3, "does not list owners", "ghapp mirror OWNER")
	})
	m.noSecretOnDisk()
}

func TestBrokerThatRefusesIsTold(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	b := m.brokered()
	m.environ["MY_ID_TOKEN"] = b.JWT(t, "somebody", "https://elsewhere.example")
	m.ghapp("clone", "acme/site").ends(t, 4, "it answered 400 invalid_grant (id d2)", "ghapp doctor")
	m.environ["GHAPP_BROKER"] = "http://127.0.0.1:1"
	m.ghapp("clone", "acme/site").ends(t, 5, "cannot reach 127.0.0.1:1")
	delete(m.environ, "MY_ID_TOKEN")
	m.ghapp("clone", "acme/site").ends(t, 3, "the variable MY_ID_TOKEN is not set", "GHAPP_IDENTITY")
	delete(m.environ, "GHAPP_IDENTITY")
	m.ghapp("clone", "acme/site").ends(t, 3, "nothing here proves who this machine is")
	m.environ["GHAPP_KEY"] = "/k.pem"
	m.ghapp("clone", "acme/site").ends(t, 3, "a broker is named", "and a key as well")
}

// As with a key: whoever looks at the processes and at the disk while a clone runs finds nothing.
func TestNoSecretAnywhereWhileACloneByABrokerRuns(t *testing.T) {
	t.Parallel()
	w := newLargeWorld(t)
	m := w.large(t)
	b := m.brokered()
	c := m.started(moments()["submodule's pack"])
	for _, p := range m.processes() {
		m.noSecretIn("the arguments of "+p.String(), strings.Join(p.args, "\n"))
		if p.pid != c.pid { // the user's own variable is in that
			m.noSecretIn("the environment of "+p.String(), p.environ)
		}
	}
	m.noSecretOnDisk()
	m.traffic.release()
	if c.wait(); c.code != 0 {
		t.Fatalf("exit code %d\n%s", c.code, c.stderr)
	}
	m.complete("deep/large")
	m.noSecretOnDisk()
	m.noSecretIn("the output", c.stdout+c.stderr)
	if len(b.Forms()) == 0 || !slices.Contains(m.secrets(), b.Forms()[0].Get("subject_token")) {
		t.Error("no proof was sent that is looked for, so this test sees nothing")
	}
}

// Of the way by a broker each link that may be broken is found to be the one.
func TestDoctorNamesTheBrokenLinkOfTheWayByABroker(t *testing.T) {
	t.Parallel()
	w := newWorldFor(t)
	for name, test := range map[string]struct {
		prepare           func(*machine, *testapp.Broker)
		link, state, kind string
		says              string
		exit              int
	}{
		"nothing": {prepare: func(*machine, *testapp.Broker) {}},
		"broker down": {func(m *machine, _ *testapp.Broker) { m.environ["GHAPP_BROKER"] = "http://127.0.0.1:1" },
			"broker", broken, "broker-unreachable", "127.0.0.1:1", 5},
		"no identity": {func(m *machine, _ *testapp.Broker) { delete(m.environ, "MY_ID_TOKEN") },
			"identity", broken, "no-identity", "MY_ID_TOKEN is not set", 3},
		"nothing to prove it by": {func(m *machine, _ *testapp.Broker) { delete(m.environ, "GHAPP_IDENTITY") },
			"broker", broken, "no-identity", "nothing here proves who this machine is", 3},
		"wrong audience": {func(m *machine, b *testapp.Broker) {
			m.environ["MY_ID_TOKEN"] = b.JWT(t, "repo:acme/site", "https://elsewhere.example")
		}, "identity", broken, "audience-wrong", "https://elsewhere.example", 3},
		"other audience": {func(m *machine, _ *testapp.Broker) { m.environ["GHAPP_AUDIENCE"] = "other" },
			"broker", warned, "audience-other-than-brokers", "other", 0},
		"refused": {func(_ *machine, b *testapp.Broker) {
			b.RefuseNow(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"error":"invalid_target","id":"d9"}`))
			})
		}, "token", broken, "broker-refused", "(id d9)", 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := w.machine(t)
			b := m.brokered()
			test.prepare(m, b)
			r := m.ghapp("doctor", "acme/site", "--json")
			testkit.Equal(t, r.code, test.exit, "exit code")
			m.noSecretIn("the diagnosis", r.stdout+r.stderr)
			met := false
			for _, f := range m.diagnosis(r).Findings {
				switch {
				case f.Link == test.link:
					met = true
					testkit.Equal(t, f.State+" "+f.Kind, test.state+" "+test.kind)
					testkit.Contains(t, f.Text+f.Cause+f.Hint, test.says)
				case f.State == broken || f.State == warned:
					t.Errorf("%+v", f)
				}
				if test.link == "" && f.Link == "identity" {
					testkit.Contains(t, f.Text, "repo:acme/site by https://issuer.example, for "+b.URL)
				}
			}
			testkit.Equal(t, met, test.link != "", "the link was checked")
			for _, token := range m.github.Tokens() {
				testkit.Equal(t, token.Revoked, false, "revoked a token of the broker's")
			}
		})
	}
}

// What the README says of machines without a key is so, word for word.
func TestReadmeWorksWithoutAKey(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	b := m.brokered()
	text := section(t, "Without a key on the machine")
	proof := filepath.Join(m.root, "ghapp-token")
	m.write(proof, m.environ["MY_ID_TOKEN"])
	for _, name := range []string{"GHAPP_BROKER", "GHAPP_IDENTITY", "MY_ID_TOKEN"} {
		delete(m.environ, name)
	}
	m.environ["GHAPP_KEY"] = proof // the one place on disk where a secret may be
	config := strings.NewReplacer("https://broker.example.com", b.URL, "/var/run/secrets/tokens/ghapp", proof).
		Replace(blocks(t, text, "yaml")[0])
	config = strings.Replace(config, "  ci:\n", "  ci:\n    host: "+m.server.URL+"\n", 1) // which is not github.com here
	m.write(filepath.Join(m.home, ".config/ghapp/config.yaml"), config)
	commands := 0
	for line := range strings.Lines(blocks(t, text, "console")[0]) {
		if line, is := strings.CutPrefix(line, "$ "); is {
			commands++
			environ := []string{}
			for name, value := range m.environ {
				if name != "GHAPP_KEY" {
					environ = append(environ, name+"="+value)
				}
			}
			m.as(environ, ".", "bash", "-ec", line)
		}
	}
	testkit.Equal(t, commands, 3, "commands")
	testkit.Equal(t, m.read("site/main.txt"), "main\n")
	m.noSecretOnDisk()
	for _, name := range identity.Names() {
		kind, _, _ := strings.Cut(name, ":")
		testkit.Contains(t, text, "`"+kind)
	}
}

// One agent answers for several owners, and their tokens come by one broker.
func TestAgentAnswersByABroker(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.app.Install("octo", githubtest.InstallOptions{Repositories: []string{"octo/lib"}})
	b := m.brokered()
	proof := filepath.Join(m.root, "ghapp-token")
	m.write(proof, m.environ["MY_ID_TOKEN"])
	m.environ["GHAPP_KEY"] = proof // the one place on disk where a secret may be
	delete(m.environ, "MY_ID_TOKEN")
	m.write(filepath.Join(m.home, ".config/ghapp/config.yaml"),
		"apps:\n  ci: {broker: "+strconv.Quote(b.URL)+", identity: "+strconv.Quote("file:"+proof)+
			", host: "+strconv.Quote(m.server.URL)+"}\n")
	m.agentRuns()
	repositories := []string{"acme/site", "octo/lib"}
	for range 2 {
		for _, repository := range repositories {
			cmd, out := m.helper("get", repository)
			_ = cmd.Run() // its exit code is in the result
			m.answered(cmd, out)
		}
	}
	testkit.Equal(t, len(b.Forms()), len(repositories), "exchanges")
	testkit.Equal(t, len(m.status().Tokens), len(repositories), "tokens that the agent holds")
	m.noSecretOnDisk()
}
