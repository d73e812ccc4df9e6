package servercli_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"

	"github.com/ghapp-dev/ghapp/internal/agent"
	"github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/server/internal/caller"
	"github.com/ghapp-dev/ghapp/server/internal/policy"
	"github.com/ghapp-dev/ghapp/server/internal/settings"
)

// systemd finds nothing in the unit that it does not know or would not do, and little that the
// service could do and need not. (Its scale goes to 10; 2 leaves room for later versions.)
func TestUnitIsTakenBySystemd(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	const program = "/usr/local/bin/ghapp-server"
	text := string(testkit.Must(os.ReadFile("../../../docs/ghapp-server.service"))(t))
	testkit.Contains(t, text, "\nExecStart="+program+" run --config ")
	unit := filepath.Join(t.TempDir(), "ghapp-server.service")
	here := testkit.Must(os.Executable())(t) // any program that is there
	testkit.OK(t, os.WriteFile(unit, []byte(strings.ReplaceAll(text, program, here)), 0o644))
	for _, args := range [][]string{
		{"verify", "--man=no", unit}, {"security", "--offline=true", "--no-pager", "--threshold=20", unit},
	} {
		out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

// object is one of a manifest, as far as it is looked at here.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Replicas       int
		MaxUnavailable int `yaml:"maxUnavailable"`
		Selector       map[string]any
		Ports          []struct {
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
	}
}

type pod struct {
	SecurityContext struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
	} `yaml:"securityContext"`
	Token      *bool `yaml:"automountServiceAccountToken"`
	Containers []struct {
		Args  []string
		Env   []struct{ Name, Value string }
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		Startup         probe `yaml:"startupProbe"`
		Readiness       probe `yaml:"readinessProbe"`
		Liveness        probe `yaml:"livenessProbe"`
		SecurityContext struct {
			ReadOnly bool  `yaml:"readOnlyRootFilesystem"`
			Escalate *bool `yaml:"allowPrivilegeEscalation"`
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	Volumes []volume
}

type volume struct {
	Name      string
	Projected struct {
		Sources []struct {
			Token struct{ Audience string } `yaml:"serviceAccountToken"`
		}
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func manifest(t *testing.T) map[string]object {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(testkit.Must(os.ReadFile("../../../docs/kubernetes-server.yaml"))(t)))
	objects := map[string]object{}
	for {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		testkit.OK(t, err)
		objects[o.Kind+" "+o.Metadata.Name] = o
	}
}

// port is that of a container's name.
func (p pod) port(name string) int {
	for _, one := range p.Containers[0].Ports {
		if one.Name == name {
			return one.ContainerPort
		}
	}
	return 0
}

// mounted is the name of the volume that a path is in; "" is none.
func (p pod) mounted(file string) (volume string, readOnly bool) {
	for _, m := range p.Containers[0].VolumeMounts {
		if path.Dir(file) == m.MountPath || strings.HasPrefix(file, m.MountPath+"/") {
			return m.Name, m.ReadOnly
		}
	}
	return "", false
}

// certificate puts one into a directory, which is its own authority.
func certificate(t *testing.T, dir string) {
	t.Helper()
	shown := httptest.NewTLSServer(nil)
	defer shown.Close()
	pair := shown.TLS.Certificates[0]
	key := testkit.Must(x509.MarshalPKCS8PrivateKey(pair.PrivateKey))(t)
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	for name, text := range map[string][]byte{
		"tls.crt": public, "ca.crt": public, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	} {
		testkit.OK(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
}

// The settings and the policy of the manifest are taken, name nothing that no volume brings, and
// give the caller in it what it asks for.
func TestManifestHasSettingsThatAreTaken(t *testing.T) {
	t.Parallel()
	objects := manifest(t)
	p := objects["Deployment ghapp-server"].Spec.Template.Spec
	file, ok := strings.CutPrefix(p.Containers[0].Args[1], "--config=")
	testkit.Equal(t, ok && p.Containers[0].Args[0] == "run", true)
	data := objects["ConfigMap ghapp-server"].Data
	settingsFile := filepath.Join(t.TempDir(), path.Base(file))
	testkit.OK(t, os.WriteFile(settingsFile, []byte(data[path.Base(file)]), 0o600))
	s := testkit.Must(settings.Read(settingsFile))(t)
	app := testkit.Must(testkit.Must(s.Apps())(t).App(config.Selector{Owner: "acme"}))(t)
	for file, volume := range map[string]string{
		app.Key.Text: "keys", file: "config", s.Policy: "config", s.TLS.Certificate: "tls", s.TLS.Key: "tls",
		s.NATS.Certificate: "nats",
		s.NATS.Key:         "nats", s.NATS.CA: "nats", s.NATS.SealKey: "keys", s.Issuers[1].CAFile: "cluster",
	} {
		got, readOnly := p.mounted(file)
		testkit.Equal(t, got, volume, file)
		testkit.Equal(t, readOnly, true, file)
	}
	got, readOnly := p.mounted(s.Control)
	testkit.Equal(t, got == "run" && !readOnly, true, "the socket for orders cannot be made")
	testkit.Equal(t, s.Listen, "0.0.0.0:"+strconv.Itoa(p.port("door")))
	testkit.Equal(t, s.Status, "0.0.0.0:"+strconv.Itoa(p.port("status")))
	testkit.Equal(t, s.Audit.Stdout, true)
	for _, one := range []probe{p.Containers[0].Startup, p.Containers[0].Readiness} {
		testkit.Equal(t, one.HTTPGet.Path, "/readyz")
		testkit.Equal(t, one.HTTPGet.Port, "status")
	}
	testkit.Equal(t, p.Containers[0].Liveness.HTTPGet.Path, "/healthz")

	rules := testkit.Must(policy.Parse(path.Base(s.Policy), []byte(data[path.Base(s.Policy)]), s.Audience))(t)
	c := caller.Caller{
		Issuer: s.Issuers[1].URL, Subject: "system:serviceaccount:ghapp:nightly",
		Claims: map[string]any{"iss": s.Issuers[1].URL, "sub": "system:serviceaccount:ghapp:nightly",
			"aud": s.Audience},
	}
	grant := testkit.Must(rules.Decide(c, policy.Ask{Owner: "acme", Repositories: []string{"acme/site"}}))(t)
	testkit.Equal(t, grant.Permissions.String(), "contents:read")
	job := objects["Job nightly"].Spec.Template.Spec
	testkit.Equal(t, job.Volumes[0].Projected.Sources[0].Token.Audience, s.Audience)
	variables := map[string]string{}
	for _, e := range job.Containers[0].Env {
		variables[e.Name] = e.Value
	}
	testkit.Equal(t, variables["GHAPP_BROKER"], s.Audience)
	volume, _ := job.mounted(strings.TrimPrefix(variables["GHAPP_IDENTITY"], "file:"))
	testkit.Equal(t, volume, "identity")
}

// There are three of each, of which one may be stopped, and none could become root.
func TestManifestRunsThreeOfEach(t *testing.T) {
	t.Parallel()
	objects := manifest(t)
	for _, kind := range []string{"Deployment ghapp-server", "StatefulSet nats"} {
		o := objects[kind]
		name, p := o.Metadata.Name, o.Spec.Template.Spec
		testkit.Equal(t, o.Spec.Replicas, 3, kind)
		testkit.Equal(t, objects["PodDisruptionBudget "+name].Spec.MaxUnavailable, 1, kind)
		labels := o.Spec.Template.Metadata.Labels
		testkit.Equal(t, labels["app.kubernetes.io/name"], name)
		testkit.Equal(t, objects["Service "+name].Spec.Selector["app.kubernetes.io/name"] == name, true, kind)
		testkit.Equal(t, p.SecurityContext.RunAsNonRoot && p.Token != nil && !*p.Token, true, kind)
		c := p.Containers[0]
		testkit.Equal(t, c.SecurityContext.ReadOnly && c.SecurityContext.Escalate != nil && !*c.SecurityContext.Escalate,
			true, kind)
		for _, m := range c.VolumeMounts {
			known := slices.ContainsFunc(p.Volumes, func(v volume) bool { return v.Name == m.Name })
			testkit.Equal(t, known || m.Name == "data", true, m.Name)
		}
		for _, one := range []probe{c.Startup, c.Readiness, c.Liveness} {
			testkit.Equal(t, p.port(one.HTTPGet.Port) > 0, true, one.HTTPGet.Path)
		}
	}
	for _, port := range objects["Service ghapp-server"].Spec.Ports {
		testkit.Equal(t, port.TargetPort, "door", "the status is not for everybody in the cluster")
	}
}

// nats-server takes its configuration, wants certificates of whoever comes, and knows all of the
// cluster; the addresses in the settings are those of its pods.
func TestManifestHasANATSThatWantsCertificates(t *testing.T) {
	objects := manifest(t)
	dir := t.TempDir()
	certificate(t, dir)
	t.Setenv("POD_NAME", "nats-0")
	text := strings.ReplaceAll(objects["ConfigMap nats"].Data["nats.conf"], "/etc/nats-tls", dir)
	file := filepath.Join(dir, "nats.conf")
	testkit.OK(t, os.WriteFile(file, []byte(text), 0o600))
	o := testkit.Must(server.ProcessConfigFile(file))(t)
	p := objects["StatefulSet nats"].Spec.Template.Spec
	testkit.Equal(t, o.ServerName, "nats-0")
	testkit.Equal(t, o.Port, p.port("client"))
	testkit.Equal(t, o.Cluster.Port, p.port("cluster"))
	testkit.Equal(t, o.HTTPPort, p.port("monitor"))
	for _, c := range []*tls.Config{o.TLSConfig, o.Cluster.TLSConfig} {
		testkit.Equal(t, c != nil && c.ClientAuth == tls.RequireAndVerifyClientCert && c.ClientCAs != nil, true)
	}
	testkit.Equal(t, o.JetStream, true)
	volume, readOnly := p.mounted(o.StoreDir + "/jetstream")
	testkit.Equal(t, volume == "data" && !readOnly, true)
	var routes, clients []string
	for _, r := range o.Routes {
		routes = append(routes, r.Hostname())
		clients = append(clients, "tls://"+r.Hostname()+":"+strconv.Itoa(o.Port))
	}
	testkit.Diff(t, routes, []string{"nats-0.nats", "nats-1.nats", "nats-2.nats"})
	testkit.Contains(t, objects["ConfigMap ghapp-server"].Data["ghapp-server.yaml"],
		"url: "+strings.Join(clients, ",")+"\n")
	if o.Cluster.Name == "" || o.JetStreamMaxStore <= 0 || o.JetStreamMaxMemory <= 0 {
		t.Errorf("a cluster has a name, and what is stored an end: %q, %d, %d", o.Cluster.Name, o.JetStreamMaxStore,
			o.JetStreamMaxMemory)
	}
}

// A volume of Kubernetes is everybody's who is in its group; the directory of the socket is not.
func TestSocketForOrdersIsPrivateOnAVolume(t *testing.T) {
	t.Parallel()
	run := testkit.Must(os.MkdirTemp("", "run"))(t) // t.TempDir's is too long for a socket
	t.Cleanup(func() { testkit.OK(t, os.RemoveAll(run)) })
	testkit.OK(t, os.Chmod(run, 0o777|os.ModeSetgid))
	l := testkit.Must(agent.ListenAt(filepath.Join(run, "control", "socket")))(t)
	defer l.Close()
	info := testkit.Must(os.Stat(filepath.Join(run, "control")))(t)
	testkit.Equal(t, info.Mode().Perm(), os.FileMode(0o700))
}
