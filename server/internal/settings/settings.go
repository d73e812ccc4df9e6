// Package settings reads ghapp-server.yaml, as strictly as a policy.
package settings

import (
	"bytes"

	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/strictyaml"
)

// Settings are what a server is told before it starts. Paths are absolute.
type Settings struct {
	Path string // of the file

	// Listen is host:port, or unix: and the path of a socket.
	Listen string
	TLS    TLS
	// Audience is what callers' tokens have to be for: the address of the door.
	Audience string
	// Issuers and TrustDomains are who vouches for callers. There is one at least.
	Issuers      []caller.Issuer
	TrustDomains []caller.TrustDomain
	// Policy is the path of the policy.
	Policy string
	Audit  Audit
	NATS   NATS
	// Control is the path of the socket for operators' orders.
	Control string
	// Status is host:port of metrics and health. Empty: they are not served.
	Status string
	// StatusToken is the path of what a person needs to see at Status who was refused. Empty: nobody
	// sees it.
	StatusToken string
}

// DefaultControl is where orders are taken where the file says nothing else.
const DefaultControl = "/run/ghapp-server/control"

// TLS is how the door is reached.
type TLS struct {
	// Proxy says that something before the door ends TLS, and is at one of these addresses.
	Proxy   bool
	Proxies []netip.Prefix
	// Certificate and Key are paths of PEM files. Both are empty with Proxy, and with a socket.
	Certificate, Key string
}

// Audit is where records go: to one place.
type Audit struct {
	File       string
	Stdout     bool
	Syslog     string
	Receiver   string // a URL
	BearerFile string // with what to authorize there; may be empty
	// Claims are the names of those that records have.
	Claims []string
}

// NATS is what several servers share. The zero value is none of it: this process alone.
type NATS struct {
	URL                  string
	Certificate, Key, CA string
	Credentials          string
	// SealKey is a path or a key URI: what is shared is sealed with it.
	SealKey string
}

// Read reads the settings. The error is a [*config.Error], with the line of everything that
// is wrong. The Apps in the file are read too, to see whether they can be used.
func Read(path string) (*Settings, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	data, err := strictyaml.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &Settings{Path: path, Control: DefaultControl, Audit: Audit{Claims: defaultClaims()}}
	if err := strictyaml.Parse(path, data, s.read); err != nil {
		return nil, err
	}
	_, err = appsIn(path, data)
	return s, err
}

// Apps reads the Apps of the file as it is now.
func (s *Settings) Apps() (*config.Config, error) {
	data, err := strictyaml.ReadFile(s.Path)
	if err != nil {
		return nil, err
	}
	return appsIn(s.Path, data)
}

// appsIn reads the section apps, which is that of ghapp's own config file. All other lines are
// left blank, so that those of the section keep their numbers.
func appsIn(path string, data []byte) (*config.Config, error) {
	lines, in := bytes.Split(data, []byte("\n")), false
	for i, line := range lines {
		if len(line) > 0 && line[0] != ' ' && line[0] != '#' && line[0] != '-' {
			in = bytes.HasPrefix(line, []byte("apps:")) || bytes.HasPrefix(line, []byte("default:"))
		}
		if !in {
			lines[i] = nil
		}
	}
	home, _ := os.UserHomeDir() // without one, a path with ~ is refused
	loaded, err := config.Parse(path, bytes.Join(lines, []byte("\n")), home)
	if err == nil && len(loaded.Apps()) == 0 {
		return nil, &config.Error{Problems: []config.Problem{{File: path, Text: "there is no App in the section apps",
			Hint: "write apps: at the beginning of a line, and each App below it"}}}
	}
	return loaded, err
}

// defaultClaims are those of the issuers that are in use which say who somebody is.
func defaultClaims() []string {
	return []string{
		"repository", "repository_id", "repository_owner_id", "ref", "event_name", "environment", "run_id", "run_attempt",
		"job_workflow_ref", "actor", "actor_id", "project_path", "project_id", "pipeline_id", "job_id", "organization_slug",
		"pipeline_slug", "build_number", "email",
	}
}

