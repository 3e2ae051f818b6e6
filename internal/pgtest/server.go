package pgtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"dealbox/internal/localpg"
)

// Using says where the test server comes from.
type Using string

// The values of Using, in the order in which UsingAuto tries them.
const (
	UsingAuto      Using = "auto"
	UsingURL       Using = "url"       // TEST_DATABASE_URL
	UsingContainer Using = "container" // testcontainers
	UsingLocal     Using = "local"     // Postgres binaries of this machine
)

const (
	// URLEnv names a server that is running already: the URL of its maintenance
	// database, for a role that may create databases.
	URLEnv = "TEST_DATABASE_URL"
	// UsingEnv forces one kind of server; it holds a value of Using.
	UsingEnv = "TEST_POSTGRES_USING"
	// ImageEnv is the image of the container.
	ImageEnv = "TEST_POSTGRES_IMAGE"
)

// Server is a Postgres for tests.
type Server struct {
	// URL of the maintenance database.
	URL string
	// Kind says which of the three it is, in words, and how to stop it by hand.
	Kind string
	stop func(context.Context) error
}

// Stop stops what StartServer started: nothing for TEST_DATABASE_URL.
func (s *Server) Stop(ctx context.Context) error { return s.stop(ctx) }

// StartServer finds or starts a server. UsingAuto (or "") takes the first that
// is there of TEST_DATABASE_URL, a container, and local binaries; the
// environment variable TEST_POSTGRES_USING does what an argument other than auto does.
func StartServer(ctx context.Context, using Using) (*Server, error) {
	if using == "" || using == UsingAuto {
		using = cmp.Or(Using(os.Getenv(UsingEnv)), UsingAuto)
	}
	rawURL := os.Getenv(URLEnv)
	switch using {
	case UsingURL:
		return fromURL(rawURL)
	case UsingContainer:
		return startContainer(ctx)
	case UsingLocal:
		return startLocal(ctx)
	case UsingAuto:
		return startAny(ctx, rawURL)
	default:
		return nil, fmt.Errorf("a test server cannot be %q: use auto, url, container or local", using)
	}
}

func startAny(ctx context.Context, rawURL string) (*Server, error) {
	if rawURL != "" {
		return fromURL(rawURL)
	}
	dockerErr := dockerAnswers(ctx)
	if dockerErr == nil {
		return startContainer(ctx)
	}
	s, err := startLocal(ctx)
	if localpg.IsMissing(err) {
		return nil, &localpg.MissingError{Docker: dockerErr}
	}
	return s, err
}

func fromURL(rawURL string) (*Server, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme == "" {
		return nil, errors.New(URLEnv + " must look like postgres://user:password@host:port/postgres?sslmode=disable")
	}
	return &Server{
		URL: rawURL, Kind: fmt.Sprintf("the server of %s (%s)", URLEnv, u.Redacted()),
		stop: func(context.Context) error { return nil },
	}, nil
}

func startLocal(ctx context.Context) (*Server, error) {
	s, err := localpg.Start(ctx, localpg.Config{Using: localpg.Binaries, Settings: serverSettings()})
	if err != nil {
		return nil, fmt.Errorf("start a test server from local binaries: %w", err)
	}
	return &Server{
		URL: s.URL(), Kind: fmt.Sprintf("local binaries: %s; to stop it by hand: %s", s, s.StopCommand()),
		stop: s.Stop,
	}, nil
}

// serverSettings are those of a server that lives as long as the tests. Data
// need not survive a crash of the machine. Many tests of many packages run at
// once, each with a pool of its own.
func serverSettings() map[string]string {
	return map[string]string{"fsync": "off", "full_page_writes": "off", "max_connections": "1000"}
}
