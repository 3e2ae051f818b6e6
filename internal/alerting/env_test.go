package alerting_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
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
	pgtest.DB
}

func newEnv(t testing.TB, config alerting.Config) env {
	t.Helper()
	db := pgtest.Open(t)
	inserter, err := jobs.NewInserter(db.Pool, nil, nil)
	require.NoError(t, err)
	outbox := notify.New(notify.Config{Channels: []notify.Channel{{Name: "webhook", Floor: level.Error}}}, inserter)
	return env{Alerts: alerting.New(config, outbox), DB: db}
}

// newCommand is the same env as a command has it: it knows no channel.
func newCommand(h env) env {
	h.T.Helper()
	inserter, err := jobs.NewInserter(h.Pool, nil, nil)
	require.NoError(h.T, err)
	h.Alerts = alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	return h
}

func (h env) raise(a alerting.Alert) (id int64) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = h.Raise(ctx, tx, a)
		return err
	})
	return id
}

func (h env) resolve(rule, subject string) (found bool) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		found, err = h.Resolve(ctx, tx, rule, subject, "fixed")
		return err
	})
	return found
}

func (h env) episodes() []alerting.Episode {
	h.T.Helper()
	page, err := alerting.List(h.T.Context(), h.Pool, alerting.Filter{Limit: alerting.MaxLimit})
	require.NoError(h.T, err)
	return page.Episodes
}

// history is the kinds of an episode's history rows.
func (h env) history(id int64) string {
	h.T.Helper()
	return h.MustText(`SELECT coalesce(string_agg(kind, ' ' ORDER BY id), '') FROM alert_event WHERE alert_id = $1`, id)
}

func unusable(lvl level.Level, message string) alerting.Alert {
	return alerting.Alert{
		Rule: alerting.RuleStrapiUnusable, Subject: "billings", Level: lvl,
		Message: message, Details: map[string]any{"failures": 12},
	}
}

// review runs the minute's job once.
func (h env) review() {
	h.T.Helper()
	require.NoError(h.T, alerting.NewReviewWorker(h.Pool, h.Alerts).Work(h.T.Context(), nil))
}

// later moves every open episode and silence into the past.
func (h env) later(d time.Duration) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
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

func (h env) status(id int64) string {
	h.T.Helper()
	return h.MustText("SELECT status FROM alert WHERE id = $1", id)
}

// sent marks what waits in the outbox as sent.
func (h env) sent() {
	h.T.Helper()
	h.MustExec("UPDATE notification SET status = 'sent', sent_at = clock_timestamp(), attempts = 1 WHERE status = 'pending'")
}

// outbox is an episode's notifications, such as "first/pending reminder/suppressed(silence)".
func (h env) outbox(id int64) string {
	h.T.Helper()
	return h.MustText(`SELECT coalesce(string_agg(reason || '/' || status || coalesce('(' || suppressed_by || ')', ''), ' ' ORDER BY id), '')
		FROM notification WHERE alert_id = $1`, id)
}

// rule is "level status" of the newest episode of a rule, "" when there is none.
func (h env) rule(rule string) string {
	h.T.Helper()
	return h.MustText(`SELECT coalesce((SELECT level || ' ' || status FROM alert WHERE rule = $1 ORDER BY id DESC LIMIT 1), '')`, rule)
}
