package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

func mustOpen(t *testing.T, rawURL string, o PoolOptions) *pgxpool.Pool {
	t.Helper()
	pool, err := OpenPool(t.Context(), Secret(rawURL), o)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func mustShow(t *testing.T, pool *pgxpool.Pool, setting string) string {
	t.Helper()
	var value string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&value))
	return value
}

func TestOpenPool_Session(t *testing.T) {
	t.Parallel()
	ingest, work, reads := poolShares(10)
	base := pgtest.URL(t)
	for _, test := range []struct {
		options PoolOptions
		timeout string
	}{{ingest, "6s"}, {work, "30s"}, {reads, "10s"}, {MigratePool, "0"}} {
		pool := mustOpen(t, base, test.options)
		require.Equal(t, "dealbox", mustShow(t, pool, "application_name"))
		require.Equal(t, "UTC", mustShow(t, pool, "TimeZone"))
		require.Equal(t, "on", mustShow(t, pool, "synchronous_commit"))
		require.Equal(t, "5s", mustShow(t, pool, "idle_in_transaction_session_timeout"))
		require.Equal(t, test.timeout, mustShow(t, pool, "statement_timeout"))
	}
	require.Equal(t, "2s", mustShow(t, mustOpen(t, base, ingest), "lock_timeout"))
}

// A URL may name the application; it may not switch off what a 2xx promises.
func TestOpenPool_URLCannotWeaken(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(pgtest.URL(t))
	require.NoError(t, err)
	q := u.Query()
	q.Set("synchronous_commit", "off")
	q.Set("timezone", "Asia/Bangkok")
	q.Set("application_name", "staging")
	q.Set("pool_max_conns", "99")
	u.RawQuery = q.Encode()
	pool := mustOpen(t, u.String(), CommandPool)
	require.Equal(t, "on", mustShow(t, pool, "synchronous_commit"))
	require.Equal(t, "UTC", mustShow(t, pool, "TimeZone"))
	require.Equal(t, "staging", mustShow(t, pool, "application_name"))
	require.EqualValues(t, CommandPool.MaxConns, pool.Config().MaxConns)
}

func TestOpenPool_ErrorsHideThePassword(t *testing.T) {
	t.Parallel()
	_, err := OpenPool(t.Context(), "postgres://u:"+canary+"/x@h:5432/d", CommandPool)
	require.Error(t, err)
	require.NotContains(t, err.Error(), canary)

	pool := mustOpen(t, "postgres://u:"+canary+"@127.0.0.1:1/d", CommandPool)
	err = Ping(t.Context(), pool)
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.NotContains(t, err.Error(), canary)
	require.NotContains(t, DatabaseName(pool), canary)
}

func TestPoolShares(t *testing.T) {
	t.Parallel()
	for maxConns, share := range map[int]int{minConns: 2, 8: 2, 10: 3, 30: 10, 1000: 333} {
		ingest, work, reads := poolShares(maxConns)
		require.Equal(t, share, ingest.MaxConns)
		require.Equal(t, maxConns, ingest.MaxConns+work.MaxConns+reads.MaxConns, "no connection more than was allowed")
		require.GreaterOrEqual(t, work.MaxConns, 2)
	}
}

// startingUp answers its nth ping.
type startingUp struct{ left int }

var errAway = errors.New("connection refused")

func (s *startingUp) Ping(context.Context) error {
	s.left--
	if s.left <= 0 {
		return nil
	}
	return errAway
}

func TestWaitForDatabase(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		answers  int // the ping that is answered
		warnings int
	}{
		{"AtOnce", 1, 0},
		{"Soon", 3, 1},
		{"AfterAMinute", 62, 3}, // at once, after 30 s, after 60 s
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				start := time.Now()
				require.NoError(t, waitForDatabase(t.Context(), &startingUp{test.answers}, NewLogger(&out, LogConfig{Level: slog.LevelInfo})))
				require.Equal(t, time.Duration(test.answers-1)*waitEvery, time.Since(start))
				require.Equal(t, test.warnings, strings.Count(out.String(), "waiting for the database"), out.String())
				if test.warnings > 0 {
					require.Contains(t, out.String(), errAway.Error())
					require.Contains(t, out.String(), "the database can be reached")
				}
			})
		})
	}
}

func TestWaitForDatabase_Cancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := waitForDatabase(ctx, &startingUp{1000}, slog.New(slog.DiscardHandler))
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}
