package localpg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// endOrphan stops a server that a process which died left on the data folder,
// and removes a postmaster.pid that belongs to no server. The caller holds the
// folder's lock, so no living process of ours uses that server.
func endOrphan(ctx context.Context, data string, logger *slog.Logger) error {
	pidFile := filepath.Join(data, "postmaster.pid")
	pid, err := readPID(pidFile)
	if err != nil || pid == 0 {
		return err
	}
	if !serves(ctx, pid, data) {
		// Another program may have that number by now: Postgres would not start.
		logger.Info("removing the postmaster.pid of a server that is gone", "pid", pid, "dir", data)
		if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a stale postmaster.pid: %w", err)
		}
		return nil
	}
	logger.Warn("stopping a Postgres that was left on this folder", "pid", pid, "dir", data)
	return endForeign(ctx, pid, data)
}

// endForeign shuts down a server that is not our child, as Server.Stop does ours.
func endForeign(ctx context.Context, pid int, data string) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("stop the Postgres that was left (process %d): %w", pid, err)
	}
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(done)
		for ctx.Err() == nil && serves(ctx, pid, data) {
			time.Sleep(25 * time.Millisecond)
		}
	}()
	if endIn(ctx, process, sigFast, done, fastTimeout) ||
		endIn(ctx, process, sigImmediate, done, immediateTimeout) ||
		endIn(ctx, process, os.Kill, done, killTimeout) {
		return nil
	}
	return fmt.Errorf("a Postgres that was left on %s (process %d) does not end: stop it by hand", data, pid)
}

// readPID reads the first line of postmaster.pid; 0 when there is no file.
func readPID(pidFile string) (int, error) {
	text, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for a server that was left: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return 0, nil //nolint:nilerr // cut short by a crash: Postgres says what to do about it
	}
	return pid, nil
}

// serves reports whether the process is a Postgres server on the data folder.
func serves(ctx context.Context, pid int, data string) bool {
	if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); err == nil {
		// The server's working directory is its data folder, and so is that of its
		// children; theirs is not the number in postmaster.pid.
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return sameFile(cwd, data) && strings.HasPrefix(filepath.Base(exe), "postgres")
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		return false // there is a /proc, and no such process in it
	}
	// macOS: its arguments name the folder.
	out, err := exec.CommandContext(ctx, "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), data)
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
