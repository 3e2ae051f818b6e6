//go:build unix

package localpg

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// The signals of a fast and of an immediate shutdown.
var (
	sigFast      os.Signal = syscall.SIGINT
	sigImmediate os.Signal = syscall.SIGQUIT
)

// account is the user that Postgres runs as. Postgres refuses to run as root.
type account struct {
	name     string
	uid, gid uint32
	other    bool // not ourselves
}

// accountFor is ourselves, or as root the owner of the data that are there,
// else the user postgres, else nobody. The account must be able to reach dir.
func accountFor(dir, data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, ownData(data)
	}
	if info, err := os.Stat(data); err == nil {
		if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 0 {
			a := account{name: "uid " + strconv.Itoa(int(owner.Uid)), uid: owner.Uid, gid: owner.Gid, other: true}
			return a, a.reach(dir)
		}
	}
	a, err := unprivileged()
	if err != nil {
		return a, err
	}
	return a, a.reach(dir)
}

// ownData returns early, and in words, an error when the data are another user's.
func ownData(data string) error {
	info, err := os.Stat(data)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the data of Postgres (was it made as root?): %w", err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; int(uid) != os.Geteuid() {
		return fmt.Errorf("the data in %s belong to uid %d: run as that user, or remove the folder to start anew", data, uid)
	}
	return nil
}

// apply makes the command run as the account, in a process group of its own.
func (a account) apply(cmd *exec.Cmd) {
	detach(cmd)
	if a.other {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
}

// detach gives the command a process group of its own, which the terminal's Ctrl-C does not reach.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

func (a account) chown(path string) error {
	if !a.other {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// ReachError is the error for a folder that the user of Postgres cannot get to.
type ReachError struct {
	User    string
	Dir     string
	Blocked string // the folder on the way that is closed
}

func (e *ReachError) Error() string {
	return fmt.Sprintf("as root Postgres runs as %s, which cannot reach %s because of the permissions of %s: choose another place, e.g. below /var/lib",
		e.User, e.Dir, e.Blocked)
}

// reach checks that the account may pass through every folder above dir.
func (a account) reach(dir string) error {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	return a.passes(dir, filepath.Dir(resolved))
}

// Place returns where Dir may be: as wanted, or, as root, below /var/lib/dealbox
// under its last name where the user that Postgres runs as cannot reach wanted
// (/root is closed to it). Tell the user when moved. Nothing is made.
func Place(wanted string) (dir string, moved bool, err error) {
	wanted, err = filepath.Abs(wanted)
	if err != nil || os.Geteuid() != 0 {
		return wanted, false, err
	}
	a, err := unprivileged()
	if err != nil {
		return "", false, err
	}
	if err := a.passes(wanted, existing(filepath.Dir(wanted))); err == nil {
		return wanted, false, nil
	}
	return filepath.Join("/var/lib/dealbox", filepath.Base(wanted)), true, nil
}

// unprivileged is the user that takes root's place.
func unprivileged() (account, error) {
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errU := strconv.ParseUint(u.Uid, 10, 32)
		gid, errG := strconv.ParseUint(u.Gid, 10, 32)
		if errU == nil && errG == nil && uid != 0 {
			return account{name: name, uid: uint32(uid), gid: uint32(gid), other: true}, nil
		}
	}
	return account{}, errors.New("postgres does not run as root, and there is no user postgres or nobody to run it: run as an ordinary user")
}

func (a account) passes(dir, folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return fmt.Errorf("look at %s: %w", folder, err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	execute := os.FileMode(0o001)
	switch {
	case owner.Uid == a.uid:
		execute = 0o100
	case owner.Gid == a.gid:
		execute = 0o010
	}
	if info.Mode()&execute == 0 {
		return &ReachError{User: a.name, Dir: dir, Blocked: folder}
	}
	if parent := filepath.Dir(folder); parent != folder {
		return a.passes(dir, parent)
	}
	return nil
}

// existing is the first folder at or above dir that is there.
func existing(dir string) string {
	for {
		if resolved, err := filepath.EvalSymlinks(dir); err == nil {
			return resolved
		}
		dir = filepath.Dir(dir)
	}
}

// makeDir makes the folder. Those above it are open to pass through, for the
// user that Postgres runs as; the folder itself is closed later.
func makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// dirLock is held on a folder by the process that uses it. The system releases it when the process dies.
type dirLock struct{ file *os.File }

// lockDir takes the lock, or says who has it.
func lockDir(dir string) (*dirLock, error) {
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("the folder %s is another user's (was it made as root?): %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock the folder of Postgres: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = file.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another process uses %s (%s): stop it first", dir, holder(file))
		}
		return nil, fmt.Errorf("lock the folder of Postgres: %w", err)
	}
	if err := file.Truncate(0); err == nil {
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0) // for holder alone
	}
	return &dirLock{file}, nil
}

func holder(file *os.File) string {
	text := make([]byte, 20)
	n, _ := file.ReadAt(text, 0)
	return "process " + string(text[:n])
}

// release gives the lock back. A second call does nothing.
func (l *dirLock) release() error {
	if l == nil || l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	// Closing alone does not do: a child being started by another goroutine shares
	// the open file, and with it the lock, until it runs its own program.
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}
