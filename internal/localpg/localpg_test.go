package localpg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

const helperEnv = "LOCALPG_TEST_HELPER_DIR"

// TestMain is also the program of TestServer_ParentDies.
func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(helperEnv); ok {
		helper(dir)
	}
	os.Exit(m.Run())
}

// helper starts a server on dir ("" is a temporary one), prints its address, and hangs.
func helper(dir string) {
	s, err := Start(context.Background(), Config{Dir: dir, Using: Binaries})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(pidOf(s), s.guard.cmd.Process.Pid, s.Dir())
	select {}
}

// start starts a server on local binaries; without any the test is skipped.
func start(t *testing.T, config Config) *Server {
	t.Helper()
	config.Using = Binaries
	s, err := Start(t.Context(), config)
	if errors.Is(err, errNoBinaries) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return s
}

// dataDir is a folder that the user of Postgres can reach: t.TempDir's parents are closed to it.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(TempDir(), "localpg-test-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "pg")
}

func connect(t *testing.T, s *Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func mustExec(t *testing.T, s *Server, sql string) {
	t.Helper()
	_, err := connect(t, s).Exec(t.Context(), sql)
	require.NoError(t, err)
}

func count(t *testing.T, s *Server, table string) (n int) {
	t.Helper()
	require.NoError(t, connect(t, s).QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

func pidOf(s *Server) int { return s.engine.(*process).cmd.Process.Pid }

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func gone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return !alive(pid) }, time.Minute, 10*time.Millisecond, "process %d is still there", pid)
}

func TestServer_Stop(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	s := start(t, Config{Dir: dir})
	mustExec(t, s, "CREATE TABLE kept AS SELECT 1")
	pid, port := pidOf(s), s.Port()
	group, err := syscall.Getpgid(pid)
	require.NoError(t, err)
	require.Equal(t, pid, group, "the terminal's Ctrl-C must not reach it")
	require.FileExists(t, filepath.Join(dir, fmt.Sprintf(".s.PGSQL.%d", port)))

	require.NoError(t, s.Stop(t.Context()))
	require.NoError(t, s.Stop(t.Context()), "a second Stop does nothing")

	t.Run("LeavesNoProcess", func(t *testing.T) { require.False(t, alive(pid)) })
	t.Run("LeavesNoSocket", func(t *testing.T) {
		left, err := filepath.Glob(filepath.Join(dir, ".s.*"))
		require.NoError(t, err)
		require.Empty(t, left)
		require.NoFileExists(t, filepath.Join(dir, "data", "postmaster.pid"))
	})
	t.Run("LeavesNoPort", func(t *testing.T) {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		require.NoError(t, err)
		require.NoError(t, l.Close())
	})
	t.Run("KeepsTheData", func(t *testing.T) {
		again := start(t, Config{Dir: dir})
		require.Equal(t, 1, count(t, again, "kept"))
	})
}

func TestServer_Temporary(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: map[string]string{"max_connections": "321"}})
	var fsync, connections string
	require.NoError(t, connect(t, s).QueryRow(t.Context(),
		"SELECT current_setting('fsync'), current_setting('max_connections')").Scan(&fsync, &connections))
	require.Equal(t, "off", fsync)
	require.Equal(t, "321", connections)
	require.NoError(t, s.Stop(t.Context()))
	require.NoDirExists(t, s.Dir())
}

