// Command bench measures Dealbox on this machine, on a durable private
// Postgres, and prints ratios of figures from the same run: absolute numbers
// move with the machine. Load generator, Dealbox, Postgres and the simulated
// Strapi share its cores. Run it with `make bench`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/db/migrations"
	"dealbox/internal/localpg"
	"dealbox/internal/pgtime"
)

func main() {
	n := flag.Int("requests", 60_000, "requests of each ingest run")
	connections := flag.Int("connections", 64, "connections that send")
	events := flag.Int("events", 5_000, "events to drain")
	documents := flag.Int("documents", 10_000, "documents to reconcile")
	episodes := flag.Int("alerts", 0, "measure the reads of alerts with so many episodes, in place of the rest")
	only := flag.String("only", "", "ingest, drain or sweep alone")
	ill := flag.Duration("sick", 0, "measure a Strapi that partly fails, each case for so long, in place of the rest")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *n, *connections, *events, *documents, *episodes, *ill); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, n, connections, events, documents, episodes int, ill time.Duration) error {
	dir, err := os.MkdirTemp("", "dealbox-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// A folder of its own keeps fsync on: a 202 must mean committed here, too.
	server, err := localpg.Start(ctx, localpg.Config{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { _ = server.Stop(context.WithoutCancel(ctx)) }()

	fmt.Printf("%s, %d cores, %s, Postgres with fsync and synchronous_commit on\n\n",
		time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	if episodes > 0 {
		fmt.Printf("alerts, %d episodes and %d rows of history, each read %d times\n", episodes, 10*episodes, reads)
		return alerts(ctx, server.URL(), episodes)
	}
	if ill > 0 {
		fmt.Printf("a Strapi that partly fails, %d webhooks a second, each case for %s\n", sickPerSecond, ill)
		return sick(ctx, server.URL(), ill)
	}
	for _, part := range []struct {
		name, title string
		measure     func() error
	}{
		{"ingest", fmt.Sprintf("ingest, %d requests about distinct deals, %d connections", n, connections), func() error {
			return ingest(ctx, server.URL(), n, connections)
		}},
		{"drain", fmt.Sprintf("drain of %d events about distinct deals; Strapi takes 5 ms and 0.1 ms a document", events), func() error {
			return drain(ctx, server.URL(), events)
		}},
		{"sweep", fmt.Sprintf("full reconciliation of %d deals; Strapi takes 5 ms and 0.1 ms a document", documents), func() error {
			return sweep(ctx, server.URL(), documents)
		}},
	} {
		if only != "" && only != part.name {
			continue
		}
		fmt.Println(part.title)
		if err := part.measure(); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

// freshPool is a pool on an empty, migrated database.
func freshPool(ctx context.Context, url string, conns int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = conns
	config.AfterConnect = pgtime.UseUTC
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	_, err = pool.Exec(ctx, "DROP SCHEMA IF EXISTS river CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	if err == nil {
		_, err = migrations.Up(ctx, pool, nil)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}
