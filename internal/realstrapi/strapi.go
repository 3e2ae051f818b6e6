// Package realstrapi runs a real Strapi 5: the example app of the repository,
// on a Postgres that the caller brings. The end-to-end tests (`make test-strapi`)
// and `make strapi` use it.
package realstrapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startTimeout bounds a start: 3 to 6 s on a machine with nothing else to do.
	startTimeout = 10 * time.Minute
	// scriptTimeout bounds one script of the example.
	scriptTimeout = 10 * time.Minute
	// stopTimeout is how long Strapi may take to end; then it is killed.
	stopTimeout = 15 * time.Second
	// pollInterval is how often Start checks whether Strapi is ready.
	pollInterval = 100 * time.Millisecond
)

// Config is what New needs.
type Config struct {
	// Source is the folder strapi of the repository, Modules what Install returned.
	Source, Modules string
	// DatabaseURL is an empty Postgres database of its own, or one of an earlier run.
	DatabaseURL string
	// Port on 127.0.0.1; 0 takes a free one.
	Port int
	// Drafts turns draft and publish on for every type.
	Drafts bool
	// Locales are further ones beside en, the default. With any, deals and billings
	// are localized; construction billings never are.
	Locales []string
	// DealboxURL is where webhooks go, without a path.
	DealboxURL string
	// Stock leaves the plugin out: webhooks are not signed.
	Stock bool
	// WebhookToken goes into a static header of the webhook; "" adds none.
	WebhookToken string
	// Prefix is api.rest.prefix; "" is /api.
	Prefix string
	// Files replace files of the example, by their path in it. They are written before
	// each start.
	Files map[string]string
	// Settings are further environment variables of Strapi and the scripts.
	Settings map[string]string
	// Log gets what Strapi prints; nil discards it.
	Log io.Writer
}

// Strapi is a real Strapi. Start and Stop may be called in turn; Close ends it
// for good. It is not safe for concurrent use, but its HTTP methods are.
type Strapi struct {
	// URL is the address, without a slash at its end.
	URL string

	config Config
	dir    string // of the app: a copy, so that Strapi writes nothing into the repository
	port   string
	log    *lockedBuffer

	process *exec.Cmd
	alive   io.Closer     // Strapi ends when this does
	exited  chan struct{} // closed when the process is gone

	jwt jwt
}

// New prepares an app, with secrets of its own, and does not start it.
func New(ctx context.Context, config Config) (*Strapi, error) {
	port, err := choosePort(ctx, config.Port)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dealbox-strapi-")
	if err != nil {
		return nil, fmt.Errorf("prepare Strapi: %w", err)
	}
	s := &Strapi{URL: "http://127.0.0.1:" + port, config: config, dir: dir, port: port, log: &lockedBuffer{to: config.Log}}
	if err = makeApp(config.Source, config.Modules, dir); err == nil {
		err = s.script(ctx, "env.js")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare Strapi: %w", err), os.RemoveAll(dir))
	}
	return s, nil
}

// choosePort returns the wanted port, or a free one where that is 0. Nobody listens on
// it now; Strapi accepts a port and no listener.
func choosePort(ctx context.Context, wanted int) (string, error) {
	if wanted == 0 {
		return FreePort(ctx)
	}
	port := strconv.Itoa(wanted)
	if err := tryPort(ctx, port); err != nil {
		return "", fmt.Errorf("take a port for Strapi: %w", err)
	}
	return port, nil
}

