// Package localpg runs a private Postgres: for `dealbox dev`, and for tests
// where Docker does not answer.
//
// It uses Postgres binaries of this machine, or else a container. The server
// listens on loopback alone, asks for a generated password, and keeps its data
// in one folder. It ends with Stop; when this process dies without Stop, a guard
// process ends it, and failing that the next Start on the same folder does.
package localpg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	// User is the superuser that initdb makes.
	User = "dealbox"
	// Database is the one that URL names.
	Database = "dealbox"
	// DefaultImage is the image of the container variant.
	DefaultImage = "postgres:15"
	// MinVersion is the oldest major version that Dealbox works with.
	MinVersion = 15

	// readyTimeout bounds a start, recovery after a crash included.
	readyTimeout = 3 * time.Minute
	// fastTimeout is how long a fast shutdown may take before it becomes an
	// immediate one. A fast shutdown writes a checkpoint.
	fastTimeout = 10 * time.Second
	// immediateTimeout is how long an immediate shutdown may take before SIGKILL.
	immediateTimeout = 5 * time.Second
	// killTimeout is how long the end may take after SIGKILL, which nothing can refuse.
	killTimeout = time.Minute
)

// Using says what runs the server.
type Using string

// The values of Config.Using.
const (
	Auto      Using = "" // binaries where there are some, else a container
	Binaries  Using = "local"
	Container Using = "container"
)

// Mode is how a server is shut down, in the words of pg_ctl.
type Mode string

// The modes that Restart takes.
const (
	Fast      Mode = "fast"      // ends transactions, writes a checkpoint
	Immediate Mode = "immediate" // like a crash: the next start recovers from the WAL
)

// Config is what Start needs. Only Dir is commonly set.
type Config struct {
	// Dir keeps data, password and log. It is made where it is missing, and one
	// server at a time may use it. Empty: a folder below TempDir, without fsync,
	// that Stop removes. As root, see Place.
	Dir string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Settings are added to the server's command line, as in postgresql.conf.
	Settings map[string]string
	Using    Using
	// Image of the container variant; empty is DefaultImage.
	Image string
	// Logger gets what is worth knowing; nil discards it.
	Logger *slog.Logger
}

// Server is a Postgres that runs, until Stop.
type Server struct {
	dir       string
	temporary bool
	port      int
	password  string
	lock      *dirLock
	guard     *guard
	engine    engine
	logger    *slog.Logger

	mu      sync.Mutex // one of Restart, Kill and Stop at a time
	stopped bool
}

// engine is what runs the server: a process or a container.
type engine interface {
	// start starts it and does not wait until it is ready.
	start(ctx context.Context) error
	// stop ends it and waits until it has ended; nil when it had ended before.
	stop(ctx context.Context, mode Mode) error
	// kill is SIGKILL.
	kill() error
	// exited is closed once the server that start started is gone.
	exited() <-chan struct{}
	// log is the end of the server's log, for errors.
	log() string
	// remove takes away what stop leaves, except the data; with temporary set, the data too.
	remove(temporary bool) error
	// psql is the command that opens a session.
	psql(url string) string
	// String says what it is.
	String() string
	// ended is how a person ends the server by hand.
	ended() string
}

// Start starts a server and waits until it answers and its database exists.
// The error says what to install where neither binaries nor Docker are there.
func Start(ctx context.Context, config Config) (*Server, error) {
	s, err := prepare(config)
	if err != nil {
		return nil, err
	}
	if err := s.open(ctx, config); err != nil {
		return nil, errors.Join(err, s.discard())
	}
	s.logger.Info("postgres is ready", "postgres", s.engine.String(), "port", s.port, "dir", s.dir)
	return s, nil
}

