// Package dev runs everything on one machine with nothing configured: a private
// Postgres, a simulated Strapi with live traffic, and the service.
package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/db/migrations"
	"dealbox/internal/app"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/localpg"
	"dealbox/internal/text"
)

// stopTimeout bounds what dev stops after the service: the simulated Strapi and Postgres.
const stopTimeout = 20 * time.Second

// Config of dev.
type Config struct {
	// Reset empties dev's own database and simulated Strapi first.
	Reset bool
	// StrapiURL is the Strapi to use; "" means a simulated one.
	StrapiURL string
	// Port on 127.0.0.1 of the service.
	Port int
	// Getenv reads the settings; dev gives what is not set.
	Getenv  func(string) string
	Version string
	Stdout  io.Writer
	Stderr  io.Writer // the log
}

// Run starts everything and runs it until ctx ends. It keeps its data in the state
// directory of the user ($XDG_STATE_HOME, else ~/.local/state).
func Run(ctx context.Context, c Config) (err error) {
	d := &dev{config: c}
	// First of all: a port that is in use ends dev before it starts anything.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port)))
	if err != nil {
		return fmt.Errorf("listen on port %d (another 'dealbox dev'? choose one with --port): %w", c.Port, err)
	}
	defer func() { _ = listener.Close() }()
	if d.dir, err = d.chooseDir(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop(context.WithoutCancel(ctx))) }()
	if err := d.start(ctx); err != nil {
		return unlessStopped(ctx, err)
	}
	return unlessStopped(ctx, d.serve(ctx, listener))
}

// dev is everything on one machine.
type dev struct {
	config  Config
	dir     string
	secrets secrets
	log     *slog.Logger

	postgres *localpg.Server
	strapi   *simulation // nil with --strapi-url
}

// chooseDir returns where the data is kept: $XDG_STATE_HOME/dealbox/dev, else
// ~/.local/state/dealbox/dev; elsewhere when Postgres could not reach that.
func (d *dev) chooseDir() (string, error) {
	state := d.config.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find your home folder (or set XDG_STATE_HOME): %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	wanted := filepath.Join(state, "dealbox", "dev")
	dir, moved, err := localpg.Place(wanted)
	if err != nil {
		return "", fmt.Errorf("choose a folder for the data: %w", err)
	}
	if moved {
		d.say("The data goes to %s: Postgres does not run as root, and its user cannot reach %s.", dir, wanted)
	}
	return dir, nil
}

