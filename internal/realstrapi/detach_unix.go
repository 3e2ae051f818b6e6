//go:build unix

package realstrapi

import (
	"os/exec"
	"syscall"
)

// detach keeps Ctrl-C on our terminal from the process: we end it, in our order.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
