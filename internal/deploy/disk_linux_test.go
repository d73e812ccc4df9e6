package deploy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ghapp-dev/ghapp/internal/flush"
	"github.com/ghapp-dev/ghapp/internal/testkit"
)

// mounting runs the test in a process with mounts of its own, which end with it. It
// reports whether this is that process.
func mounting(t *testing.T) bool {
	t.Helper()
	if os.Getenv("DEPLOY_TEST_MOUNTS") != "" {
		testkit.OK(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a file system")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "DEPLOY_TEST_MOUNTS=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// memory mounts a file system in memory.
func memory(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	testkit.OK(t, unix.Mount("none", dir, "tmpfs", 0, options))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func remount(t *testing.T, dir string, flags uintptr, options string) {
	t.Helper()
	testkit.OK(t, unix.Mount("none", dir, "tmpfs", unix.MS_REMOUNT|flags, options))
}

func TestFullDiskLeavesTheOldRelease(t *testing.T) {
	testkit.Long(t)
	if !mounting(t) {
		return
	}
	many := map[string]string{}
	for i := range 400 {
		many[fmt.Sprintf("d%d/f%d", i%10, i)] = "x"
	}
	for name, test := range map[string]struct {
		small, large string
		files        map[string]string
		says         string
	}{
		"no room for the pack": {"size=1m", "size=20m", map[string]string{"big": noise(2 << 20)}, "no space left"},
		"no room for the files": {"size=1m", "size=20m",
			map[string]string{"big": strings.Repeat("x", 2<<20)}, "no space left"},
		"no inodes": {"nr_inodes=200", "nr_inodes=2000", many, "no space left"},
	} {
		dir := memory(t, test.small)
		w := newWorldIn(t, dir)
		w.publish(w.commit(map[string]string{"a": "1"}))
		commit := w.commit(test.files)
		for range 2 { // the second one finds no more in its way than the first
			if err := w.refused(commit); !strings.Contains(strings.ToLower(err.Error()), test.says) {
				t.Errorf("%s: %v", name, err)
			}
		}
		remount(t, dir, 0, test.large)
		w.publish(commit)
		if status, err := w.target.Status(); err != nil || status.Damage != nil || status.Published.Commit != commit {
			t.Errorf("%s: %+v %v", name, status, err)
		}
		w.clean()
	}
}

func TestReadOnlyDiskLeavesTheOldRelease(t *testing.T) {
	if !mounting(t) {
		return
	}
	for _, mode := range []Mode{Link, Directory} {
		dir := memory(t, "size=20m")
		w := newWorldIn(t, dir, func(g *Target) { g.Mode = mode })
		first := w.commit(map[string]string{"a": "1"})
		w.publish(first)
		commit := w.commit(map[string]string{"a": "2"})
		remount(t, dir, unix.MS_RDONLY, "size=20m")
		testkit.ErrorIs(t, w.refused(commit), syscall.EROFS)
		testkit.ErrorIs(t, testkit.ErrorOf(w.target.Rollback(t.Context(), "", Refuse)), syscall.EROFS)
		w.publish(first) // nothing is to be done
		testkit.Equal(t, testkit.Must(w.target.Status())(t).Damage, nil)
		remount(t, dir, 0, "size=20m")
		w.publish(commit)
		testkit.Equal(t, w.shows(), "a: 2")
		w.clean()
	}
}

// Where blocks can be shared, files are not: who writes to one in place changes no other
// release.
func TestSharedBlocksAreNotSharedFiles(t *testing.T) {
	if !mounting(t) {
		return
	}
	testkit.Program(t, "mkfs.xfs")
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	for _, args := range [][]string{{"truncate", "-s", "320M", image}, {"mkfs.xfs", "-q", "-m", "reflink=1", image},
		{"mount", "-o", "loop", image, dir}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%q: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	w := newWorldIn(t, dir)
	big := noise(256 << 10)
	w.publish(w.commit(map[string]string{"a": "1", "dir/b": "old", "big": big}))
	first := w.published()
	free := func() uint64 {
		var stat unix.Statfs_t
		testkit.OK(t, errors.Join(flush.Tree(dir), unix.Statfs(dir, &stat)))
		return stat.Bavail * uint64(stat.Bsize)
	}
	before := free()
	w.publish(w.commit(map[string]string{"a": "2"}))
	if used := int64(before) - int64(free()); used > int64(len(big)) {
		t.Errorf("the second release takes %d bytes", used)
	}
	file := testkit.Must(os.OpenFile(filepath.Join(w.target.Dir, "dir/b"), os.O_WRONLY, 0))(t)
	testkit.Must(file.WriteString("new"))(t)
	_ = file.Close()
	if text, _ := os.ReadFile(filepath.Join(w.target.tree(first.ID), "dir/b")); string(text) != "old" {
		t.Errorf("the older release has %q", text)
	}
	w.rollback("")
	testkit.Equal(t, w.file("dir/b"), "old")
}

// On a file system that takes two names for one, a release in which they meet is none.
func TestNamesThatMeetAreRefused(t *testing.T) {
	if !mounting(t) {
		return
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	for _, args := range [][]string{{"truncate", "-s", "40M", image}, {"mkfs.ext4", "-q", "-O", "casefold", image},
		{"mount", "-o", "loop", image, dir}, {"mkdir", dir + "/fold"}, {"chattr", "+F", dir + "/fold"}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%q: %v\n%s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	w := newWorldIn(t, dir+"/fold")
	w.publish(w.commit(map[string]string{"a": "1"}))
	testkit.Fails(t, w.refused(w.commit(map[string]string{"name": "1", "NAME": "22"})), "it was published")
}

// A user who may not write is told so; what is published stays.
func TestDirectoryThatCannotBeWrittenLeavesTheOldRelease(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	t.Parallel()
	const nobody = 65534
	root := testkit.Must(os.MkdirTemp("", "ghapp-nobody-"))(t)
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	self := testkit.Must(os.Executable())(t)
	text := testkit.Must(os.ReadFile(self))(t)
	binary, home := filepath.Join(root, "ghapp"), filepath.Join(root, "home")
	if err := errors.Join(os.Chmod(root, 0o755), os.WriteFile(binary, text, 0o755), os.Chmod(binary, 0o755),
		os.Mkdir(home, 0o755), os.Chown(home, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	w := newWorldIn(t, home)
	w.target.Environ = append(w.target.Environ, "HOME="+home)
	publish := func(commit string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary)
		cmd.Env, cmd.Dir = w.role(w.want(commit)).environ(t), home
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		testkit.OK(t, err, "%s", out)
		return string(out)
	}
	if said := publish(w.commit(map[string]string{"a": "1"})); !strings.Contains(said, `"Error":""`) {
		t.Fatal(said)
	}
	commit := w.commit(map[string]string{"a": "2"})
	for _, dir := range []string{home, w.target.base(), w.target.releases(),
		w.target.records(), w.target.mainStore("").dir} {
		info := testkit.Must(os.Stat(dir))(t)
		testkit.OK(t, os.Chmod(dir, 0o555))
		said := publish(commit)
		if !strings.Contains(strings.ToLower(said), "permission denied") {
			t.Errorf("%s: %s", dir, said)
		}
		testkit.Equal(t, w.shows(), "a: 1", "%s: it shows", dir)
		testkit.OK(t, os.Chmod(dir, info.Mode().Perm()))
	}
	if said := publish(commit); !strings.Contains(said, `"Error":""`) || w.shows() != "a: 2" {
		t.Error(said)
	}
	w.clean()
}

// Several processes that are told different things take turns, or say that they could
// not; what is published is one of these, whole.
func TestManyProcessesOnOneDirectory(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for _, mode := range []Mode{Link, Directory} {
		w := newWorld(t, func(g *Target) { g.Mode = mode })
		w.publish(w.commit(map[string]string{"a": "0"}))
		var running []*exec.Cmd
		for i := range 6 {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = w.role(w.want(w.commit(map[string]string{"a": fmt.Sprint(i + 1)}))).environ(t)
			out := &strings.Builder{}
			cmd.Stdout, cmd.Stderr = out, out
			testkit.OK(t, cmd.Start())
			running = append(running, cmd)
		}
		for _, cmd := range running {
			testkit.OK(t, cmd.Wait())
			said := fmt.Sprint(cmd.Stdout)
			if !strings.Contains(said, `"Error":""`) && !strings.Contains(said, string(ErrBusy)) {
				t.Errorf("%s: %s", mode, said)
			}
		}
		testkit.Equal(t, testkit.Must(w.target.Status())(t).Damage, nil)
		w.clean()
	}
}
