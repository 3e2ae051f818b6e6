package localpg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxSocketDir keeps the socket's path below the 103 bytes that macOS allows
// (Linux: 107), with "/.s.PGSQL.65535.lock" after it.
const maxSocketDir = 80

// process runs Postgres from binaries of this machine, as a child in a process
// group of its own: the terminal's Ctrl-C must not end it before its users.
type process struct {
	server   *Server
	found    installation
	account  account
	settings map[string]string
	sockets  string

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

// newProcess finds binaries and prepares the data folder.
func newProcess(ctx context.Context, s *Server, settings map[string]string) (engine, error) {
	p := &process{server: s, settings: settings, done: make(chan struct{})}
	close(p.done)
	major, err := dataVersion(p.data())
	if err != nil {
		return nil, err
	}
	if p.found, err = find(ctx, candidates(), major); err != nil {
		return nil, named(err, s.dir)
	}
	if p.account, err = accountFor(s.dir, p.data()); err != nil {
		return nil, err
	}
	if err := p.own(s.dir); err != nil {
		return nil, err
	}
	if err := endOrphan(ctx, p.data(), s.logger); err != nil {
		return nil, err
	}
	if err := p.initialise(ctx, major == 0); err != nil {
		return nil, err
	}
	if err := p.makeSocketDir(); err != nil {
		return nil, err
	}
	return p, nil
}

// named adds the folder to a VersionError.
func named(err error, dir string) error {
	if v, ok := errors.AsType[*VersionError](err); ok {
		v.Dir = dir
	}
	return err
}

// initialise reads the password and, where there are no data yet, makes them.
func (p *process) initialise(ctx context.Context, empty bool) error {
	secret, fresh, err := password(p.server.dir)
	if err != nil {
		return err
	}
	p.server.password = secret
	if !empty {
		if fresh {
			_ = os.Remove(filepath.Join(p.server.dir, passwordFile))
			return fmt.Errorf("the file %q is gone from %s, so its data cannot be opened: put it back, or empty the folder to start anew",
				passwordFile, p.server.dir)
		}
		return nil
	}
	if err := p.own(filepath.Join(p.server.dir, passwordFile)); err != nil {
		return err
	}
	return p.initdb(ctx)
}

// initdb makes the data under another name, so that half-made ones are never opened.
func (p *process) initdb(ctx context.Context) error {
	part := p.data() + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	args := []string{
		"--pgdata", part, "--username", User, "--auth", "scram-sha-256",
		"--pwfile", filepath.Join(p.server.dir, passwordFile),
		"--encoding", "UTF8", "--locale", locale(),
	}
	if p.server.temporary {
		args = append(args, "--no-sync")
	}
	p.server.logger.Info("making a Postgres data folder", "dir", p.server.dir, "version", p.found.full)
	if out, err := p.command(ctx, "initdb", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("make the data folder: initdb: %w\n%s", err, out)
	}
	if err := os.Rename(part, p.data()); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return nil
}

// locale is one that every machine of the kind has.
func locale() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}
	return "en_US.UTF-8"
}

// makeSocketDir puts the socket into Dir, or into a temporary folder where Dir's path is too long.
func (p *process) makeSocketDir() error {
	p.sockets = p.server.dir
	if len(p.sockets) <= maxSocketDir {
		return nil
	}
	dir, err := os.MkdirTemp("/tmp", "dealbox-pg-socket-") // macOS's own temporary folder is a long one
	if err != nil {
		dir, err = os.MkdirTemp("", "dealbox-pg-socket-")
	}
	if err != nil {
		return fmt.Errorf("make a folder for the socket: %w", err)
	}
	p.sockets = dir
	return p.own(dir)
}

