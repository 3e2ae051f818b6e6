//go:build !unix

package realstrapi

import "os/exec"

func detach(*exec.Cmd) {}
