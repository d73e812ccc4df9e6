package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// The pod of mirrors runs as its manifest says: with its arguments, variables, user, volumes and mode of the key.
func TestMirrorRunsAsItsManifestSays(t *testing.T) {
	t.Parallel()
	objects := readManifests(t, "../../docs/kubernetes-mirror.yaml")
	deployment := objects["Deployment ghapp-mirror"].Spec
	testkit.Equal(t, deployment.Replicas, 1)
	testkit.Equal(t, deployment.Strategy.Type, "Recreate", "two pods would want one lock")
	spec := deployment.Template.Spec
	c := spec.Containers[0]
	for _, v := range spec.Volumes {
		at, readOnly := c.mount(v.Name)
		testkit.Equal(t, at != "", true, "volume %s is not mounted", v.Name)
		testkit.Equal(t, readOnly, v.Name == "secret", v.Name)
		if v.PersistentVolumeClaim != nil {
			claim := objects["PersistentVolumeClaim "+v.PersistentVolumeClaim.ClaimName].Spec
			testkit.Equal(t, claim.Resources.Requests["storage"] != "", true, "there is no such claim")
			testkit.Equal(t, strings.HasPrefix(c.flag("to"), at+"/"), true, "it writes elsewhere")
		}
	}
	for _, probe := range []*probe{c.ReadinessProbe, c.LivenessProbe} {
		testkit.Equal(t, c.port(probe.HTTPGet.Port) > 0, true, "%s is asked nowhere", probe.HTTPGet.Path)
	}
	m := newMachine(t)
	content := m.pod()
	environ := map[string]string{"PATH": "/opt/ghapp:/usr/bin:/bin", "GHAPP_HOST": m.server.URL}
	for _, e := range c.Env {
		environ[e.Name] = e.Value
	}
	environ["GHAPP_APP"] = m.environ["GHAPP_APP"]
	m.environ = environ
	args := slices.Clone(c.Args)
	for i, arg := range args {
		if flag, _, ok := strings.Cut(arg, "=:"); ok { // the ports are other tests' too
			args[i] = flag + "=127.0.0.1:0"
		}
	}
	s := m.watches(slices.DeleteFunc(args, func(arg string) bool {
		return arg == "--watch" || strings.HasPrefix(arg, "--log-format")
	})...)
	watching := s.says("watching")
	m.ready(fmt.Sprint(watching["status"]))
	info, err := os.Stat(filepath.Join(content, filepath.Base(c.flag("to")), "acme/site.git/HEAD"))
	testkit.OK(t, err, "%s", s.log())
	testkit.Equal(t, info.Sys().(*syscall.Stat_t).Uid, uint32(podUser))
	for _, wrong := range []string{`"level":"ERROR"`, "read-only file system", "permission denied", "unknown user"} {
		testkit.Lacks(t, s.log(), wrong)
	}
	m.noSecretIn("the log", s.log())
}
