package localpg

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
)

// guardScript reads the server's process id, anew after each start, until its
// input ends: then whoever started Postgres has died without stopping it
// (kill -9, a panic, a test's timeout). It shuts the server down fast and removes
// the folder of a temporary one. The word "done" on its input ends it.
//
// $1 is the server's data folder, $2 the folder to remove or "".
const guardScript = `
pid=
while read -r word; do
  [ "$word" = "done" ] && exit 0
  pid=$word
done
[ -n "$pid" ] && [ "$(head -n 1 "$1/postmaster.pid" 2>/dev/null)" = "$pid" ] && kill -INT "$pid"
[ -n "$2" ] || exit 0
i=0
while [ -e "$1/postmaster.pid" ] && [ $i -lt 60 ]; do
  sleep 1
  i=$((i + 1))
done
# Twice: an initdb that was cut off may still be writing.
rm -rf "$2"
[ -n "$pid" ] || { sleep 2; rm -rf "$2"; }
`

// guard is a small process that outlives us if we die. A nil guard does nothing.
type guard struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

// startGuard starts the guard of the server in dir.
func startGuard(dir string, temporary bool) (*guard, error) {
	if runtime.GOOS == "windows" {
		return nil, nil //nolint:nilnil // no shell, no guard: the zero value of "nothing watches"
	}
	remove := ""
	if temporary {
		remove = dir
	}
	cmd := exec.Command("/bin/sh", "-c", guardScript, "dealbox-postgres-guard", filepath.Join(dir, "data"), remove) //nolint:noctx // our own script; its life is ours
	detach(cmd)
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the guard of Postgres: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard of Postgres: %w", err)
	}
	return &guard{cmd: cmd, input: input}, nil
}

// watch names the process to end if we die.
func (g *guard) watch(pid int) {
	if g != nil {
		_, _ = io.WriteString(g.input, strconv.Itoa(pid)+"\n") // it fails when somebody killed it
	}
}

// release ends the guard.
func (g *guard) release() {
	if g == nil {
		return
	}
	_, _ = io.WriteString(g.input, "done\n")
	_ = g.input.Close()
	_ = g.cmd.Wait()
}