func TestServer_AsksForThePassword(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	_, err := pgx.Connect(t.Context(), strings.Replace(s.URL(), s.password, "wrong", 1))
	require.Equal(t, "28P01", sqlState(err))
	info, err := os.Stat(filepath.Join(s.Dir(), passwordFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	_, err = pgx.Connect(t.Context(), fmt.Sprintf("host=%s port=%d user=%s password=wrong dbname=postgres", s.Dir(), s.Port(), User))
	require.Equal(t, "28P01", sqlState(err), "on the socket as well")
}

func TestServer_PSQL(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	out, err := exec.CommandContext(t.Context(), "sh", "-c", s.PSQL()+" -Atc 'SELECT 40 + 2'").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "42", strings.TrimSpace(string(out)))
}

func TestServer_Restart(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	mustExec(t, s, "CREATE TABLE kept (n int)")
	url := s.URL()
	for i, end := range []func() error{
		func() error { return s.Restart(t.Context(), Fast) },
		func() error { return s.Restart(t.Context(), Immediate) },
		func() error { return errors.Join(s.Kill(), s.Restart(t.Context(), Fast)) },
	} {
		mustExec(t, s, "INSERT INTO kept VALUES (1)")
		pid := pidOf(s)
		require.NoError(t, end())
		require.False(t, alive(pid))
		require.Equal(t, url, s.URL())
		require.Equal(t, i+1, count(t, s, "kept"))
	}
	require.NoError(t, s.Stop(t.Context()))
	require.Error(t, s.Restart(t.Context(), Fast), "stopped is stopped")
}

// A client in the middle of a transaction does not hold up a stop.
func TestServer_Stop_WithClients(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Dir: dataDir(t)})
	mustExec(t, s, "CREATE TABLE t (n int)")
	conn := connect(t, s)
	_, err := conn.Exec(t.Context(), "BEGIN; INSERT INTO t VALUES (1)")
	require.NoError(t, err)
	require.NoError(t, s.Stop(t.Context()))
	log, err := os.ReadFile(filepath.Join(s.Dir(), "postgres.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "received fast shutdown request", "a smart one waits for its clients")
}

// startHelper runs a process that starts a server; it returns the processes' ids and the folder.
func startHelper(t *testing.T, dir string) (parent *exec.Cmd, postgres, guard int, folder string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	if strings.Contains(line, errNoBinaries.Error()) {
		t.Skip(line)
	}
	_, err = fmt.Sscan(line, &postgres, &guard, &folder)
	require.NoError(t, err, line)
	return cmd, postgres, guard, folder
}

func TestServer_ParentDies(t *testing.T) {
	t.Parallel()
	t.Run("TheGuardEndsTheServer", func(t *testing.T) {
		t.Parallel()
		parent, postgres, guard, folder := startHelper(t, "")
		require.DirExists(t, folder)
		require.NoError(t, parent.Process.Kill())
		_ = parent.Wait()
		gone(t, postgres)
		gone(t, guard)
		require.NoDirExists(t, folder)
	})
	t.Run("TheNextStartEndsTheOrphan", func(t *testing.T) {
		t.Parallel()
		dir := dataDir(t)
		parent, orphan, guard, _ := startHelper(t, dir)
		require.NoError(t, syscall.Kill(guard, syscall.SIGKILL))
		require.NoError(t, parent.Process.Kill())
		_ = parent.Wait()
		require.True(t, alive(orphan))

		s := start(t, Config{Dir: dir})
		gone(t, orphan)
		require.NotEqual(t, orphan, pidOf(s))
	})
	t.Run("AnOrphansChildrenAreWaitedFor", func(t *testing.T) {
		t.Parallel()
		dir := dataDir(t)
		parent, orphan, guard, _ := startHelper(t, dir)
		for _, pid := range []int{guard, orphan} {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		require.NoError(t, parent.Process.Kill())
		_ = parent.Wait()
		start(t, Config{Dir: dir})
	})
}

// The number in a stale postmaster.pid may be another program's by now.
func TestServer_StalePostmasterPID(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	require.NoError(t, start(t, Config{Dir: dir}).Stop(t.Context()))
	other := exec.Command("sleep", "600")
	require.NoError(t, other.Start())
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	pidFile := filepath.Join(dir, "data", "postmaster.pid")
	require.NoError(t, os.WriteFile(pidFile, fmt.Appendf(nil, "%d\n%s/data\n", other.Process.Pid, dir), 0o600))

	start(t, Config{Dir: dir})
	require.True(t, alive(other.Process.Pid), "not our server: it must live")
}

func TestStart_Refuses(t *testing.T) {
	t.Parallel()
	t.Run("AFolderInUse", func(t *testing.T) {
		t.Parallel()
		s := start(t, Config{Dir: dataDir(t)})
		_, err := Start(t.Context(), Config{Dir: s.Dir()})
		require.ErrorContains(t, err, "another process uses "+s.Dir())
		require.ErrorContains(t, err, fmt.Sprint(os.Getpid()))
		require.Equal(t, 1, count(t, s, "pg_database WHERE datname = 'dealbox'"), "the first one goes on")
	})
	t.Run("DataOfAnotherVersion", func(t *testing.T) {
		t.Parallel()
		dir := dataDir(t)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "data"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("12\n"), 0o600))
		_, err := Start(t.Context(), Config{Dir: dir, Using: Binaries})
		if errors.Is(err, errNoBinaries) {
			t.Skip(err)
		}
		require.ErrorContains(t, err, dir+" were made by PostgreSQL 12")
		require.ErrorContains(t, err, "install PostgreSQL 12")
	})
	t.Run("ATakenPort", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		_, err = Start(t.Context(), Config{Using: Binaries, Port: l.Addr().(*net.TCPAddr).Port})
		if errors.Is(err, errNoBinaries) {
			t.Skip(err)
		}
		require.ErrorIs(t, err, errPortTaken)
	})
	t.Run("DataWithoutTheirPassword", func(t *testing.T) {
		t.Parallel()
		dir := dataDir(t)
		require.NoError(t, start(t, Config{Dir: dir}).Stop(t.Context()))
		require.NoError(t, os.Remove(filepath.Join(dir, passwordFile)))
		for range 2 {
			_, err := Start(t.Context(), Config{Dir: dir, Using: Binaries})
			require.ErrorContains(t, err, "put it back")
		}
	})
	t.Run("ASettingThatIsWrong", func(t *testing.T) {
		t.Parallel()
		dir := dataDir(t)
		require.NoError(t, start(t, Config{Dir: dir}).Stop(t.Context()))
		_, err := Start(t.Context(), Config{Dir: dir, Using: Binaries, Settings: map[string]string{"no_such_setting": "1"}})
		require.ErrorContains(t, err, `unrecognized configuration parameter "no_such_setting"`)
		start(t, Config{Dir: dir}) // nothing is left locked or running
	})
}

