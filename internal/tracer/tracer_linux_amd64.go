package tracer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/ghapp-dev/ghapp/internal/testkit"
	"golang.org/x/sys/unix"
)

// Call is a system call, named so that it has the same name in every run.
type Call struct {
	Program string // ghapp, git fetch, git-remote-https
	Process int    // the how manyth of that program
	Name    string
	Path    string // below the root, without what differs from run to run
	Nth     int    // of those that are the same so far, from 1
}

// String is one line.
func (c Call) String() string {
	return fmt.Sprintf("%s %d: %s %s (%d)", c.Program, c.Process, c.Name, c.Path, c.Nth)
}

// Verdict is what becomes of a call. The zero value lets it through.
type Verdict struct {
	Errno   syscall.Errno // it fails
	Kill    bool          // the process is killed before it
	KillAll bool          // and all the others
}

// Watch lets every call through.
func Watch(Call) Verdict { return Verdict{} }

// Traced is a run of a process.
type Traced struct {
	Output []byte
	Calls  []Call
	Hit    bool // a verdict was carried out
}

// arguments are where a system call has its paths, or its file; -1: nowhere.
type arguments struct {
	name  string
	paths []int
	file  int
}

func changing() map[uint64]arguments {
	return map[uint64]arguments{
		unix.SYS_OPEN: {"open", []int{0}, -1}, unix.SYS_OPENAT: {"openat", []int{1}, -1},
		unix.SYS_CREAT: {"creat", []int{0}, -1},
		unix.SYS_WRITE: {"write", nil, 0}, unix.SYS_PWRITE64: {"pwrite", nil, 0}, unix.SYS_WRITEV: {"writev", nil, 0},
		unix.SYS_FTRUNCATE: {"ftruncate", nil, 0}, unix.SYS_TRUNCATE: {"truncate", []int{0}, -1},
		unix.SYS_FALLOCATE:       {"fallocate", nil, 0},
		unix.SYS_COPY_FILE_RANGE: {"copy_file_range", nil, 2}, unix.SYS_SENDFILE: {"sendfile", nil, 0},
		unix.SYS_FSYNC: {"fsync", nil, 0}, unix.SYS_FDATASYNC: {"fdatasync", nil, 0}, unix.SYS_SYNCFS: {"syncfs", nil, 0},
		unix.SYS_FCHMOD: {"fchmod", nil, 0}, unix.SYS_FCHOWN: {"fchown", nil, 0}, unix.SYS_FLOCK: {"flock", nil, 0},
		unix.SYS_RENAME: {"rename", []int{0, 1}, -1}, unix.SYS_RENAMEAT: {"rename", []int{1, 3}, -1},
		unix.SYS_RENAMEAT2: {"rename", []int{1, 3}, -1},
		unix.SYS_LINK:      {"link", []int{0, 1}, -1}, unix.SYS_LINKAT: {"link", []int{1, 3}, -1},
		unix.SYS_SYMLINK: {"symlink", []int{0, 1}, -1}, unix.SYS_SYMLINKAT: {"symlink", []int{0, 2}, -1},
		unix.SYS_UNLINK: {"unlink", []int{0}, -1}, unix.SYS_UNLINKAT: {"unlink", []int{1}, -1},
		unix.SYS_RMDIR: {"rmdir", []int{0}, -1},
		unix.SYS_MKDIR: {"mkdir", []int{0}, -1}, unix.SYS_MKDIRAT: {"mkdir", []int{1}, -1},
		unix.SYS_MKNOD: {"mknod", []int{0}, -1}, unix.SYS_MKNODAT: {"mknod", []int{1}, -1},
		unix.SYS_CHMOD: {"chmod", []int{0}, -1}, unix.SYS_FCHMODAT: {"chmod", []int{1}, -1},
		unix.SYS_CHOWN: {"chown", []int{0}, -1}, unix.SYS_LCHOWN: {"chown", []int{0}, -1},
		unix.SYS_FCHOWNAT: {"chown", []int{1}, -1},
		unix.SYS_UTIME:    {"utime", []int{0}, -1}, unix.SYS_UTIMES: {"utime", []int{0}, -1},
		unix.SYS_UTIMENSAT: {"utime", []int{1}, -1},
		unix.SYS_EXECVE:    {"execve", []int{0}, -1},
	}
}

// Ask has the kernel stop this process, and all it starts, at those calls alone:
// at all of them it would take ten times as long.
func Ask() error {
	const data, nr = 0, 0 // struct seccomp_data
	calls := changing()
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: nr}}
	left := len(calls)
	for number := range calls {
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K,
			K: uint32(number), Jt: uint8(left)})
		left--
	}
	const allow, stop = 0x7fff0000, 0x7ff00000
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: allow},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: stop})
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", err)
	}
	const setModeFilter, allThreads = 1, 1
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, allThreads,
		uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// tracer is the state of a run.
