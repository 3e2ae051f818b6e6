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

var ada = alerting.Operator{Name: "ada", Comment: "I take care of it"}

func (b env) acknowledge(id int64, o alerting.Operator) {
	b.t.Helper()
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		e, err := b.Acknowledge(ctx, tx, id, o)
		require.Equal(b.t, alerting.Acknowledged, e.Status)
		return err
	})
}

func TestAlerts_Acknowledge(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	id := b.raise(unusable(level.Error, "m"))
	b.acknowledge(id, ada)
	require.Equal(t, "raised acknowledged", b.history(id))
	require.Equal(t, "ada|I take care of it|error", b.text("SELECT concat_ws('|', actor, reason, level) FROM alert_event WHERE kind = 'acknowledged'"))

	b.later(24 * time.Hour)
	b.review()
	require.Equal(t, "first/pending", b.outbox(id), "no reminder of what somebody acknowledged")

	b.raise(unusable(level.Error, "once more"))
	require.Equal(t, "acknowledged", b.status(id), "a repeat changes nothing")
	b.raise(unusable(level.Critical, "worse"))
	require.Equal(t, "firing", b.status(id), "what was acknowledged was less")
	require.Equal(t, "first/pending escalated/pending", b.outbox(id))

	b.acknowledge(id, ada)
	require.True(t, b.resolve(alerting.RuleStrapiUnusable, "billings"))
	require.Equal(t, "first/pending escalated/pending resolved/pending", b.outbox(id))
}

func TestAlerts_Remind(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{RemindEvery: time.Hour})
	id := b.raise(unusable(level.Error, "m"))
	b.review()
	b.later(59 * time.Minute)
	b.review()
	require.Equal(t, "first/pending", b.outbox(id))
	b.later(2 * time.Minute)
	b.review()
	b.review()
	require.Equal(t, "first/pending reminder/pending", b.outbox(id), "once, however often it is reviewed")
	b.later(61 * time.Minute)
	b.review()
	require.Equal(t, "first/pending reminder/pending reminder/pending", b.outbox(id))

	b.resolve(alerting.RuleStrapiUnusable, "billings")
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

// A command knows no channel. The service's next review notifies of what it raises.
func TestAlerts_RaisedByACommand(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	command := newCommand(b)
	id := command.raise(unusable(level.Error, "m"))
	require.Empty(t, b.outbox(id))
	b.review()
	b.review()
	require.Equal(t, "first/pending", b.outbox(id))
	command.inTx(func(ctx context.Context, tx pgx.Tx) error {
		_, err := command.ResolveByHand(ctx, tx, id, ada)
		return err
	})
	require.Equal(t, "first/pending resolved/pending", b.outbox(id), "who was notified of it is notified of its end")
}

func TestAlerts_ResolveByHand(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	id := b.raise(unusable(level.Error, "m"))
	b.inTx(func(ctx context.Context, tx pgx.Tx) error {
		e, err := b.ResolveByHand(ctx, tx, id, alerting.Operator{Name: "cli:root", Comment: "two\r\nlines\x00"})
		require.Equal(t, alerting.Resolved, e.Status)
		require.NotNil(t, e.ResolvedAt)
		return err
	})
	require.Equal(t, "cli:root|two lines", b.text("SELECT concat_ws('|', actor, reason) FROM alert_event WHERE kind = 'resolved'"))
	require.Equal(t, "first/pending resolved/pending", b.outbox(id))
	again := b.raise(unusable(level.Error, "m"))
	require.NotEqual(t, id, again, "when the rule fires again it is a new episode")
}

func TestAlerts_OperatorsMistakes(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	id := b.raise(unusable(level.Error, "m"))
	b.resolve(alerting.RuleStrapiUnusable, "billings")
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

func TestGet(t *testing.T) {
	t.Parallel()
	b := newEnv(t, alerting.Config{})
	id := b.raise(unusable(level.Error, "m"))
	b.acknowledge(id, ada)
	detail, err := alerting.Get(t.Context(), b.pool, id)
	require.NoError(t, err)
	require.Equal(t, id, detail.ID)
	require.Len(t, detail.History, 2)
	require.Equal(t, "acknowledged", detail.History[1].Kind)
	require.Equal(t, "ada", detail.History[1].Actor)
	require.Len(t, detail.Notifications, 1)
	require.Equal(t, "pending", detail.Notifications[0].Status)

	_, err = alerting.Get(t.Context(), b.pool, id+1)
	require.ErrorIs(t, err, alerting.ErrNoAlert)
}
