package alerting_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

var ada = alerting.Operator{Name: "ada", Comment: "I look after it"}

func (b env) acknowledge(id int64, o alerting.Operator) {
	b.t.Helper()
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		e, err := b.Acknowledge(ctx, tx, id, o)
		require.Equal(b.t, alerting.Acknowledged, e.Status)
		return err
	})
}

// tend runs the minute's job once.
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

func TestAlerts_Acknowledge(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	id := b.raise(dead(level.Error, "m"))
	b.acknowledge(id, ada)
	require.Equal(t, "raised acknowledged", b.history(id))
	require.Equal(t, "ada|I look after it|error", b.text("SELECT concat_ws('|', actor, reason, level) FROM alert_event WHERE kind = 'acknowledged'"))

	b.later(24 * time.Hour)
	b.review()
	require.Equal(t, "first/pending", b.outbox(id), "no reminder of what somebody looks after")

	b.raise(dead(level.Error, "once more"))
	require.Equal(t, "acknowledged", b.status(id), "a repeat changes nothing")
	b.raise(dead(level.Critical, "worse"))
	require.Equal(t, "firing", b.status(id), "what was acknowledged was less")
	require.Equal(t, "first/pending escalated/pending", b.outbox(id))

	b.acknowledge(id, ada)
	require.True(t, b.resolve(alerting.RuleEventDeadLettered, "api::billing.billing/abc"))
	require.Equal(t, "first/pending escalated/pending resolved/pending", b.outbox(id))
}

func TestAlerts_Remind(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{RemindEvery: time.Hour})
	id := b.raise(dead(level.Error, "m"))
	b.review()
	b.later(59 * time.Minute)
	b.review()
	require.Equal(t, "first/pending", b.outbox(id))
	b.later(2 * time.Minute)
	b.review()
	b.review()
	require.Equal(t, "first/pending reminder/pending", b.outbox(id), "once, however often it is looked at")
	b.later(61 * time.Minute)
	b.review()
	require.Equal(t, "first/pending reminder/pending reminder/pending", b.outbox(id))

	b.resolve(alerting.RuleEventDeadLettered, "api::billing.billing/abc")
	b.later(24 * time.Hour)
	b.review()
	require.Equal(t, "first/pending reminder/pending reminder/pending resolved/pending", b.outbox(id))
}

// Many are due at once: each is reminded of once, over several transactions.
func TestAlerts_RemindMany(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		for i := range 250 {
			_, err := b.Raise(ctx, tx, alerting.Alert{Rule: "r", Subject: strings.Repeat("x", i+1), Level: level.Error})
			require.NoError(t, err)
		}
		return nil
	})
	b.later(5 * time.Hour)
	b.review()
	require.Equal(t, "250 250", b.text(`SELECT concat_ws(' ', count(*), count(DISTINCT alert_id)) FROM notification WHERE reason = 'reminder'`))
}

// A command knows no channel. What it raises is told by the service's next look.
func TestAlerts_RaisedByACommand(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	command := newCommand(b)
	id := command.raise(dead(level.Error, "m"))
	require.Empty(t, b.outbox(id))
	b.review()
	b.review()
	require.Equal(t, "first/pending", b.outbox(id))
	command.inTx(func(ctx context.Context, tx pgx.Tx) error {
		_, err := command.ResolveByHand(ctx, tx, id, ada)
		return err
	})
	require.Equal(t, "first/pending resolved/pending", b.outbox(id), "who was told of it is told of its end")
}

func TestAlerts_ResolveByHand(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	id := b.raise(dead(level.Error, "m"))
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		e, err := b.ResolveByHand(ctx, tx, id, alerting.Operator{Name: "cli:root", Comment: "two\r\nlines\x00"})
		require.Equal(t, alerting.Resolved, e.Status)
		require.NotNil(t, e.ResolvedAt)
		return err
	})
	require.Equal(t, "cli:root|two lines", b.text("SELECT concat_ws('|', actor, reason) FROM alert_event WHERE kind = 'resolved'"))
	require.Equal(t, "first/pending resolved/pending", b.outbox(id))
	again := b.raise(dead(level.Error, "m"))
	require.NotEqual(t, id, again, "when the rule fires again it is a new episode")
}

func TestAlerts_OperatorsMistakes(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	id := b.raise(dead(level.Error, "m"))
	b.resolve(alerting.RuleEventDeadLettered, "api::billing.billing/abc")
	for _, do := range []func(context.Context, pgx.Tx, int64, alerting.Operator) (alerting.Episode, error){b.Acknowledge, b.ResolveByHand} {
		b.inTx(func(ctx context.Context, tx pgx.Tx) error {
			_, err := do(ctx, tx, id, ada)
			require.ErrorIs(t, err, alerting.ErrResolved)
			_, err = do(ctx, tx, 987654, ada)
			require.ErrorIs(t, err, alerting.ErrNoAlert)
			_, err = do(ctx, tx, id, alerting.Operator{Comment: strings.Repeat("x", 501)})
			var wrong *alerting.FieldError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, "comment", wrong.Field)
			return nil
		})
	}
	require.Equal(t, "raised resolved", b.history(id))
}

func TestTell(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	id := b.raise(dead(level.Error, "m"))
	b.acknowledge(id, ada)
	story, err := alerting.Get(t.Context(), b.pool, id)
	require.NoError(t, err)
	require.Equal(t, id, story.ID)
	require.Len(t, story.History, 2)
	require.Equal(t, "acknowledged", story.History[1].Kind)
	require.Equal(t, "ada", story.History[1].Actor)
	require.Len(t, story.Notifications, 1)
	require.Equal(t, "pending", story.Notifications[0].Status)

	_, err = alerting.Get(t.Context(), b.pool, id+1)
	require.ErrorIs(t, err, alerting.ErrNoAlert)
}
