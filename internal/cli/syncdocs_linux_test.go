package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	settings "github.com/ghapp-dev/ghapp/internal/config"
	"github.com/ghapp-dev/ghapp/internal/deploy"
	"github.com/ghapp-dev/ghapp/internal/githubtest"
	"github.com/ghapp-dev/ghapp/internal/testkit"
	"github.com/ghapp-dev/ghapp/internal/watch"
)

// systemd finds nothing in the unit that it does not know or would not do, and little that the service could do and
// need not. (Its scale goes to 10; 2 leaves room for what later versions of systemd count.)
func TestUnitsOfDaemonsAreTakenBySystemd(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	newMachine(t) // which builds what the units start
	for _, name := range []string{"ghapp-sync.service", "ghapp-mirror.service"} {
		text := testkit.Must(os.ReadFile("../../docs/" + name))(t)
		unit := filepath.Join(t.TempDir(), name)
		testkit.OK(t, os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), "/usr/local/bin", binaries)), 0o644))
		for _, args := range [][]string{
			{"verify", "--man=no", unit},
			{"security", "--offline=true", "--no-pager", "--threshold=20", unit},
		} {
			out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
			if err != nil || args[0] == "verify" && len(out) > 0 {
				t.Errorf("systemd-analyze %s %s: %v\n%s", args[0], name, err, out)
			}
		}
	}
}

// A key for all Apps, in a variable, would take the place of the key that each has.
// A program of Go ends with 2 when it crashes, or when the watchdog aborts it because it
// hangs. systemd restarts none whose exit code is among those that prevent it.
func TestUnitsAreRestartedAfterACrash(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	cmd, _ := m.command("sync", "acme/site", "--to", "site", "--watch", "--exec", "touch ../../../done")
	testkit.OK(t, cmd.Start())
	m.until("done")
	if err := cmd.Process.Signal(syscall.SIGABRT); err != nil { // as WatchdogSignal= has it
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code tells
	crashed := strconv.Itoa(cmd.ProcessState.ExitCode())
	for _, unit := range []string{"ghapp-sync.service", "ghapp-mirror.service", "ghapp-agent.service"} {
		text := testkit.Must(os.ReadFile(filepath.Join("..", "..", "docs", unit)))(t)
		_, after, found := strings.Cut(string(text), "\nRestartPreventExitStatus=")
		codes, _, _ := strings.Cut(after, "\n")
		if !found || slices.Contains(strings.Fields(codes), crashed) {
			t.Errorf("%s is not started again after the exit code %s of a crash: %q", unit, crashed, codes)
		}
	}
}

func TestSyncUnitLeavesEachAppItsOwnKey(t *testing.T) {
	t.Parallel()
	unit := testkit.Must(os.ReadFile("../../docs/ghapp-sync.service"))(t)
	m := newMachine(t)
	credentials := filepath.Join(m.root, "credentials")
	second := m.github.AddApp(githubtest.AppOptions{Owner: "octo"})
	testkit.OK(t, os.MkdirAll(credentials, 0o700))
	config := fmt.Sprintf("apps:\n  one: {app: %s, key: app.pem, host: %s, api_url: %s, owners: [acme]}\n  two: {app: "+
		"\"%d\", key: other.pem, host: %s, api_url: %s, owners: [octo]}\n",
		m.environ["GHAPP_APP"], m.environ["GHAPP_HOST"], m.environ["GHAPP_API_URL"], second.ID,
		m.environ["GHAPP_HOST"], m.environ["GHAPP_API_URL"])
	config = strings.ReplaceAll(config, ", api_url: ,", ",")
	testkit.OK(t, os.Rename(m.environ["GHAPP_KEY"], filepath.Join(credentials, "app.pem")))
	m.write(filepath.Join(m.root, "config.yaml"), config)
	for _, name := range []string{"GHAPP_KEY", "GHAPP_APP", "GHAPP_HOST", "GHAPP_API_URL"} {
		delete(m.environ, name)
	}
	set := 0
	for line := range strings.Lines(string(unit)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "Environment="), "="); ok &&
			strings.HasPrefix(line, "Environment=GHAPP_") {
			m.environ[name] = strings.ReplaceAll(value, "%d", credentials)
			set++
		}
	}
	m.environ["GHAPP_CONFIG"] = filepath.Join(m.root, "config.yaml")
	shown := m.must("config", "show").stdout
	for _, key := range []string{"app.pem", "other.pem"} {
		if !strings.Contains(shown, filepath.Join(credentials, key)) {
			t.Errorf("under the unit's %d variables no App has %s:\n%s", set, key, shown)
		}
	}
	m.must("sync", "acme/site", "--to", "site", "--branch", "deployment")
	m.environ["GHAPP_KEY"] = filepath.Join(credentials, "app.pem") // the one place on disk where it may be
}