func (s *Settings) read(root strictyaml.Value) {
	var apps bool
	root.Keys(map[string]func(strictyaml.Value){
		"listen":        func(v strictyaml.Value) { s.Listen = address(v, true) },
		"tls":           func(v strictyaml.Value) { s.TLS = s.tls(v) },
		"audience":      func(v strictyaml.Value) { s.Audience = v.Text() },
		"issuers":       func(v strictyaml.Value) { s.issuers(v) },
		"trust-domains": func(v strictyaml.Value) { s.trustDomains(v) },
		"apps":          func(v strictyaml.Value) { apps = v.IsMapping() },
		"default":       func(v strictyaml.Value) { v.Text() },
		"policy":        func(v strictyaml.Value) { s.Policy = s.file(v) },
		"audit":         func(v strictyaml.Value) { s.audit(v) },
		"nats":          func(v strictyaml.Value) { s.nats(v) },
		"control":       func(v strictyaml.Value) { s.Control = s.file(v) },
		"status":        func(v strictyaml.Value) { s.Status = address(v, false) },
		"status-token":  func(v strictyaml.Value) { s.StatusToken = s.file(v) },
	})
	socket := strings.HasPrefix(s.Listen, "unix:")
	for _, missing := range []struct {
		is         bool
		text, hint string
	}{
		{s.Listen == "", "the door has no address", "add listen:, such as 0.0.0.0:8443"},
		{s.Audience == "", "there is no audience", "add audience: with the address by which callers know the door"},
		{len(s.Issuers)+len(s.TrustDomains) == 0, "nobody vouches for callers", "add issuers:"},
		{!apps, "there is no App", "add apps:, as in ghapp's config file"},
		{s.Policy == "", "there is no policy", "add policy: with its path"},
		{s.Audit.places() != 1, "the audit needs one place", "add audit: {file: /var/log/ghapp-server/audit.jsonl}"},
		{!socket && !s.TLS.Proxy && s.TLS.Certificate == "", "the door has no TLS",
			"add tls: with certificate and key, or with proxies, if something before it ends TLS"},
		{s.StatusToken != "" && s.Status == "", "the token of the status is for nothing",
			"add status:, such as 127.0.0.1:9090"},
		{socket && (s.TLS.Proxy || s.TLS.Certificate != ""), "a socket has no TLS", "leave tls: out"},
	} {
		if missing.is && root.Count() == 0 {
			root.Problem(missing.hint, "%s", missing.text)
		}
	}
}

func (s *Settings) tls(v strictyaml.Value) TLS {
	var t TLS
	v.Keys(map[string]func(strictyaml.Value){
		"certificate": func(v strictyaml.Value) { t.Certificate = s.file(v) },
		"key":         func(v strictyaml.Value) { t.Key = s.file(v) },
		"proxies":     func(v strictyaml.Value) { t.Proxy, t.Proxies = true, prefixes(v) },
	})
	if (t.Certificate == "") != (t.Key == "") {
		v.Problem("", "certificate and key go together")
	}
	if t.Proxy && t.Certificate != "" {
		v.Problem("", "either the door has a certificate, or what is before it")
	}
	return t
}

func (s *Settings) issuers(v strictyaml.Value) {
	for _, item := range v.Items() {
		if !item.IsMapping() {
			s.Issuers = append(s.Issuers, caller.Issuer{URL: item.Text()})
			continue
		}
		var i caller.Issuer
		item.Keys(map[string]func(strictyaml.Value){
			"url":       func(v strictyaml.Value) { i.URL = v.Text() },
			"keys-url":  func(v strictyaml.Value) { i.KeysURL = v.Text() },
			"ca-file":   func(v strictyaml.Value) { i.CAFile = s.file(v) },
			"addresses": func(v strictyaml.Value) { i.Addresses = prefixes(v) },
		})
		if i.URL == "" {
			item.Problem("add url:", "the issuer has no address")
		}
		s.Issuers = append(s.Issuers, i)
	}
}

