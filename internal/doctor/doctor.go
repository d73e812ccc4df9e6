// Package doctor walks the way from a GitHub App's key to a clone link by link, with the
// code that the commands use, and says of each link how it is: what was seen, and where
// it is not as it should be, one cause and one hint. A link that is broken stops those
// that need it, and no others.
package doctor

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/ghapp-dev/ghapp"
	"github.com/ghapp-dev/ghapp/broker"
	"github.com/ghapp-dev/ghapp/broker/identity"
	"github.com/ghapp-dev/ghapp/internal/api"
	"github.com/ghapp-dev/ghapp/internal/childenv"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/gitcmd"
	"github.com/ghapp-dev/ghapp/internal/gitsetup"
	"github.com/ghapp-dev/ghapp/internal/scrub"
	"github.com/ghapp-dev/ghapp/internal/text"
	"github.com/ghapp-dev/ghapp/signer"
)

// Options is what is examined, and how the commands come by it. All functions are
// needed.
type Options struct {
	// Version is that of ghapp.
	Version string
	// Environ is the user's environment, as os.Environ has it.
	Environ []string
	// Own are secrets in Environ that no program gets which is started.
	Own childenv.Own
	// Repository is examined; the zero one: what can be told without.
	Repository ghapp.RepositoryName
	// Wiki says that the wiki of Repository is meant, which is tried as well.
	Wiki bool
	// Origin is that of the current directory's remote. It is examined where there is no
	// Repository and the configuration has an App for its host. It may be zero.
	Origin ghapp.RepositoryName

	// Load reads the configuration, Key the private key of an App, and Reach says how
	// to reach its host.
	Load  func() (*config.Config, error)
	Key   func(context.Context, config.AppSettings) (signer.Signer, error)
	Reach func(config.AppSettings) (ghapp.Config, error)
	// Broker is the client of the broker that has an App's key, and who asks it.
	Broker func(config.AppSettings, ghapp.Config) (*broker.Client, *identity.Identity, error)
	// KeyBefore opens the key before the newest one, which serves while GitHub refuses
	// that; nil: there is none.
	KeyBefore func(config.AppSettings) func(context.Context) (ghapp.Signer, error)
	// Cache opens the cache of tokens and says where it is. A nil Store without an error
	// is none.
	Cache func() (ghapp.Store, string, error)
	// Entries are what git has configured, and Netrc the logins of .netrc for an origin.
	Entries func(context.Context) ([]gitsetup.Entry, error)
	Netrc   func(origin string) []gitsetup.Conflict
	// Agent asks the user's agent. Its error wraps agentproto.ErrUnavailable where there is
	// none.
	Agent func(context.Context) (AgentReport, error)

	// Names learns whose names have been seen. It may be nil.
	Names *Names
	// Tell is given each finding as soon as it is there.
	Tell func(Finding)
	// Waits is told of each link that takes long to check, while it is checked, from a
	// goroutine of its own. It may be nil.
	Waits func(link string)
}

// examination is one run.
type examination struct {
	Options
	// git runs outside of all repositories: what is configured in this directory may be a
	// stranger's, an alias as well.
	git    *gitcmd.Runner
	names  *Names
	loaded *config.Config
	store  ghapp.Store // may be nil
	apps   []*appChain
	hosts  []*hostChain
}

// Examine walks all links and tells what it finds. It returns the exit code of the first
// one that is broken, and 0 where none is. The error is that of ctx alone.
func Examine(ctx context.Context, o Options) (exitCode int, err error) {
	x := &examination{Options: o, git: outside(o), names: o.Names}
	if x.names == nil {
		x.names = &Names{}
	}
	var secrets scrub.Scrubber // what a server or a program says may hold one
	x.Tell = func(f Finding) {
		if f.State == Broken && exitCode == 0 {
			exitCode = f.ExitCode
		}
		// Names and messages come from servers, files and programs.
		for _, told := range []*string{&f.Text, &f.Cause, &f.Hint, &f.Request} {
			*told = text.Printable(secrets.String(*told))
		}
		o.Tell(f)
	}
	x.names.home(x.variable("HOME"))
	for _, r := range []ghapp.RepositoryName{o.Repository, o.Origin} {
		x.names.repository(r.String())
		x.names.address(r.Host)
	}
	x.walk(ctx)
	if ctx.Err() != nil {
		return exitCode, context.Cause(ctx)
	}
	return exitCode, nil
}

// outside runs git in the root directory.
func outside(o Options) *gitcmd.Runner {
	return &gitcmd.Runner{Dir: string(os.PathSeparator), NoBare: true, Environ: o.Environ, Own: o.Own}
}

func (x *examination) tell(f Finding) { x.Tell(f) }

