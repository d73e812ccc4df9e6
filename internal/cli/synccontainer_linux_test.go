package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// podUser is the user and group of the manifest's pod. No system has it in /etc/passwd.
const podUser = 65532

// pod has a program run as Kubernetes runs the sidecar of the manifest: as the first process
// of a container whose root cannot be written to, as a user that has no entry in
// /etc/passwd, with no capabilities, with the key in a volume of root's that our group may read.
func (m *machine) pod() (content string) {
	m.t.Helper()
	for _, program := range []string{"bwrap", "setpriv"} {
		testkit.Program(m.t, program)
	}
	if os.Geteuid() != 0 {
		m.t.Skip("needs root, to give the key to root and its group to the pod")
	}
	// A volume of secrets: a link to a link to a file, so that all change at once.
	secrets := filepath.Join(m.root, "secret")
	version := filepath.Join(secrets, "..2026_11_30")
	for name, text := range map[string]string{"app.pem": string(m.keyPEM), "webhook-secret": webhookSecret + "\n"} {
		m.write(filepath.Join(version, name), text)
		testkit.OK(m.t, os.Symlink(filepath.Join("..data", name), filepath.Join(secrets, name)))
	}
	testkit.OK(m.t, os.Symlink(filepath.Base(version), filepath.Join(secrets, "..data")))
	for _, path := range []string{secrets, version, filepath.Join(version, "app.pem"),
		filepath.Join(version, "webhook-secret")} {
		mode := os.FileMode(0o440)
		if filepath.Ext(path) == "" && filepath.Base(path) != "webhook-secret" || path == version {
			mode = 0o755 | os.ModeSetgid | os.ModeSticky
		}
		testkit.OK(m.t, os.Chown(path, 0, podUser))
		testkit.OK(m.t, os.Chmod(path, mode))
	}
	// Two volumes of the pod's: emptyDir with fsGroup.
	content, temp := filepath.Join(m.root, "content"), filepath.Join(m.root, "podtmp")
	for _, dir := range []string{content, temp} {
		testkit.OK(m.t, os.Mkdir(dir, 0o777))
		testkit.OK(m.t, os.Chown(dir, 0, podUser))
		testkit.OK(m.t, os.Chmod(dir, 0o777|os.ModeSetgid))
	}
	testkit.OK(m.t, os.Chmod(m.root, 0o755))
	if err := os.Chmod(binaries, 0o755); err != nil { // as an image has it
		m.t.Fatal(err)
	}
	passwd := filepath.Join(m.root, "passwd")
	testkit.OK(m.t, os.WriteFile(passwd, []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644))
	m.user = func(cmd *exec.Cmd) {
		args := []string{
			"bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--as-pid-1", "--die-with-parent",
			"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/sbin", "/sbin",
			"--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
			"--perms", "0755", "--dir", "/etc", "--ro-bind", passwd, "/etc/passwd", "--ro-bind", secrets, "/etc/ghapp",
			"--perms", "0755", "--dir", "/opt", "--ro-bind", binaries, "/opt/ghapp",
			"--proc", "/proc", "--dev", "/dev", "--bind", content, "/content", "--bind", temp, "/tmp",
			"--remount-ro", "/", "--chdir", "/",
			"setpriv", "--reuid", "65532", "--regid", "65532", "--groups", "65532", "--no-new-privs",
			"--inh-caps=-all", "--bounding-set=-all",
			"/opt/ghapp/ghapp",
		}
		cmd.Args = append(args, cmd.Args[1:]...)
		cmd.Path, _ = exec.LookPath("bwrap")
		cmd.Dir = "/"
	}
	return content
}

// What the manifest says works in the surroundings that it makes, and without the variables
// that it sets for comfort.
func TestSidecarRunsAsItsManifestSays(t *testing.T) {
	t.Parallel()
	c := readManifests(t, "../../docs/kubernetes-sidecar.yaml")["Deployment site"].Spec.Template.Spec.InitContainers[0]
	for name, comfort := range map[string]bool{"as it stands": true, "without HOME and a cache": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			content := m.pod()
			environ := map[string]string{"PATH": "/opt/ghapp:/usr/bin:/bin", "GHAPP_HOST": m.server.URL}
			for _, e := range c.Env {
				if comfort || strings.HasPrefix(e.Name, "GHAPP_") {
					environ[e.Name] = e.Value
				}
			}
			environ["GHAPP_APP"] = m.environ["GHAPP_APP"]
			m.environ = environ
			args := slices.Clone(c.Args)
			for i, arg := range args {
				if flag, _, ok := strings.Cut(arg, "=:"); ok { // the ports are other tests' too
					args[i] = flag + "=127.0.0.1:0"
				}
			}
			if args[0] != "sync" || !slices.Contains(args, "--watch") {
				t.Fatalf("%q", args)
			}
			s := m.syncs(slices.DeleteFunc(args[1:], func(arg string) bool { return arg == "--watch" })...)
			watching := s.says("watching")
			s.says("up to date")
			status, _ := watching["status"].(string)
			webhook, _ := watching["webhook"].(string)
			for _, path := range []string{"/readyz", "/healthz"} {
				if code, text := m.get(status, path); code != 200 {
					t.Errorf("%s: %d %s", path, code, text)
				}
			}
			published := filepath.Join(content, "site", "deployment.txt")
			info, err := os.Stat(published)
			testkit.OK(t, err, "%s", s.log())
			if stat := info.Sys().(*syscall.Stat_t); stat.Uid != podUser || info.Mode()&0o444 != 0o444 {
				t.Errorf("it is %d's, with mode %s: the server cannot read it", stat.Uid, info.Mode())
			}
			// A push, and a hang-up, reach the first process and what it has started.
			one := m.pushes("pushed")
			if code, text := m.hooked(webhook, webhookSecret, "0b989ba4-242f-11e5-81e1-c7b6966d2516",
				"refs/heads/deployment", one); code != 202 {
				t.Errorf("%d %s", code, text)
			}
			m.shows(filepath.Join("..", "content", "site", "deployment.txt"), "pushed")
			// What is advised for the key must not take it away from the pod.
			for _, wrong := range []string{"chmod 600", "chown"} {
				testkit.Lacks(t, s.log(), wrong)
			}
			for _, wrong := range []string{`"level":"ERROR"`, "read-only file system", "permission denied", "unknown user"} {
				testkit.Lacks(t, s.log(), wrong)
			}
			// The signals of the container's runtime go to its first process.
			children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.cmd.Process.Pid, s.cmd.Process.Pid))
			if err != nil {
				t.Skipf("the first process cannot be found: %v", err)
			}
			first := testkit.Must(strconv.Atoi(strings.TrimSpace(string(children))))(t)
			m.pushes("asked for")
			for signal, answer := range map[syscall.Signal]string{
				syscall.SIGHUP:  "the configuration was read anew",
				syscall.SIGUSR1: "every directory is asked about, as SIGUSR1 wishes",
			} {
				testkit.OK(t, syscall.Kill(first, signal))
				s.says(answer)
			}
			m.shows(filepath.Join("..", "content", "site", "deployment.txt"), "asked for")
			testkit.OK(t, syscall.Kill(first, syscall.SIGTERM))
			testkit.OK(t, s.cmd.Wait(), "%s", s.log())
			m.noSecretIn("the log", s.log())
		})
	}
}