func TestStart_Cancelled(t *testing.T) {
	t.Parallel()
	dir := dataDir(t)
	require.NoError(t, start(t, Config{Dir: dir}).Stop(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Start(ctx, Config{Dir: dir, Using: Binaries})
	require.ErrorIs(t, err, context.Canceled)
	require.NoFileExists(t, filepath.Join(dir, "data", "postmaster.pid"))
}

// A socket's path has 107 bytes at most.
func TestStart_LongDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(dataDir(t), strings.Repeat("long", 20), "pg")
	s := start(t, Config{Dir: dir})
	sockets := s.engine.(*process).sockets
	require.NotEqual(t, dir, sockets)
	require.NoError(t, s.Stop(t.Context()))
	require.NoDirExists(t, sockets)
}

// As root Postgres runs as somebody else, who must be able to reach the folder.
func TestPlace(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	require.NoError(t, os.Chmod(closed, 0o700))
	wanted := filepath.Join(closed, "state", "dev")
	dir, moved, err := Place(wanted)
	require.NoError(t, err)
	if os.Geteuid() != 0 {
		require.Equal(t, wanted, dir)
		require.False(t, moved)
		return
	}
	require.True(t, moved)
	require.Equal(t, "/var/lib/dealbox/dev", dir)

	_, err = Start(t.Context(), Config{Dir: wanted, Using: Binaries})
	if errors.Is(err, errNoBinaries) {
		t.Skip(err)
	}
	var reach *ReachError
	require.ErrorAs(t, err, &reach)
	require.Equal(t, closed, reach.Blocked)
	require.ErrorContains(t, err, "choose another place")

	open := dataDir(t)
	dir, moved, err = Place(open)
	require.NoError(t, err)
	require.False(t, moved)
	require.Equal(t, open, dir)
}
