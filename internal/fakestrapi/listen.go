package fakestrapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Server is the fake on a TCP address.
type Server struct {
	// URL is the address for clients, such as http://127.0.0.1:1337.
	URL    string
	strapi *Strapi
	http   *http.Server
	done   chan error
}

// Listen serves the REST API on an address; 127.0.0.1:0 takes a free port.
func (s *Strapi) Listen(address string) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for the fake Strapi: %w", err)
	}
	server := &Server{
		URL:    "http://" + listener.Addr().String(),
		strapi: s,
		http: &http.Server{
			Handler: s, ReadHeaderTimeout: 10 * time.Second,
			ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
		},
		done: make(chan error, 1),
	}
	go func() { server.done <- server.http.Serve(listener) }()
	return server, nil
}

// Close finishes the requests under way and frees the port. Requests that hang
// in a fault are cut off at once, the others when ctx ends. The fake itself
// stays usable; close it too.
func (s *Server) Close(ctx context.Context) error {
	s.strapi.Faults.letHangingGo()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