// start brings up what the service needs: Postgres, the schema, Strapi.
func (d *dev) start(ctx context.Context) (err error) {
	d.log = slog.New(slog.NewTextHandler(d.config.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d.say("Starting a private Postgres in %s …", d.dir)
	if d.postgres, err = localpg.Start(ctx, localpg.Config{Dir: filepath.Join(d.dir, "postgres"), Logger: d.log}); err != nil {
		return err
	}
	pool, err := app.OpenPool(ctx, app.Secret(d.postgres.URL()), app.MigratePool)
	if err != nil {
		return err
	}
	defer pool.Close()
	if d.config.Reset {
		if err := d.reset(ctx, pool); err != nil {
			return err
		}
	}
	applied, err := migrations.Up(ctx, pool, nil)
	if errors.Is(err, migrations.ErrUnreleased) {
		return fmt.Errorf("%w; 'dealbox dev --reset' empties it", err)
	}
	if err != nil {
		return err
	}
	if len(applied) > 0 {
		d.say("Applied %s.", text.Count(int64(len(applied)), "migration", "migrations"))
	}
	if d.secrets, err = loadSecrets(filepath.Join(d.dir, "secrets.json")); err != nil {
		return err
	}
	if d.config.StrapiURL == "" {
		d.strapi, err = startSimulation(d)
	}
	return err
}

// reset empties the database and the simulated Strapi. It runs once Postgres
// has started, so it never empties the folder of another `dev` that runs.
func (d *dev) reset(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := pool.Exec(ctx, "DROP SCHEMA IF EXISTS river CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	if err != nil {
		return fmt.Errorf("empty the database: %w", err)
	}
	for _, name := range []string{"strapi", "secrets.json"} {
		if err := os.RemoveAll(filepath.Join(d.dir, name)); err != nil {
			return fmt.Errorf("empty the simulated Strapi: %w", err)
		}
	}
	d.say("Emptied the database and the simulated Strapi.")
	return nil
}

// serve runs the service and the traffic until ctx ends. The service outlives the
// traffic, so that it still accepts the last webhooks.
func (d *dev) serve(ctx context.Context, listener net.Listener) error {
	config, err := app.LoadConfig(d.getenv, app.Everything...)
	if err != nil {
		return err
	}
	logger := app.NewLogger(d.config.Stderr, config.Log)
	serviceCtx, stopService := context.WithCancel(context.WithoutCancel(ctx))
	defer stopService()
	pool, err := app.OpenPool(serviceCtx, app.Secret(d.postgres.URL()), app.CommandPool)
	if err != nil {
		return err
	}
	defer pool.Close()
	s, err := app.New(serviceCtx, config, app.RoleAll, d.config.Version, logger)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	var serviceErr error // read after ended is closed
	go func() {
		defer close(ended)
		serviceErr = s.Run(serviceCtx, listener)
	}()

	err = unlessStopped(ctx, d.live(ctx, pool, ended))
	d.say("\nStopping …")
	if d.strapi != nil {
		d.strapi.drain(context.WithoutCancel(ctx))
	}
	stopService()
	<-ended
	return errors.Join(err, serviceErr)
}

// unlessStopped hides the error of an action that Ctrl-C cut short.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// live runs the simulated Strapi until ctx or the service ends.
func (d *dev) live(ctx context.Context, pool *pgxpool.Pool, ended <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := d.fillAndRun(ctx, pool)
	select {
	case <-ended:
		return errors.New("the service ended by itself")
	default:
		return err
	}
}

func (d *dev) fillAndRun(ctx context.Context, pool *pgxpool.Pool) error {
	if err := waitReady(ctx, d.address()); err != nil {
		return err
	}
	if d.strapi == nil {
		d.printHelp(nil)
		<-ctx.Done()
		return nil
	}
	if err := d.strapi.seed(ctx, d.say); err != nil {
		return err
	}
	deal, err := d.strapi.heldDeal()
	if err != nil {
		return err
	}
	if err := d.strapi.fake.Webhooks.Drain(ctx); err != nil {
		return err
	}
	// Dealbox must have read the deal before it changes, or its mirror would have the change already.
	if err := waitInSync(ctx, pool); err != nil {
		return err
	}
	held, err := d.strapi.holdBack(ctx, d.address(), deal, mirroredValue(ctx, pool, deal))
	if err != nil {
		return err
	}
	d.printHelp(held)
	return d.strapi.traffic.Run(ctx)
}

// stop ends what start began, in the reverse order.
func (d *dev) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var err error
	if d.strapi != nil {
		err = d.strapi.stop(ctx)
	}
	if d.postgres != nil {
		err = errors.Join(err, d.postgres.Stop(ctx))
		d.say("Stopped. The data is kept in %s.", d.dir)
	}
	return err
}

// getenv is the environment of the service: dev's own values where there is no choice,
// else the user's, so that ALERT_WEBHOOK_URL and the like still work, else dev's defaults.
func (d *dev) getenv(name string) string {
	fixed := map[string]string{
		"DATABASE_URL": d.postgres.URL(), "DATABASE_MIGRATE_URL": "",
		"LISTEN_ADDR": "127.0.0.1", "PORT": strconv.Itoa(d.config.Port),
		"API_TOKEN": "", // reads are open on loopback
	}
	defaults := map[string]string{
		"ADMIN_TOKEN": d.secrets.AdminToken, "PUBLIC_URL": d.address(),
		"LOG_LEVEL": "warn", "LOG_FORMAT": "text",
		"SHUTDOWN_DELAY": "0", // no load balancer is in front
		// The simulated outages are shorter than the default of 60 s.
		"CIRCUIT_BREAKER_RECOVERY_TIMEOUT": "10s",
	}
	if d.strapi != nil {
		// No reconciliation may find the change whose webhook is held back before somebody
		// pastes the curl: after the one at start the next comes in an hour.
		defaults["RECONCILE_INTERVAL"] = "1h"
		for name, value := range d.strapi.settings() {
			fixed[name] = value
		}
	} else {
		fixed["STRAPI_URL"] = d.config.StrapiURL
	}
	if value, ok := fixed[name]; ok {
		return value
	}
	return cmp.Or(d.config.Getenv(name), defaults[name])
}

// waitInSync returns when nothing is pending and no reconciliation runs, or after 30 s:
// then the dashboard shows what is still to do.
func waitInSync(ctx context.Context, pool *pgxpool.Pool) error {
	for range 150 {
		ledger, err := dbsqlc.New().InboxLedger(ctx, pool)
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		reconciliation, err := dbsqlc.New().ReconciliationAges(ctx, pool)
		if err != nil {
			return fmt.Errorf("read whether a reconciliation runs: %w", err)
		}
		if ledger.Pending == 0 && !reconciliation.HasOpen {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// mirroredValue returns the value of a deal in Dealbox, as people read it.
func mirroredValue(ctx context.Context, pool *pgxpool.Pool, documentID string) string {
	value, err := dbsqlc.New().DevDealValue(ctx, pool, documentID)
	if err != nil {
		return "unknown"
	}
	return value
}

// waitReady returns when the service accepts webhooks.
func waitReady(ctx context.Context, address string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/readyz", nil)
		if err != nil {
			return err
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