type tracer struct {
	root   string
	decide func(Call) Verdict
	known  map[uint64]arguments
	tasks  map[int]*task  // by thread
	early  map[int]bool   // threads that stopped before the one that started them said so
	turns  map[string]int // of programs
	seen   map[Call]int
	dead   bool // all are killed, also those that are still to be seen
	result Traced
}

// task is a process that is traced.
type task struct {
	program string
	turn    int
}

// Trace runs this program to its end, and that of all it starts, in an environment in which it calls [Ask].
// decide is asked at each call that changes files below root.
func Trace(t testing.TB, environ []string, root string, decide func(Call) Verdict) Traced {
	t.Helper()
	self := testkit.Must(os.Executable())(t)
	read, write := testkit.Must2(os.Pipe())(t)
	defer read.Close()
	null := testkit.Must(os.Open(os.DevNull))(t)
	defer null.Close()
	printed := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(read)
		printed <- text
	}()
	r := &tracer{
		root: root, decide: decide, known: changing(), tasks: map[int]*task{}, early: map[int]bool{},
		turns: map[string]int{}, seen: map[Call]int{},
	}
	err := onThreadOfItsOwn(func() error { return r.run(self, environ, null, write) })
	_ = write.Close()
	r.result.Output = <-printed
	if errors.Is(err, syscall.EPERM) && os.Getenv("CI") == "" {
		t.Skipf("the tracer: %v", err) // as in some containers
	}
	testkit.OK(t, err, "the tracer, %s", r.result.Output)
	return r.result
}

// onThreadOfItsOwn runs f on a thread that has started no process before, and that ends
// with it. All of ptrace(2) belongs to a thread, and so do the processes that it waits
// for (__WNOTHREAD). On a thread that has started one for another test, the tracer
// would be told of that one too, and that test could have it reaped meanwhile. The
// first thread of this process will not do either: it inherits the children of those
// that end.
func onThreadOfItsOwn(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: what is still traced ends with the thread
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL|unix.WNOTHREAD, nil)
		if unix.Gettid() != os.Getpid() && errors.Is(err, unix.ECHILD) {
			done <- f()
			return
		}
		done <- onThreadOfItsOwn(f) // while this one is held, so that it is another
		runtime.UnlockOSThread()
	}()
	return <-done
}

// run starts the program, and returns when it and all that it has started have ended:
// the kernel, and not the tasks that are known, says that nobody is left.
func (r *tracer) run(self string, environ []string, in, out *os.File) error {
	pid, err := syscall.ForkExec(self, []string{"ghapp"}, &syscall.ProcAttr{
		Env: environ, Files: []uintptr{in.Fd(), out.Fd(), out.Fd()}, Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true},
	})
	if err != nil {
		return fmt.Errorf("no process can be traced here: %w", err)
	}
	r.tasks[pid] = &task{program: "ghapp", turn: 1}
	first := true
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return err
		case !status.Stopped():
			delete(r.tasks, tid)
			continue
		}
		signal := 0
		switch stop := status.StopSignal(); {
		case first:
			const options = unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE |
				unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_EXITKILL
			if err := unix.PtraceSetOptions(tid, options); err != nil {
				return err
			}
			first = false
		case stop == unix.SIGTRAP && status.TrapCause() > 0:
			r.event(tid, status.TrapCause())
		case stop == unix.SIGSTOP && r.tasks[tid] == nil:
			r.tasks[tid], r.early[tid] = r.tasks[parentOf(tid)], true
		case stop == unix.SIGSTOP, stop == unix.SIGTRAP:
		default:
			signal = int(stop)
		}
		if r.dead {
			_ = unix.Kill(tid, unix.SIGKILL)
		}
		_ = unix.PtraceCont(tid, signal) // it may have been killed meanwhile
	}
}

// event is something that happens to a thread.
func (r *tracer) event(tid, cause int) {
	message, err := unix.PtraceGetEventMsg(tid)
	if err != nil {
		return
	}
	switch cause {
	case unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK, unix.PTRACE_EVENT_CLONE:
		if child := int(message); r.early[child] {
			// It runs already, and may be another program by now, or at its end.
			delete(r.early, child)
		} else {
			r.tasks[child] = r.tasks[tid]
		}
	case unix.PTRACE_EVENT_EXEC:
		// The thread has the number of its process now; the one that it had may go to another.
		delete(r.tasks, int(message))
		program := programOf(tid)
		r.turns[program]++
		r.tasks[tid] = &task{program, r.turns[program]}
	case unix.PTRACE_EVENT_SECCOMP:
		r.syscall(tid)
	}
}

