package alerting_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// env is Alerts on a database of their own, with one channel whose floor is
// error. Nothing works its jobs: package notify has the tests of sending.
type env struct {
	*alerting.Alerts
	t    testing.TB
	pool *pgxpool.Pool
}

func newEnv(t testing.TB, config alerting.Config) env {
	t.Helper()
	pool := pgtest.Pool(t)
	inserter, err := jobs.NewInserter(pool, nil, nil)
	require.NoError(t, err)
	outbox := notify.New(notify.Config{Channels: []notify.Channel{{Name: "webhook", Floor: level.Error}}}, inserter)
	return env{Alerts: alerting.New(config, outbox), t: t, pool: pool}
}

// newCommand is the same env as a command has it: it knows no channel.
func newCommand(b env) env {
	b.t.Helper()
	inserter, err := jobs.NewInserter(b.pool, nil, nil)
	require.NoError(b.t, err)
	b.Alerts = alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	return b
}

func (b env) inTx(do func(ctx context.Context, tx pgx.Tx) error) {
	b.t.Helper()
	ctx := b.t.Context()
	require.NoError(b.t, pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error { return do(ctx, tx) }))
}

func (b env) raise(a alerting.Alert) (id int64) {
	b.t.Helper()
	b.inTx(func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = b.Raise(ctx, tx, a)
		return err
	})
	return id
}

func (b env) resolve(rule, subject string) (found bool) {
	b.t.Helper()
	b.inTx(func(ctx context.Context, tx pgx.Tx) (err error) {
		found, err = b.Resolve(ctx, tx, rule, subject, "fixed")
		return err
	})
	return found
}

func (b env) text(query string, args ...any) string {
	b.t.Helper()
	var s string
	require.NoError(b.t, b.pool.QueryRow(b.t.Context(), query, args...).Scan(&s))
	return s
}

func (b env) episodes() []alerting.Episode {
	b.t.Helper()
	page, err := alerting.List(b.t.Context(), b.pool, alerting.Filter{Limit: alerting.MaxLimit})
	require.NoError(b.t, err)
	return page.Episodes
}

// history is the kinds of an episode's history rows.
func (b env) history(id int64) string {
	b.t.Helper()
	return b.text(`SELECT coalesce(string_agg(kind, ' ' ORDER BY id), '') FROM alert_event WHERE alert_id = $1`, id)
}

func unusable(lvl level.Level, message string) alerting.Alert {
	return alerting.Alert{
		Rule: alerting.RuleStrapiUnusable, Subject: "billings", Level: lvl,
		Message: message, Details: map[string]any{"failures": 12},
	}
}

// review runs the minute's job once.
func (b env) review() {
	b.t.Helper()
	require.NoError(b.t, alerting.NewReviewWorker(b.pool, b.Alerts).Work(b.t.Context(), nil))
}

// later moves every open episode and silence into the past.
func (b env) later(d time.Duration) {
	b.t.Helper()
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`) // past the trigger: a silence is written once
		for _, statement := range []string{
			`UPDATE alert SET first_seen = first_seen - $1::interval, last_seen = last_seen - $1, resolved_at = resolved_at - $1, notified_at = notified_at - $1`,
			`UPDATE silence SET created_at = created_at - $1::interval, expires_at = expires_at - $1`,
		} {
			if err == nil {
				_, err = tx.Exec(ctx, statement, d)
			}
		}
		return err
	})
}

func (b env) status(id int64) string {
	b.t.Helper()
	return b.text("SELECT status FROM alert WHERE id = $1", id)
}

// outbox is an episode's notifications, such as "first/pending reminder/suppressed(silence)".
func (b env) outbox(id int64) string {
	b.t.Helper()
	return b.text(`SELECT coalesce(string_agg(reason || '/' || status || coalesce('(' || suppressed_by || ')', ''), ' ' ORDER BY id), '')
		FROM notification WHERE alert_id = $1`, id)
}

// rule is "level status" of the newest episode of a rule, "" when there is none.
func (b env) rule(rule string) string {
	b.t.Helper()
	return b.text(`SELECT coalesce((SELECT level || ' ' || status FROM alert WHERE rule = $1 ORDER BY id DESC LIMIT 1), '')`, rule)
}

func (b env) exec(sql string) {
	b.t.Helper()
	_, err := b.pool.Exec(b.t.Context(), sql)
	require.NoError(b.t, err)
}
