package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/db/migrations"
	"dealbox/internal/alerting"
	"dealbox/internal/health"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
)

// recordingChannel keeps what it is given.
type recordingChannel struct {
	mu  sync.Mutex
	got []string // "first firing clock_skew"
}

func (c *recordingChannel) notify(_ context.Context, m notify.Message) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, string(m.Reason)+" "+m.Alert.Status+" "+m.Alert.Rule)
	return false, nil
}

func TestDirectNotifier(t *testing.T) {
	t.Parallel()
	loud, calm := &recordingChannel{}, &recordingChannel{}
	d := newDirectNotifier(notify.Config{Channels: []notify.Channel{
		{Name: notify.ChannelWebhook, Floor: level.Critical, Notify: loud.notify},
		{Name: notify.ChannelEmail, Floor: level.Error, Receivers: []string{"a@example.com", "b@example.com"}, Notify: calm.notify},
	}}, time.Hour, slog.New(slog.DiscardHandler))
	alert := alerting.Alert{Rule: alerting.RuleClockSkew, Subject: "host-1", Level: level.Critical, Message: "an hour off"}
	d.resolve(t.Context(), alert)
	require.Empty(t, loud.got, "nobody was notified that it began")
	for range 3 {
		d.fire(t.Context(), alert)
	}
	require.Equal(t, []string{"first firing clock_skew"}, loud.got, "once in the interval")
	require.Len(t, calm.got, 2, "each mailbox")
	d.resolve(t.Context(), alert)
	require.Equal(t, "resolved resolved clock_skew", loud.got[1])
	alert.Level = level.Error
	d.fire(t.Context(), alert)
	require.Len(t, loud.got, 2, "the channel's level is critical")
	require.Len(t, calm.got, 6)
}

// receiver is an HTTP server that takes alerts in the standard format.
type receiver struct {
	url string

	mu  sync.Mutex
	got []string // "alert.firing start_refused critical"
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var m struct {
			Type string
			Data struct {
				Alert struct{ Rule, Level, Message string }
			}
		}
		if err := json.NewDecoder(q.Body).Decode(&m); err != nil || m.Data.Alert.Message == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, m.Type+" "+m.Data.Alert.Rule+" "+m.Data.Alert.Level)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.got...)
}

func mustService(t *testing.T, databaseURL, alertURL string) *Service {
	t.Helper()
	config := mustLoad(t, required.with("DATABASE_URL", databaseURL, "ALERT_WEBHOOK_URL", alertURL), Everything...)
	s, err := New(t.Context(), config, RoleAll, "test", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(s.closePools)
	return s
}

// A supervisor starts a process again and again whose schema is behind: the first,
// second, fourth … start is sent, by the process itself, and all are counted.
func TestService_SendsARefusedStart(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	db := pgtest.Open(t)
	db.MustExec("DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)")
	start := func() {
		var loops sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		require.ErrorIs(t, mustService(t, db.Pool.Config().ConnString(), r.url).start(ctx, &loops), migrations.ErrBehind)
		cancel()
		loops.Wait()
	}
	for range 3 {
		start()
	}
	require.Equal(t, []string{"alert.firing start_refused critical", "alert.firing start_refused critical"}, r.all())
	require.Equal(t, "3 critical", db.MustText("SELECT occurrences || ' ' || level FROM alert WHERE rule = 'start_refused'"))

	db.MustExec("INSERT INTO river.river_leader (elected_at, expires_at, leader_id, name) VALUES (now(), now() + interval '1 minute', 'other', 'default')")
	start()
	require.Len(t, r.all(), 2, "workers are alive elsewhere: they send it")
}

// Postgres is away: nothing can be stored, so each process sends it, after a minute.
func TestService_SendsAnOutage(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s := mustService(t, "postgres://dealbox:pw@127.0.0.1:1/dealbox", r.url) // nobody listens
	err := health.CheckReady(t.Context(), s.readPool, s.commits)
	require.Error(t, err)
	began := time.Now()
	since := s.reportOutage(t.Context(), time.Time{}, began, err)
	since = s.reportOutage(t.Context(), since, began.Add(outageGrace), err)
	require.Empty(t, r.all(), "a restart of Postgres takes less")
	for range 3 {
		since = s.reportOutage(t.Context(), since, began.Add(outageGrace+time.Second), err)
	}
	require.Equal(t, []string{"alert.firing webhooks_refused critical"}, r.all())

	require.NoError(t, health.CheckReady(t.Context(), pgtest.Pool(t), nil))
	since = s.reportOutage(t.Context(), since, began.Add(time.Hour), nil)
	require.Zero(t, since)
	s.reportOutage(t.Context(), since, began.Add(2*time.Hour), nil)
	require.Equal(t, []string{"alert.firing webhooks_refused critical", "alert.resolved webhooks_refused critical"}, r.all(), "its end once")
}