func (s *Settings) trustDomains(v strictyaml.Value) {
	for _, item := range v.Items() {
		var d caller.TrustDomain
		item.Keys(map[string]func(strictyaml.Value){
			"name":    func(v strictyaml.Value) { d.Name = v.Text() },
			"ca-file": func(v strictyaml.Value) { d.CAFile = s.file(v) },
		})
		if d.Name == "" || d.CAFile == "" {
			item.Problem("", "want name and ca-file")
		}
		s.TrustDomains = append(s.TrustDomains, d)
	}
}

func (s *Settings) audit(v strictyaml.Value) {
	v.Keys(map[string]func(strictyaml.Value){
		"file":        func(v strictyaml.Value) { s.Audit.File = s.file(v) },
		"stdout":      func(v strictyaml.Value) { s.Audit.Stdout = v.Bool() },
		"syslog":      func(v strictyaml.Value) { s.Audit.Syslog = v.Text() },
		"receiver":    func(v strictyaml.Value) { s.Audit.Receiver = v.Text() },
		"bearer-file": func(v strictyaml.Value) { s.Audit.BearerFile = s.file(v) },
		"claims":      func(v strictyaml.Value) { s.Audit.Claims = v.Texts() },
	})
	if s.Audit.BearerFile != "" && s.Audit.Receiver == "" {
		v.Problem("", "bearer-file is for a receiver")
	}
}

// places is how many places the audit has.
func (a Audit) places() (n int) {
	for _, is := range []bool{a.File != "", a.Stdout, a.Syslog != "", a.Receiver != ""} {
		if is {
			n++
		}
	}
	return n
}

func (s *Settings) nats(v strictyaml.Value) {
	n := &s.NATS
	v.Keys(map[string]func(strictyaml.Value){
		"url":         func(v strictyaml.Value) { n.URL = v.Text() },
		"certificate": func(v strictyaml.Value) { n.Certificate = s.file(v) },
		"key":         func(v strictyaml.Value) { n.Key = s.file(v) },
		"ca-file":     func(v strictyaml.Value) { n.CA = s.file(v) },
		"credentials": func(v strictyaml.Value) { n.Credentials = s.file(v) },
		"seal-key":    func(v strictyaml.Value) { n.SealKey = v.Text() },
	})
	switch {
	case n.URL == "":
		v.Problem("add url:", "there is no address of NATS")
	case n.SealKey == "":
		v.Problem("add seal-key: with a path or a key URI", "what is shared over NATS is sealed, and with nothing")
	case (n.Certificate == "") != (n.Key == ""):
		v.Problem("", "certificate and key go together")
	}
}

// file is a path, which is taken from the directory of the settings.
func (s *Settings) file(v strictyaml.Value) string {
	path := v.Text()
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(s.Path), path)
}

// address is host:port, or the path of a socket where that may be.
func address(v strictyaml.Value, socket bool) string {
	text := v.Text()
	if path, ok := strings.CutPrefix(text, "unix:"); ok && socket {
		if !filepath.IsAbs(path) {
			v.Problem("", "want unix: and an absolute path")
		}
		return text
	}
	if _, port, err := net.SplitHostPort(text); text != "" && (err != nil || port == "") {
		v.Problem("", "want HOST:PORT, such as 127.0.0.1:9090")
	}
	return text
}

func prefixes(v strictyaml.Value) []netip.Prefix {
	var list []netip.Prefix
	for _, item := range v.Items() {
		text := item.Text()
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			var one netip.Addr
			if one, err = netip.ParseAddr(text); err == nil {
				prefix, err = one.Prefix(one.BitLen())
			}
		}
		if err != nil {
			item.Problem("", "want an address, such as 10.0.0.1, or several, such as 10.0.0.0/8")
			continue
		}
		list = append(list, prefix)
	}
	return list
}
