package process

import (
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// group is a job object. Windows ends all processes of a job when its last
// handle closes, also because this process died
// (https://learn.microsoft.com/windows/win32/procthread/job-objects).
type group struct{ job windows.Handle }

func (g *group) prepare(cmd *exec.Cmd, _ bool) {
	// A Ctrl-C comes to this process alone, which then ends the job.
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
	if job, err := windows.CreateJobObject(nil, nil); err == nil {
		g.job = job
	}
	cmd.Cancel = func() error {
		g.kill(cmd)
		return cmd.Process.Kill()
	}
}

func (g *group) started(cmd *exec.Cmd) {
	if g.job == 0 {
		return
	}
	limits := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{}
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, _ = windows.SetInformationJobObject(g.job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	_ = cmd.Process.WithHandle(func(handle uintptr) {
		_ = windows.AssignProcessToJobObject(g.job, windows.Handle(handle))
	})
}

func (g *group) kill(*exec.Cmd) {
	if g.job != 0 {
		_ = windows.TerminateJobObject(g.job, 1)
	}
}

func (g *group) close() {
	if g.job != 0 {
		_ = windows.CloseHandle(g.job)
	}
}

// Signal is never known here: a process that is ended has an exit code.
func Signal(*os.ProcessState) (os.Signal, bool) { return nil, false }
