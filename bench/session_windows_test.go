package bench

import "os/exec"

// apart does nothing where programs are not scheduled by session.
func apart(*exec.Cmd) {}
