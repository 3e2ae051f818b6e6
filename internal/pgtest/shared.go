package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// startTimeout bounds the start of a server, fetching its image included,
	// and the making of the template.
	startTimeout = 10 * time.Minute
	stopTimeout  = 2 * time.Minute
)

var (
	// ready: Main runs the tests, so a server that they start is stopped.
	ready  atomic.Bool
	shared lazyCluster
)

// lazyCluster is the server that the tests of one process share. The first
// test that needs it starts it.
type lazyCluster struct {
	once    sync.Once
	server  *Server
	cluster *cluster
	err     error
}

func (l *lazyCluster) get() (*cluster, error) {
	if !ready.Load() {
		return nil, errors.New("this package needs: func TestMain(m *testing.M) { pgtest.Main(m) }")
	}
	l.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		l.err = l.open(ctx)
	})
	return l.cluster, l.err
}

func (l *lazyCluster) open(ctx context.Context) (err error) {
	if l.server, err = StartServer(ctx, UsingAuto); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "pgtest: using", l.server.Kind)
	l.cluster, err = openCluster(ctx, l.server.URL)
	return err
}

func (l *lazyCluster) close() error {
	if l.cluster != nil {
		l.cluster.close()
	}
	if l.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := l.server.Stop(ctx); err != nil {
		return fmt.Errorf("stop the test server: %w", err)
	}
	return nil
}