func (p *process) start(context.Context) error {
	logFile, err := os.Create(p.logPath())
	if err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	defer func() { _ = logFile.Close() }()
	if err := p.own(p.logPath()); err != nil {
		return err
	}
	args := append([]string{
		"-D", p.data(), "-p", strconv.Itoa(p.server.port), "-k", p.sockets,
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_permissions=0700",
		"-c", "logging_collector=off", "-c", "log_destination=stderr",
	}, settingArgs(p.settings)...)
	// Its life is not that of the caller's context: stop ends it.
	cmd := p.command(context.Background(), "postgres", args...) //nolint:contextcheck // as it says
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	p.server.guard.watch(cmd.Process.Pid)
	p.reap(cmd)
	return nil
}

func (p *process) data() string { return filepath.Join(p.server.dir, "data") }

// own gives a file or folder to the user that Postgres runs as, for nobody else to read.
func (p *process) own(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("prepare Postgres: %w", err)
	}
	mode := fs.FileMode(0o600)
	if info.IsDir() {
		mode = 0o700
	}
	if err := errors.Join(p.account.chown(path), os.Chmod(path, mode)); err != nil {
		return fmt.Errorf("give %s to the user of Postgres: %w", path, err)
	}
	return nil
}

// command is a program of the installation, run as Postgres's user.
func (p *process) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.found.program(name), args...)
	cmd.Dir = p.server.dir // the caller's may be closed to that user
	cmd.Env = environment()
	p.account.apply(cmd)
	return cmd
}

// environment is ours without libpq's variables, which would change what Postgres does.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "LC_") && !strings.HasPrefix(v, "LANG") {
			env = append(env, v)
		}
	}
	return append(env, "LC_ALL=C")
}

// reap waits for the child in the background.
func (p *process) reap(cmd *exec.Cmd) {
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd, p.done = cmd, done
}

func (p *process) exited() <-chan struct{} {
	_, done := p.running()
	return done
}

// stop sends the signals of a fast and an immediate shutdown and at last
// SIGKILL, each after the one before was given its time.
func (p *process) stop(ctx context.Context, mode Mode) error {
	cmd, done := p.running()
	if cmd == nil {
		return nil
	}
	if mode == Fast && endIn(ctx, cmd.Process, sigFast, done, fastTimeout) {
		return nil
	}
	if endIn(context.WithoutCancel(ctx), cmd.Process, sigImmediate, done, immediateTimeout) {
		return nil
	}
	return p.kill()
}

func (p *process) kill() error {
	cmd, done := p.running()
	if cmd == nil {
		return nil
	}
	if !endIn(context.Background(), cmd.Process, os.Kill, done, killTimeout) {
		return fmt.Errorf("postgres (process %d) does not end, not even by SIGKILL", cmd.Process.Pid)
	}
	return nil
}

// endIn sends the signal and reports whether the process ended in time.
func endIn(ctx context.Context, child *os.Process, sig os.Signal, done <-chan struct{}, limit time.Duration) bool {
	_ = child.Signal(sig) // it fails when it has ended
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// remove takes away sockets that a killed server left.
func (p *process) remove(bool) error {
	if p.sockets == "" {
		return nil
	}
	if p.sockets != p.server.dir {
		return os.RemoveAll(p.sockets)
	}
	socket := filepath.Join(p.sockets, ".s.PGSQL."+strconv.Itoa(p.server.port))
	for _, file := range []string{socket, socket + ".lock"} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the socket: %w", err)
		}
	}
	return nil
}

// log is the end of the log file.
func (p *process) log() string {
	text, err := os.ReadFile(p.logPath())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

func (p *process) logPath() string { return filepath.Join(p.server.dir, "postgres.log") }

func (p *process) psql(url string) string {
	psql := p.found.program("psql")
	if path, err := exec.LookPath("psql"); err == nil && path != "" {
		psql = "psql"
	}
	return psql + " '" + url + "'"
}

func (p *process) String() string {
	return fmt.Sprintf("PostgreSQL %s from %s", p.found.full, p.found.bin)
}

func (p *process) ended() string {
	if cmd, _ := p.running(); cmd != nil {
		return fmt.Sprintf("kill -INT %d", cmd.Process.Pid)
	}
	return "true"
}

func (p *process) running() (*exec.Cmd, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.done
}