// FreePort returns a free port of 127.0.0.1 below 32768, from where Linux takes the
// ports of those who ask for any and the near ends of connections. So it is still
// free when the program that listens on it is started again.
func FreePort(ctx context.Context) (string, error) {
	const first, count, tries = 20000, 12000, 100
	var err error
	for range tries {
		port := strconv.Itoa(first + rand.IntN(count))
		if err = tryPort(ctx, port); err == nil {
			return port, nil
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

func tryPort(ctx context.Context, port string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	return l.Close()
}

// command runs a script. Node searches modules from where the links to them are,
// which is how Strapi finds the plugin.
func (s *Strapi) command(script string) *exec.Cmd {
	cmd := exec.Command("node", "--preserve-symlinks", "--preserve-symlinks-main", "--import", endWithParent, script, "start") //nolint:noctx // it outlives the start; Stop ends it
	cmd.Dir, cmd.Env = s.dir, s.environment()
	cmd.Stdout, cmd.Stderr = s.log, s.log
	detach(cmd)
	return cmd
}

// endWithParent makes Node end when its input does: also when we are killed.
const endWithParent = `data:text/javascript,process.stdin.on("end",()=>process.exit(1)).resume()`

// Start starts it and waits, at most 10 minutes, until it is ready. The error has
// the end of its log.
func (s *Strapi) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for path, content := range s.config.Files {
		if err := os.WriteFile(filepath.Join(s.dir, path), []byte(content), 0o600); err != nil {
			return fmt.Errorf("prepare Strapi: %w", err)
		}
	}
	cmd := s.command(filepath.Join("node_modules", "@strapi", "strapi", "bin", "strapi.js"))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start Strapi: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start Strapi: %w", err)
	}
	s.process, s.alive, s.exited = cmd, stdin, make(chan struct{})
	go func() {
		_ = cmd.Wait() // what matters of it is in the log
		close(s.exited)
	}()
	if err := s.waitReady(ctx); err != nil {
		s.Kill()
		return fmt.Errorf("start Strapi: %w; its log ends: %s", err, s.log.tail())
	}
	return nil
}

func (s *Strapi) waitReady(ctx context.Context) error {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/_health", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusNoContent {
				return nil
			}
		}
		select {
		case <-s.exited:
			return errors.New("it ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}

// Close ends it and removes its folder. The database stays.
func (s *Strapi) Close() error {
	s.Stop()
	return os.RemoveAll(s.dir)
}

// Stop ends it as a deployment does, with SIGTERM, and waits. What is in its
// queue of webhooks is lost.
func (s *Strapi) Stop() {
	s.end(syscall.SIGTERM)
}

// Kill ends it with SIGKILL and waits.
func (s *Strapi) Kill() {
	s.end(syscall.SIGKILL)
}

func (s *Strapi) end(signal os.Signal) {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(signal) // an error means that it is gone
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		_ = s.process.Process.Kill()
		<-s.exited
	}
	_ = s.alive.Close()
	s.process = nil
}

// Exited returns a channel that closes when the process that Start started is gone.
func (s *Strapi) Exited() <-chan struct{} { return s.exited }

// Configure changes the configuration for the next Start and the next script.
func (s *Strapi) Configure(change func(*Config)) { change(&s.config) }

// Connect makes an administrator, API tokens and the webhook, by the example's own script.
func (s *Strapi) Connect(ctx context.Context) error {
	return s.script(ctx, "connect.js")
}

// Seed makes some deals and billings, by the example's own script.
func (s *Strapi) Seed(ctx context.Context, count int) error {
	return s.script(ctx, "seed.js", strconv.Itoa(count))
}

func (s *Strapi) script(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join("scripts", name)}, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("strapi/example/scripts/%s: %w: %s", name, err, tail(out))
	}
	return nil
}

// environment returns the environment of Strapi and of the example's scripts. It
// has little of our own: settings of Dealbox, such as DATABASE_URL, have the same names.
func (s *Strapi) environment() []string {
	env := map[string]string{
		"NODE_ENV": "development", // in production it refuses webhooks to loopback
		"HOST":     "127.0.0.1", "PORT": s.port, "DATABASE_URL": s.config.DatabaseURL,
		"DRAFTS":    strconv.FormatBool(s.config.Drafts),
		"LOCALIZED": strconv.FormatBool(len(s.config.Locales) > 0), "LOCALES": strings.Join(s.config.Locales, ","),
		"STRAPI_TELEMETRY_DISABLED": "true", "REST_PREFIX": cmp.Or(s.config.Prefix, "/api"),
		"DEALBOX_URL": s.config.DealboxURL, "STRAPI_URL": s.URL, "STRAPI_WEBHOOK_TOKEN": s.config.WebhookToken,
		"SIGN_WEBHOOKS": strconv.FormatBool(!s.config.Stock),
	}
	for name, value := range s.config.Settings {
		env[name] = value
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		env[name] = os.Getenv(name)
	}
	list := make([]string, 0, len(env))
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// Setting returns a value of the app's .env, where the scripts keep what they make:
// STRAPI_API_TOKEN, STRAPI_SEED_TOKEN, STRAPI_WEBHOOK_SECRET, ADMIN_EMAIL, ADMIN_PASSWORD.
func (s *Strapi) Setting(name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(s.dir, ".env"))
	if err != nil {
		return "", fmt.Errorf("read Strapi's settings: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		if found, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok && found == name {
			return value, nil
		}
	}
	return "", fmt.Errorf("strapi has no setting %s yet", name)
}

// Log returns the end of what Strapi printed.
func (s *Strapi) Log() string { return s.log.tail() }

// lockedBuffer keeps what a process prints and hands it on.
type lockedBuffer struct {
	to io.Writer

	mu   sync.Mutex
	kept bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.to != nil {
		_, _ = b.to.Write(p)
	}
	return b.kept.Write(p)
}

func (b *lockedBuffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return tail(b.kept.Bytes())
}
