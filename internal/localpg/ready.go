package localpg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	// errPortTaken: somebody else listens on the port.
	errPortTaken = errors.New("the port is taken")
	// errStillThere: processes of a killed server still hold its shared memory.
	errStillThere = errors.New("processes of the server before are still there")
)

// waitReady connects until the server answers, it exits, or ctx ends.
func waitReady(ctx context.Context, url string, e engine) error {
	for {
		if err := ping(ctx, url); err == nil {
			return nil
		} else if fatal(err) {
			return fmt.Errorf("connect to Postgres: %w", err)
		}
		select {
		case <-e.exited():
			return exitError(e.log())
		case <-ctx.Done():
			return fmt.Errorf("start Postgres: %w%s", context.Cause(ctx), quoteLog(e.log()))
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func ping(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// fatal reports whether no waiting helps: the server answers and does not let us in
// (invalid_password, invalid_authorization_specification).
func fatal(err error) bool {
	state := sqlState(err)
	return state == "28P01" || state == "28000"
}

func exitError(log string) error {
	switch {
	case strings.Contains(log, "Address already in use"):
		return fmt.Errorf("start Postgres: %w%s", errPortTaken, quoteLog(log))
	case strings.Contains(log, "pre-existing shared memory block"):
		return fmt.Errorf("start Postgres: %w%s", errStillThere, quoteLog(log))
	default:
		return fmt.Errorf("start Postgres: it exited at once%s", quoteLog(log))
	}
}

func quoteLog(log string) string {
	log = strings.TrimSpace(log)
	if log == "" {
		return ""
	}
	return "; its log ends with:\n" + log
}

// ensureDatabase makes the database unless it is there.
func ensureDatabase(ctx context.Context, url, name string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to Postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	switch sqlState(err) {
	case "42P04", "25006": // duplicate_database; read_only_sql_transaction: a standby has those of its primary
		return nil
	}
	if err != nil {
		return fmt.Errorf("make database %s: %w", name, err)
	}
	return nil
}

// sqlState is the SQLSTATE of a Postgres error, "" for any other.
func sqlState(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}
