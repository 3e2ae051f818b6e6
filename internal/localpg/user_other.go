//go:build !unix

package localpg

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// On this system Postgres runs in a container, or is killed.
var (
	sigFast      = os.Kill
	sigImmediate = os.Kill
)

type account struct{}

func accountFor(string, string) (account, error) {
	return account{}, errors.New("postgres binaries are not supported on this system: use Docker")
}

func (account) apply(*exec.Cmd)    {}
func (account) chown(string) error { return nil }
func detach(*exec.Cmd)             {}

// Place returns where Dir may be: here always as wanted.
func Place(wanted string) (dir string, moved bool, err error) {
	dir, err = filepath.Abs(wanted)
	return dir, false, err
}

func makeDir(dir string) error { return os.MkdirAll(dir, 0o700) }

type dirLock struct{}

func lockDir(string) (*dirLock, error) { return &dirLock{}, nil }
func (*dirLock) release() error        { return nil }