// walk is the order of the links.
func (x *examination) walk(ctx context.Context) {
	machine := x.chain("")
	machine.walk(ctx, link{name: "ghapp", check: func(context.Context) Finding {
		return ok("%s, %s/%s", x.Version, runtime.GOOS, runtime.GOARCH)
	}})
	machine.walk(ctx, x.programs()...)
	machine.walk(ctx, link{name: linkConfiguration, check: x.checkConfiguration}, link{name: "cache", check: x.checkCache})
	if len(x.apps) == 0 {
		x.walkWithoutApp(ctx, machine)
	}
	for _, a := range x.apps {
		x.prepare(a, machine)
	}
	for _, a := range x.apps {
		defer a.end(ctx)
		x.walkApp(ctx, a)
	}
	for _, h := range x.hosts {
		h.walk(ctx, h.machineLinks(ctx)...)
	}
	for _, a := range x.apps {
		a.after(a.host.chain) // what stands in the way of plain git is known by now
		a.walk(ctx, a.plainLinks(ctx)...)
	}
	machine.walk(ctx, link{name: "agent", check: x.checkAgent})
}

// walkWithoutApp shows the way to the hosts that an App would be used on. What git has
// configured for them is looked at later, as for those of Apps.
func (x *examination) walkWithoutApp(ctx context.Context, machine *chain) {
	for _, settings := range x.hostsAlone(ctx) {
		h := x.hostOf(settings, machine)
		if h.walked {
			continue
		}
		h.walked = true
		h.walk(ctx, h.networkLinks()...)
		h.walk(ctx, h.gitHostLink())
	}
}

// hostsAlone are the settings of hosts for which there is no App that can be used: the one of
// the repository, or of the current directory's where git asks ghapp for that, those of the Apps
// that lack something, and else the one that is configured.
func (x *examination) hostsAlone(ctx context.Context) []config.AppSettings {
	r := x.Repository
	if r.Name == "" && x.isCloned(ctx, x.Origin) {
		r = x.Origin
	}
	switch {
	case x.loaded == nil && r.Host == "":
		return nil // which one it would be, the configuration says, and cannot be read
	case x.loaded == nil:
		return []config.AppSettings{{Host: config.Value{Text: r.Host}}}
	}
	settings, err := x.loaded.App(config.Selector{Owner: r.Owner, Host: r.Host, AnyPort: r.AnyPort, HostOnly: true})
	switch {
	case err == nil:
		return []config.AppSettings{settings}
	case x.Repository.Host != "":
		return nil // no App is for it, which is all that there is to say
	case r.Host != "":
		return []config.AppSettings{{Host: config.Value{Text: r.Host}}}
	}
	var list []config.AppSettings
	for settings, _ := range x.loaded.Each() { // what is missing was said of the configuration
		if settings.Host.Text != "" {
			list = append(list, settings)
		}
	}
	return list
}

// isCloned reports whether git is to ask ghapp for the host of a repository, as in a clone that
// ghapp has made.
func (x *examination) isCloned(ctx context.Context, r ghapp.RepositoryName) bool {
	host, err := api.ParseHost(r.Host, "")
	if r.Name == "" || err != nil {
		return false
	}
	entries, err := x.Entries(ctx)
	return err == nil && asksUs(entries, host.Origin) != nil
}

// prepare gives an App its chain and its host.
func (x *examination) prepare(a *appChain, machine *chain) {
	about := ""
	if len(x.apps) > 1 {
		about = a.settings.Name
	}
	a.chain = x.chain(about, machine)
	a.host = x.hostOf(a.settings, machine)
}

// hostOf is the host of an App, which is examined once for all Apps that reach it in
// the same way.
func (x *examination) hostOf(settings config.AppSettings, machine *chain) *hostChain {
	for _, h := range x.hosts {
		if h.settings.Host.Text == settings.Host.Text && h.settings.APIURL.Text == settings.APIURL.Text &&
			h.settings.CAFile.Text == settings.CAFile.Text {
			return h
		}
	}
	h := &hostChain{x: x, settings: settings, chain: x.chain("", machine)}
	if host, err := api.ParseHost(settings.Host.Text, settings.APIURL.Text); err == nil {
		x.names.address(host.Name)
		x.names.url(host.API)
	}
	x.hosts = append(x.hosts, h)
	if len(x.hosts) > 1 {
		for _, h := range x.hosts {
			h.about = h.settings.Host.Text
		}
	}
	return h
}

// hostChain is a host: the way to its API and to its git service.
type hostChain struct {
	*chain
	x        *examination
	settings config.AppSettings // of the first App that is on it
	walked   bool

	reach ghapp.Config
	host  api.Host
	probe *probe
}

// walkApp is the chain of one App, with that of its host where its place is.
func (x *examination) walkApp(ctx context.Context, a *appChain) {
	a.walk(ctx, link{name: "settings", check: a.checkSettings})
	if a.brokered() {
		a.walk(ctx, a.brokerLinks()...)
	} else {
		a.walk(ctx, a.keyLinks()...)
	}
	if !a.host.walked {
		a.host.walked = true
		a.host.walk(ctx, a.host.networkLinks()...)
		a.host.walk(ctx, a.host.gitHostLink())
	}
	a.after(a.host.chain)
	if a.brokered() {
		a.walk(ctx, a.brokeredLinks()...)
		return
	}
	a.walk(ctx, a.appLinks()...)
	a.walk(ctx, a.tokenLinks()...)
}

// lookup is a variable of the user's environment, as os.LookupEnv has it.
func (x *examination) lookup(name string) (string, bool) {
	for _, entry := range slices.Backward(x.Environ) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// variable is a variable of the user's environment, or "".
func (x *examination) variable(name string) string {
	value, _ := x.lookup(name)
	return value
}
