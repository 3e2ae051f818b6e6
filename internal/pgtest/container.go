package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
	"github.com/testcontainers/testcontainers-go/wait"

	"dealbox/internal/localpg"
)

const (
	// readyTimeout bounds the start of a container whose image is there.
	readyTimeout = 5 * time.Minute
	// memoryFolder of the container is a tmpfs, where the engine's machine has memoryNeeded.
	memoryFolder = "/memory"
	memoryNeeded = 8 << 30
)

// startContainer starts a server in a container. testcontainers' own reaper
// removes it should this process die (unless TESTCONTAINERS_RYUK_DISABLED).
func startContainer(ctx context.Context) (*Server, error) {
	image := cmp.Or(os.Getenv(ImageEnv), localpg.DefaultImage)
	command := []string{"postgres"}
	for name, value := range serverSettings() {
		command = append(command, "-c", name+"="+value)
	}
	published, err := publish(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask Docker for its address: %w", err)
	}
	inMemory, err := dataInMemory(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask Docker for its memory: %w", err)
	}
	c, err := postgres.Run(ctx, image, inMemory,
		postgres.WithUsername(localpg.User), postgres.WithPassword(randomHex(16)), postgres.WithDatabase(localpg.Database),
		testcontainers.WithCmd(command...),
		testcontainers.WithHostConfigModifier(published),
		// As postgres.BasicWaitStrategies, which give up after a minute.
		testcontainers.WithWaitStrategyAndDeadline(readyTimeout,
			wait.ForLog("database system is ready to accept connections").WithOccurrence(2).WithStartupTimeout(readyTimeout),
			wait.ForListeningPort("5432/tcp").WithStartupTimeout(readyTimeout)),
	)
	if err != nil {
		_ = testcontainers.TerminateContainer(c)
		return nil, fmt.Errorf("start a test server in a container: %w", err)
	}
	address, err := c.ConnectionString(ctx, "sslmode=disable")
	if err != nil {
		_ = testcontainers.TerminateContainer(c)
		return nil, fmt.Errorf("find the test server in its container: %w", err)
	}
	return &Server{
		URL:  address,
		Kind: fmt.Sprintf("a container of %s (testcontainers); to stop it by hand: docker rm --force --volumes %s", image, c.GetContainerID()[:12]),
		stop: func(ctx context.Context) error {
			return testcontainers.TerminateContainer(c, testcontainers.StopContext(ctx))
		},
	}, nil
}

// dataInMemory keeps the server's data in memory where there is enough of it: see localpg.TempDir.
func dataInMemory(ctx context.Context) (testcontainers.CustomizeRequestOption, error) {
	nothing := func(*testcontainers.GenericContainerRequest) error { return nil }
	provider, err := dockerProvider()
	if err != nil {
		return nil, err
	}
	defer func() { _ = provider.Close() }()
	engine, err := provider.Client().Info(ctx, client.InfoOptions{})
	if err != nil || engine.Info.MemTotal < memoryNeeded {
		return nothing, err
	}
	return func(request *testcontainers.GenericContainerRequest) error {
		return errors.Join(
			testcontainers.WithTmpfs(map[string]string{memoryFolder: "mode=1777"})(request),
			testcontainers.WithEnv(map[string]string{"PGDATA": memoryFolder + "/data"})(request),
		)
	}, nil
}

// dockerAnswers is nil when testcontainers finds a Docker engine.
func dockerAnswers(ctx context.Context) error {
	provider, err := dockerProvider()
	if err != nil {
		return err
	}
	defer func() { _ = provider.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return provider.Health(ctx)
}

// quiet keeps testcontainers from saying what Server.Kind says.
var quiet = sync.OnceFunc(func() { tclog.SetDefault(tclog.NewNoopLogger()) })

// publish makes the server's port reachable where testcontainers looks for it
// and nowhere else: on loopback, or, in a container that uses its host's Docker,
// on the bridge's address. On a Docker of another machine it stays open.
func publish(ctx context.Context) (func(*container.HostConfig), error) {
	provider, err := dockerProvider()
	if err != nil {
		return nil, err
	}
	defer func() { _ = provider.Close() }()
	if err := useLoopback(provider.Client().DaemonHost()); err != nil {
		return nil, err
	}
	host, err := provider.DaemonHost(ctx)
	if err != nil {
		return nil, err
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return func(*container.HostConfig) {}, nil // a name: another machine's Docker
	}
	return func(config *container.HostConfig) {
		config.PortBindings = network.PortMap{network.MustParsePort("5432/tcp"): {{HostIP: ip}}}
	}, nil
}

// dockerProvider turns the panic of testcontainers where there is no Docker at all into an error.
func dockerProvider() (provider *testcontainers.DockerProvider, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	quiet()
	return testcontainers.NewDockerProvider()
}

// useLoopback corrects testcontainers inside a container that runs its own
// Docker engine: it looks for ports at the gateway, which leads out of the
// container. The engine is our own when its bridge is among our interfaces.
func useLoopback(engine string) error {
	const override = "TESTCONTAINERS_HOST_OVERRIDE"
	_, err := net.InterfaceByName("docker0")
	if _, set := os.LookupEnv(override); set || err != nil || !strings.HasPrefix(engine, "unix:") {
		return nil //nolint:nilerr // no such bridge: testcontainers knows best
	}
	return os.Setenv(override, "127.0.0.1")
}
