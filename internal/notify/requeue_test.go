package notify_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/notify/webhook"
	"dealbox/internal/pgtest"
)

// A notification whose job is gone gets one new job, and is sent. Those that are
// young, have a job, are not due or are sent already are left alone.
func TestOutbox_RequeueOrphans(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	config := notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}}
	db := pgtest.Open(t)
	inserter, err := jobs.NewInserter(db.Pool, nil, nil)
	require.NoError(t, err)
	outbox := notify.New(config, inserter)
	asleep := &env{DB: db, alerts: alerting.New(alerting.Config{}, outbox)} // nobody works its jobs
	asleep.raise(breakerOpened(level.Critical))
	require.Len(t, asleep.rows(), 1)
	rescue := func() string {
		t.Helper()
		asleep.MustCommit(func(ctx context.Context, tx pgx.Tx) error { return outbox.RequeueOrphans(ctx, tx) })
		return asleep.MustText("SELECT count(*)::text FROM river.river_job WHERE kind = 'notification_send'")
	}
	require.Equal(t, "1", rescue(), "it has its job")
	asleep.MustExec("UPDATE notification SET created_at = created_at - interval '3 minutes'")
	require.Equal(t, "1", rescue(), "it still has its job")
	asleep.MustExec("DELETE FROM river.river_job")
	asleep.MustExec("UPDATE notification SET next_attempt_at = now() + interval '1 minute'")
	require.Equal(t, "0", rescue(), "it waits for its next attempt")
	asleep.MustExec("UPDATE notification SET next_attempt_at = NULL, created_at = now()")
	require.Equal(t, "0", rescue(), "it is young")
	asleep.MustExec("UPDATE notification SET created_at = now() - interval '3 minutes'")
	require.Equal(t, "1", rescue(), "nobody would have sent it")
	require.Equal(t, "1", rescue(), "once")

	awake := newEnvOn(t, db.Pool, config)
	require.Equal(t, "sent", awake.finished(1)[0].Status)
	require.Len(t, s.got(), 1)
	asleep.MustExec("DELETE FROM river.river_job")
	require.Equal(t, "0", rescue(), "it was sent")
}