// What of Kubernetes' API the manifest uses. A field that is not here is an error.
// https://kubernetes.io/docs/reference/kubernetes-api/
type (
	manifest struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct {
			Name   string
			Labels map[string]string
		}
		Data map[string]string
		Spec struct {
			Replicas int // of a Deployment
			Strategy struct{ Type string }
			Selector yaml.Node
			Template struct {
				Metadata struct{ Labels map[string]string }
				Spec     podSpec
			}
			AccessModes []string                             `yaml:"accessModes"` // of a PersistentVolumeClaim
			Resources   struct{ Requests map[string]string } // likewise
			Ports       []struct {                           // of a Service
				Name       string
				Port       int
				TargetPort string `yaml:"targetPort"`
			}
		}
	}
	podSpec struct {
		AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            *bool `yaml:"enableServiceLinks"`
		TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               struct {
			RunAsNonRoot        bool                  `yaml:"runAsNonRoot"`
			RunAsUser           int                   `yaml:"runAsUser"`
			RunAsGroup          int                   `yaml:"runAsGroup"`
			FSGroup             int                   `yaml:"fsGroup"`
			FSGroupChangePolicy string                `yaml:"fsGroupChangePolicy"`
			SeccompProfile      struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		InitContainers []container `yaml:"initContainers"`
		Containers     []container
		Volumes        []struct {
			Name     string
			EmptyDir *struct {
				Medium    string
				SizeLimit string `yaml:"sizeLimit"`
			} `yaml:"emptyDir"`
			Secret *struct {
				SecretName  string `yaml:"secretName"`
				DefaultMode int    `yaml:"defaultMode"`
			}
			ConfigMap             *struct{ Name string } `yaml:"configMap"`
			PersistentVolumeClaim *struct {
				ClaimName string `yaml:"claimName"`
			} `yaml:"persistentVolumeClaim"`
		}
	}
	container struct {
		Name, Image   string
		RestartPolicy string `yaml:"restartPolicy"`
		Args          []string
		Env           []struct{ Name, Value string }
		Ports         []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		StartupProbe    *probe `yaml:"startupProbe"`
		ReadinessProbe  *probe `yaml:"readinessProbe"`
		LivenessProbe   *probe `yaml:"livenessProbe"`
		Resources       struct{ Requests, Limits struct{ CPU, Memory string } }
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	probe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`

		PeriodSeconds    int `yaml:"periodSeconds"`
		FailureThreshold int `yaml:"failureThreshold"`
	}
)

func readManifests(t *testing.T, name string) map[string]manifest {
	t.Helper()
	text := testkit.Must(os.ReadFile(name))(t)
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	objects := map[string]manifest{}
	for {
		var m manifest
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		objects[m.Kind+" "+m.Metadata.Name] = m
	}
}

func (c *container) port(name string) (number int) {
	for _, p := range c.Ports {
		if p.Name == name {
			number = p.ContainerPort
		}
	}
	return number
}

// mount is where a container has a volume; "" is nowhere.
func (c *container) mount(volume string) (at string, readOnly bool) {
	for _, m := range c.VolumeMounts {
		if m.Name == volume {
			return m.MountPath, m.ReadOnly
		}
	}
	return "", false
}

// flag is the value of an argument --name=value.
func (c *container) flag(name string) string {
	for _, arg := range c.Args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}

// The parts of the manifest fit together, and do no more than they need.
func TestSidecarManifestFitsTogether(t *testing.T) {
	t.Parallel()
	objects := readManifests(t, "../../docs/kubernetes-sidecar.yaml")
	deployment := objects["Deployment site"]
	pod := deployment.Spec.Template.Spec
	if deployment.APIVersion != "apps/v1" || len(objects) != 4 ||
		len(pod.InitContainers) != 1 || len(pod.Containers) != 1 {
		t.Fatalf("there are %d objects, with %d and %d containers", len(objects),
			len(pod.InitContainers), len(pod.Containers))
	}
	sync, server := &pod.InitContainers[0], &pod.Containers[0]

	// Nothing of it is root, or could become it.
	if s := pod.SecurityContext; !s.RunAsNonRoot || s.RunAsUser == 0 || s.RunAsGroup == 0 || s.FSGroup != s.RunAsGroup ||
		s.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("pod: %+v", s)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("the pod is given a token of Kubernetes, which it does not need")
	}
	for _, c := range []*container{sync, server} {
		s := c.SecurityContext
		if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem ||
			!slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("%s: %+v", c.Name, s)
		}
	}

	// Every volume is there, and in use.
	used := map[string]bool{}
	for _, c := range []*container{sync, server} {
		for _, m := range c.VolumeMounts {
			used[m.Name] = true
		}
	}
	for _, v := range pod.Volumes {
		if !used[v.Name] {
			t.Errorf("volume %s is not mounted", v.Name)
		}
		delete(used, v.Name)
		if v.ConfigMap != nil && objects["ConfigMap "+v.ConfigMap.Name].Data == nil {
			t.Errorf("there is no ConfigMap %s", v.ConfigMap.Name)
		}
		if v.Name == "secret" && (v.Secret == nil || v.Secret.DefaultMode != 0o400) {
			t.Errorf("secret: %+v", v.Secret)
		}
	}
	if len(used) > 0 {
		t.Errorf("there are no volumes %v", used)
	}

	// The key and the webhook's secret are read from the secret's files.
	secrets, readOnly := sync.mount("secret")
	files := []string{sync.flag("webhook-secret-file")}
	for _, e := range sync.Env {
		if e.Name == "GHAPP_KEY" {
			files = append(files, e.Value)
		}
		if e.Name == "GHAPP_PRIVATE_KEY" || e.Name == "GHAPP_WEBHOOK_SECRET" {
			t.Errorf("%s stands in the manifest", e.Name)
		}
	}
	if len(files) != 2 || !readOnly {
		t.Errorf("files %q, mounted for reading only: %t", files, readOnly)
	}
	for _, file := range files {
		testkit.Equal(t, path.Dir(file), secrets, "%s is not in", file)
	}
	if at, _ := server.mount("secret"); at != "" {
		t.Errorf("the server is given the key, at %s", at)
	}

	// Both see the link that changes, and what it leads to.
	target := sync.flag("to")
	written, writtenReadOnly := sync.mount("content")
	served, servedReadOnly := server.mount("content")
	if !strings.HasPrefix(target, written+"/") || writtenReadOnly || served != written || !servedReadOnly {
		t.Errorf("%s is published; volume content is at %s, and at %s for the server", target, written, served)
	}
	if !strings.Contains(objects["ConfigMap site-server"].Data["default.conf"], "root "+target+";") {
		t.Errorf("the server does not serve %s", target)
	}

	// It goes on running, and is asked how it is where it answers.
	if sync.RestartPolicy != "Always" || sync.ReadinessProbe != nil ||
		sync.StartupProbe == nil || sync.LivenessProbe == nil {
		t.Fatalf("restartPolicy %q, or a probe is missing, or one too many", sync.RestartPolicy)
	}
	for p, want := range map[*probe]string{sync.StartupProbe: "/readyz", sync.LivenessProbe: "/healthz"} {
		testkit.Equal(t, p.HTTPGet.Path, want)
		testkit.Equal(t, p.HTTPGet.Port, "status")
	}
	for _, name := range []string{"status", "webhook"} {
		address, err := net.ResolveTCPAddr("tcp", sync.flag(name))
		if err != nil || address.Port != sync.port(name) || address.Port == 0 {
			t.Errorf("--%s=%s, and port %s is %d: %v", name, sync.flag(name), name, sync.port(name), err)
		}
	}

	// The services lead to the pod, and to no port but these.
	for name, c := range map[string]*container{"site": server, "ghapp-webhook": sync} {
		service := objects["Service "+name]
		selector := map[string]string{}
		testkit.OK(t, service.Spec.Selector.Decode(selector))
		for key, value := range selector {
			testkit.Equal(t, deployment.Spec.Template.Metadata.Labels[key], value, "service %s selects %s", name, key)
		}
		if len(selector) == 0 || len(service.Spec.Ports) != 1 || c.port(service.Spec.Ports[0].TargetPort) == 0 ||
			service.Spec.Ports[0].TargetPort == "status" {
			t.Errorf("service %s: %+v", name, service.Spec.Ports)
		}
	}
}

// The documentation tells of every option of sync under its three names, and the help tells
// the defaults that there are.
func TestSyncDocsTellOfEveryOption(t *testing.T) {
	t.Parallel()
	text := testkit.Must(os.ReadFile("../../docs/sync.md"))(t)
	rows := 0
	for _, o := range settings.SyncOptions() {
		flag, key := "`--"+o.Flag()+"`", "`"+o.Key+"` "
		if o.Key == "repository" {
			flag = "the argument"
		}
		if o.Process {
			key = ""
		}
		row := "| " + flag + " | `" + o.Variable() + "` | " + key + "| " + strings.ReplaceAll(o.Help, "`", "") + " |"
		if !strings.Contains(string(text), row+"\n") {
			t.Errorf("docs/sync.md has no row\n%s", row)
		}
		rows++
	}
	if there := len(regexp.MustCompile("(?m)^\\| [^|]+ \\| `GHAPP_[A-Z_]+` \\| ").FindAll(text, -1)); there != rows {
		t.Errorf("docs/sync.md has %d rows of options, and there are %d options", there, rows)
	}
	if bounds := fmt.Sprintf("are from %s on, numbers from 1 on",
		settings.ShortestPeriod); !strings.Contains(string(text), bounds) {
		t.Errorf("docs/sync.md does not say that durations and numbers %s", bounds)
	}
	help := newMachine(t).must("sync", "--help").stdout
	for flag, value := range map[string]any{
		"keep": deploy.DefaultKeep, "check-timeout": deploy.DefaultTimeout, "exec-timeout": deploy.DefaultTimeout,
		"period": watch.DefaultPeriod, "jobs": watch.DefaultJobs,
	} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)--%s .*\(default %v\)$`, flag, value)).MatchString(help) {
			t.Errorf("the help of --%s does not tell the default %v", flag, value)
		}
	}
}

// The unit and the manifest name no flag that ghapp sync does not have.
func TestSyncDocsNameFlagsThatThereAre(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	help := m.must("sync", "--help").stdout + m.must("sync", "rollback", "--help").stdout
	seen := 0
	for _, name := range []string{"ghapp-sync.service", "kubernetes-sidecar.yaml", "sync.md"} {
		text := testkit.Must(os.ReadFile("../../docs/" + name))(t)
		for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(string(text), -1) {
			if slices.Contains([]string{"--system", "--no-create-home", "--shell", "--now", "--from-file", "--symref"}, flag) {
				continue // of useradd, systemctl, kubectl and git
			}
			seen++
			if !strings.Contains(help, flag+" ") {
				t.Errorf("%s names %s, which ghapp sync does not have", name, flag)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d flags were found", seen)
	}
}
