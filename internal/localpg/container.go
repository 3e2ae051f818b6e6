package localpg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// dockerTimeout bounds one command of Docker's client, on a busy machine too.
	dockerTimeout = 2 * time.Minute
	// pullTimeout bounds the command that fetches the image.
	pullTimeout = 10 * time.Minute
	// containerData is where the image keeps its data; a named volume is mounted there.
	containerData = "/var/lib/postgresql/data"
)

// container runs Postgres in Docker, by its command line client. Data live in
// a named volume; Dir keeps the password.
type container struct {
	server   *Server
	image    string
	settings map[string]string
	name     string // of the container and of its volume

	mu   sync.Mutex
	made bool
	done chan struct{}
}

// newContainer checks that Docker answers, removes what a process that died
// left, and makes a new volume where Dir is new.
func newContainer(ctx context.Context, s *Server, image string, settings map[string]string) (engine, error) {
	if image == "" {
		image = DefaultImage
	}
	hash := sha256.Sum256([]byte(s.dir))
	c := &container{
		server: s, image: image, settings: settings,
		name: "dealbox-postgres-" + hex.EncodeToString(hash[:5]), done: make(chan struct{}),
	}
	close(c.done)
	if err := DockerAnswers(ctx); err != nil {
		return nil, &MissingError{Docker: err}
	}
	if _, err := docker(ctx, dockerTimeout, "rm", "--force", "--volumes", c.name); err != nil && !isMissing(err) {
		return nil, err
	}
	var fresh bool
	var err error
	if s.password, fresh, err = password(s.dir); err != nil {
		return nil, err
	}
	if fresh {
		if err := c.removeVolume(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.pull(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// pull fetches the image unless it is there.
func (c *container) pull(ctx context.Context) error {
	if _, err := docker(ctx, dockerTimeout, "image", "inspect", c.image); err == nil {
		return nil
	}
	c.server.logger.Info("fetching the image of Postgres", "image", c.image)
	_, err := docker(ctx, pullTimeout, "pull", "--quiet", c.image)
	return err
}

// DockerAnswers returns nil when a Docker engine answers its command line client.
func DockerAnswers(ctx context.Context) error {
	_, err := docker(ctx, 10*time.Second, "version", "--format", "{{.Server.Version}}")
	return err
}

// start runs the container, or starts the one that was stopped.
func (c *container) start(ctx context.Context) error {
	if err := c.run(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	c.mu.Lock()
	c.made, c.done = true, done
	c.mu.Unlock()
	go c.await(done)
	return nil
}

func (c *container) run(ctx context.Context) error {
	if c.isMade() {
		_, err := docker(ctx, dockerTimeout, "start", c.name)
		return err
	}
	args := []string{
		"run", "--detach", "--name", c.name,
		"--publish", fmt.Sprintf("127.0.0.1:%d:5432", c.server.port),
		"--volume", c.name + ":" + containerData,
		"--env", "POSTGRES_USER=" + User, "--env", "POSTGRES_DB=" + Database,
		"--env", "POSTGRES_PASSWORD", // its value comes by the environment: other users can read arguments
		c.image, "postgres",
	}
	_, err := dockerEnv(ctx, dockerTimeout, []string{"POSTGRES_PASSWORD=" + c.server.password}, append(args, settingArgs(c.settings)...)...)
	if err == nil {
		return nil
	}
	// Docker keeps a container that it made and could not start.
	_, _ = docker(context.WithoutCancel(ctx), dockerTimeout, "rm", "--force", "--volumes", c.name)
	if strings.Contains(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "address already in use") {
		return fmt.Errorf("start Postgres: %w (%w)", errPortTaken, err)
	}
	return fmt.Errorf("start Postgres: %w", err)
}

// await closes done when the container has ended.
func (c *container) await(done chan<- struct{}) {
	defer close(done)
	const forever = 365 * 24 * time.Hour
	_, _ = docker(context.Background(), forever, "wait", c.name) // it fails when it is gone
}

func (c *container) stop(ctx context.Context, mode Mode) error {
	if mode == Fast && c.end(ctx, "INT", fastTimeout) {
		return nil
	}
	if c.end(context.WithoutCancel(ctx), "QUIT", immediateTimeout) {
		return nil
	}
	return c.kill()
}

func (c *container) kill() error {
	if !c.end(context.Background(), "KILL", killTimeout) {
		return fmt.Errorf("container %s does not end, not even by SIGKILL", c.name)
	}
	return nil
}

// end sends the signal and reports whether the container ended in time.
func (c *container) end(ctx context.Context, signal string, limit time.Duration) bool {
	done := c.exited()
	select {
	case <-done:
		return true
	default:
	}
	_, _ = docker(ctx, dockerTimeout, "kill", "--signal", signal, c.name) // it fails when it has ended
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

func (c *container) exited() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

func (c *container) remove(temporary bool) error {
	ctx := context.Background()
	var err error
	if c.isMade() {
		if _, err = docker(ctx, dockerTimeout, "rm", "--force", "--volumes", c.name); err != nil && isMissing(err) {
			err = nil
		}
	}
	if temporary {
		err = errors.Join(err, c.removeVolume(ctx))
	}
	return err
}

func (c *container) removeVolume(ctx context.Context) error {
	_, err := docker(ctx, dockerTimeout, "volume", "rm", c.name)
	if err != nil && !isMissing(err) {
		return err
	}
	return nil
}

// docker runs one command of Docker's client and returns what it printed.
func docker(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	return dockerEnv(ctx, limit, nil, args...)
}

func dockerEnv(ctx context.Context, limit time.Duration, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), env...)
	detach(cmd)
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		err = errors.New(strings.TrimSpace(string(exit.Stderr)))
	}
	return "", fmt.Errorf("docker %s: %w", args[0], err)
}

// isMissing reports whether Docker does not know the container or volume.
func isMissing(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "no such")
}

func (c *container) isMade() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

func (c *container) log() string {
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "docker", "logs", "--tail", "20", c.name).CombinedOutput()
	return string(out)
}

func (c *container) psql(string) string {
	return fmt.Sprintf("docker exec --interactive --tty %s psql --username %s %s", c.name, User, Database)
}

func (c *container) String() string { return fmt.Sprintf("container %s (image %s)", c.name, c.image) }

func (c *container) ended() string { return "docker rm --force --volumes " + c.name }