// parentOf is the process that a new thread or process has come from.
func parentOf(tid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	of := map[string]int{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		of[name], _ = strconv.Atoi(strings.TrimSpace(value))
	}
	if of["Tgid"] != tid {
		return of["Tgid"]
	}
	return of["PPid"]
}

// programOf is what a process runs: its name, and git's command.
func programOf(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	name := filepath.Base(args[0])
	if name != "git" {
		return name
	}
	for i := 1; i < len(args); i++ {
		switch {
		case args[i] == "-c" || args[i] == "-C" || args[i] == "--shallow-file":
			i++
		case !strings.HasPrefix(args[i], "-"):
			return "git " + args[i]
		}
	}
	return name
}

func (r *tracer) syscall(tid int) {
	var regs unix.PtraceRegs
	if unix.PtraceGetRegs(tid, &regs) != nil {
		return
	}
	args := [...]uint64{regs.Rdi, regs.Rsi, regs.Rdx, regs.R10, regs.R8, regs.R9}
	c, ok := r.callOf(tid, regs.Orig_rax, args)
	if !ok || r.result.Hit {
		return
	}
	r.seen[c]++
	c.Nth = r.seen[c]
	r.result.Calls = append(r.result.Calls, c)
	v := r.decide(c)
	r.result.Hit = v != Verdict{}
	switch {
	case v.KillAll:
		r.dead = true
		for task := range r.tasks {
			_ = unix.Kill(task, unix.SIGKILL)
		}
	case v.Kill:
		_ = unix.Kill(tid, unix.SIGKILL)
	case v.Errno != 0:
		regs.Orig_rax, regs.Rax = ^uint64(0), uint64(-int64(v.Errno))
		_ = unix.PtraceSetRegs(tid, &regs)
	}
}

// callOf names a call. It reports false for one that changes nothing below the root.
func (r *tracer) callOf(tid int, number uint64, args [6]uint64) (Call, bool) {
	what, by := r.known[number], r.tasks[tid]
	if by == nil {
		return Call{}, false
	}
	var paths []string
	for _, at := range what.paths {
		paths = append(paths, textAt(tid, uintptr(args[at])))
	}
	flags := uint64(unix.O_WRONLY | unix.O_CREAT)
	switch {
	case number == unix.SYS_OPEN:
		flags = args[1]
	case number == unix.SYS_OPENAT:
		flags = args[2]
	case what.file >= 0:
		path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(args[what.file])))
		if err != nil || !strings.HasPrefix(path, r.root) {
			return Call{}, false
		}
		paths = []string{path}
	}
	if flags&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC) == 0 {
		return Call{}, false
	}
	last := paths[len(paths)-1]
	if filepath.IsAbs(last) && !strings.HasPrefix(last, r.root) && number != unix.SYS_EXECVE || last == "" {
		return Call{}, false
	}
	for i, path := range paths {
		paths[i] = r.lasting(path)
	}
	return Call{Program: by.program, Process: by.turn, Name: what.name, Path: strings.Join(paths, " > ")}, true
}

var changes = regexp.MustCompile(
	`[0-9]{6}-[0-9a-f]{12}|git\.new/t[A-Za-z0-9]{6}$|(?:tmp_(?:pack|idx|rev|obj)_|shallow_)[A-Za-z0-9]+|` +
		`[0-9a-f]{2}/[0-9a-f]{38}|[0-9a-f]{40}|objects/[0-9a-f]{2}\b`)

// lasting is a path without what differs from run to run.
func (r *tracer) lasting(path string) string {
	return changes.ReplaceAllStringFunc(strings.TrimPrefix(path, r.root), func(text string) string {
		for _, prefix := range []string{"tmp_", "shallow_", "objects/"} {
			if strings.HasPrefix(text, prefix) {
				return prefix + "…"
			}
		}
		return "…"
	})
}

// textAt reads a text that ends with NUL from the memory of a process.
func textAt(tid int, address uintptr) string {
	var text []byte
	page := uintptr(os.Getpagesize())
	for len(text) < unix.PathMax {
		chunk := make([]byte, page-address%page)
		local := []unix.Iovec{{Base: &chunk[0], Len: uint64(len(chunk))}}
		n, err := unix.ProcessVMReadv(tid, local, []unix.RemoteIovec{{Base: address, Len: len(chunk)}}, 0)
		if err != nil || n <= 0 {
			break
		}
		if end := bytes.IndexByte(chunk[:n], 0); end >= 0 {
			return string(append(text, chunk[:end]...))
		}
		text, address = append(text, chunk[:n]...), address+uintptr(n)
	}
	return string(text)
}

// Listed are the names of calls, in the order in which they came.
func Listed(calls []Call) string {
	var lines []string
	for _, c := range calls {
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}
