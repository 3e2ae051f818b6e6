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

func (h env) acknowledge(id int64, o alerting.Operator) {
	h.T.Helper()
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		e, err := h.Acknowledge(ctx, tx, id, o)
		require.Equal(h.T, alerting.Acknowledged, e.Status)
		return err
	})
}

func TestAlerts_Acknowledge(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(unusable(level.Error, "m"))
	h.acknowledge(id, ada)
	require.Equal(t, "raised acknowledged", h.history(id))
	require.Equal(t, "ada|I take care of it|error", h.MustText("SELECT concat_ws('|', actor, reason, level) FROM alert_event WHERE kind = 'acknowledged'"))

	h.later(24 * time.Hour)
	h.review()
	require.Equal(t, "first/pending", h.outbox(id), "no reminder of what somebody acknowledged")

	h.raise(unusable(level.Error, "once more"))
	require.Equal(t, "acknowledged", h.status(id), "a repeat changes nothing")
	h.raise(unusable(level.Critical, "worse"))
	require.Equal(t, "firing", h.status(id), "what was acknowledged was less")
	require.Equal(t, "first/pending escalated/pending", h.outbox(id))

	h.acknowledge(id, ada)
	require.True(t, h.resolve(alerting.RuleStrapiUnusable, "billings"))
	require.Equal(t, "first/pending escalated/pending resolved/pending", h.outbox(id))
}

func TestAlerts_Remind(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{RemindEvery: time.Hour})
	id := h.raise(unusable(level.Error, "m"))
	h.review()
	h.later(59 * time.Minute)
	h.review()
	require.Equal(t, "first/pending", h.outbox(id))
	h.later(2 * time.Minute)
	h.review()
	h.review()
	require.Equal(t, "first/pending reminder/pending", h.outbox(id), "once, however often it is reviewed")
	h.later(61 * time.Minute)
	h.review()
	require.Equal(t, "first/pending reminder/pending reminder/pending", h.outbox(id))

	h.resolve(alerting.RuleStrapiUnusable, "billings")
	h.later(24 * time.Hour)
	h.review()
	require.Equal(t, "first/pending reminder/pending reminder/pending resolved/pending", h.outbox(id))
}

// Many are due at once: each is reminded of once, over several transactions.
func TestAlerts_RemindMany(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		for i := range 250 {
			_, err := h.Raise(ctx, tx, alerting.Alert{Rule: "r", Subject: strings.Repeat("x", i+1), Level: level.Error})
			require.NoError(t, err)
		}
		return nil
	})
	h.later(5 * time.Hour)
	h.review()
	require.Equal(t, "250 250", h.MustText(`SELECT concat_ws(' ', count(*), count(DISTINCT alert_id)) FROM notification WHERE reason = 'reminder'`))
}

// A command knows no channel. The service's next review notifies of what it raises.
func TestAlerts_RaisedByACommand(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	command := newCommand(h)
	id := command.raise(unusable(level.Error, "m"))
	require.Empty(t, h.outbox(id))
	h.review()
	h.review()
	require.Equal(t, "first/pending", h.outbox(id))
	command.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := command.ResolveByHand(ctx, tx, id, ada)
		return err
	})
	require.Equal(t, "first/pending resolved/pending", h.outbox(id), "who was notified of it is notified of its end")
}

func TestAlerts_ResolveByHand(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(unusable(level.Error, "m"))
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		e, err := h.ResolveByHand(ctx, tx, id, alerting.Operator{Name: "cli:root", Comment: "two\r\nlines\x00"})
		require.Equal(t, alerting.Resolved, e.Status)
		require.NotNil(t, e.ResolvedAt)
		return err
	})
	require.Equal(t, "cli:root|two lines", h.MustText("SELECT concat_ws('|', actor, reason) FROM alert_event WHERE kind = 'resolved'"))
	require.Equal(t, "first/pending resolved/pending", h.outbox(id))
	again := h.raise(unusable(level.Error, "m"))
	require.NotEqual(t, id, again, "when the rule fires again it is a new episode")
}

func TestAlerts_OperatorsMistakes(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(unusable(level.Error, "m"))
	h.resolve(alerting.RuleStrapiUnusable, "billings")
	for _, do := range []func(context.Context, pgx.Tx, int64, alerting.Operator) (alerting.Episode, error){h.Acknowledge, h.ResolveByHand} {
		h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
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
	require.Equal(t, "raised resolved", h.history(id))
}

func TestGet(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(unusable(level.Error, "m"))
	h.acknowledge(id, ada)
	detail, err := alerting.Get(t.Context(), h.Pool, id)
	require.NoError(t, err)
	require.Equal(t, id, detail.ID)
	require.Len(t, detail.History, 2)
	require.Equal(t, "acknowledged", detail.History[1].Kind)
	require.Equal(t, "ada", detail.History[1].Actor)
	require.Len(t, detail.Notifications, 1)
	require.Equal(t, "pending", detail.Notifications[0].Status)

	_, err = alerting.Get(t.Context(), h.Pool, id+1)
	require.ErrorIs(t, err, alerting.ErrNoAlert)
}

// The end that a person gives an episode says who, why, and what it was.
func TestAlerts_ResolveByHandSays(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(deadDeal("deal/1", "Big Deal"))
	h.later(2 * time.Hour)
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		e, err := h.ResolveByHand(ctx, tx, id, alerting.Operator{Name: "cli:ann", Comment: "called {lasted} the hoster"})
		require.Contains(t, e.Message, "cli:ann closed this alert by hand after 2 h (called")
		require.Contains(t, e.Message, "the hoster); 1 document of it is as before. It was: Big Deal (120,000.00 THB) could not be mirrored")
		return err
	})
	require.Equal(t, "called {lasted} the hoster", h.MustText(`SELECT reason FROM alert_event WHERE kind = 'resolved'`), "their words as they are")
}