// prepare makes the folder, locks it, and sets the guard.
func prepare(config Config) (*Server, error) {
	s := &Server{dir: config.Dir, temporary: config.Dir == "", logger: config.Logger}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.temporary {
		s.dir, err = os.MkdirTemp(TempDir(), "dealbox-pg-")
	} else if s.dir, err = filepath.Abs(config.Dir); err == nil {
		err = makeDir(s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("make the folder for Postgres: %w", err)
	}
	if s.lock, err = lockDir(s.dir); err != nil {
		return nil, err
	}
	if s.guard, err = startGuard(s.dir, s.temporary); err != nil {
		return nil, errors.Join(err, s.discard())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context, config Config) (err error) {
	if s.engine, err = s.newEngine(ctx, config); err != nil {
		return err
	}
	if err := s.startOnPort(ctx, config.Port); err != nil {
		return err
	}
	return ensureDatabase(ctx, s.urlOf("postgres"), Database)
}

// newEngine decides what runs the server and prepares its data.
func (s *Server) newEngine(ctx context.Context, config Config) (engine, error) {
	settings := defaultSettings(s.temporary, config.Settings)
	if config.Using != Container {
		e, err := newProcess(ctx, s, settings)
		if config.Using == Binaries || !errors.Is(err, errNoBinaries) {
			return e, err
		}
	}
	return newContainer(ctx, s, config.Image, settings)
}

// startOnPort starts the engine. A free port can be taken by somebody else
// before Postgres listens on it; then another one is tried.
func (s *Server) startOnPort(ctx context.Context, port int) error {
	for try := 1; ; try++ {
		s.port = port
		if port == 0 {
			free, err := freePort()
			if err != nil {
				return err
			}
			s.port = free
		}
		err := s.startEngine(ctx)
		if !errors.Is(err, errPortTaken) || port != 0 || try == 3 {
			return err
		}
	}
}

// PSQL is a command to paste into a shell that opens a session on the database.
func (s *Server) PSQL() string { return s.engine.psql(s.URL()) }

// URL connects to the server's database "dealbox" as its superuser. It holds the password.
func (s *Server) URL() string { return s.urlOf(Database) }

// String says what the server is, in words: version, place, port.
func (s *Server) String() string { return fmt.Sprintf("%s, port %d", s.engine, s.port) }

// StopCommand is a command to paste that ends the server, should this process not do it.
func (s *Server) StopCommand() string { return s.engine.ended() }

// Port on 127.0.0.1. It stays the same over Restart.
func (s *Server) Port() int { return s.port }

// Dir keeps the data.
func (s *Server) Dir() string { return s.dir }

// Restart shuts the server down in the given mode (or finds it ended: see
// Kill), starts it again on the same port, and waits until it answers.
func (s *Server) Restart(ctx context.Context, mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("postgres is stopped: it cannot be restarted")
	}
	if err := s.engine.stop(ctx, mode); err != nil {
		return err
	}
	return s.startEngine(ctx)
}

func (s *Server) startEngine(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout,
		fmt.Errorf("postgres did not answer within %s", readyTimeout))
	defer cancel()
	for {
		err := s.startOnce(ctx)
		if !errors.Is(err, errStillThere) {
			return err
		}
		// The children of a killed server take a moment to notice.
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func (s *Server) startOnce(ctx context.Context) error {
	if err := s.engine.start(ctx); err != nil {
		return err
	}
	if err := waitReady(ctx, s.urlOf("postgres"), s.engine); err != nil {
		return errors.Join(err, s.engine.stop(context.WithoutCancel(ctx), Immediate))
	}
	return nil
}

func (s *Server) urlOf(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(User, s.password),
		Host: "127.0.0.1:" + strconv.Itoa(s.port), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Kill ends the server with SIGKILL and returns when its main process is gone.
// Restart brings it back.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.engine.kill()
}

// Stop shuts the server down: fast, then immediate after 10 seconds or when ctx
// ends, then SIGKILL. It leaves no process, socket or port; a second call does nothing.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	return errors.Join(s.engine.stop(ctx, Fast), s.discard())
}

// discard gives back what prepare took.
func (s *Server) discard() error {
	var err error
	if s.engine != nil {
		err = s.engine.remove(s.temporary)
	}
	s.guard.release()
	if s.temporary {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return errors.Join(err, s.lock.release())
}
