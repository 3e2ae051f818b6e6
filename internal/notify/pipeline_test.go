package notify_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/notify/webhook"
)

func TestNotification_Reasons(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{
		Channels:  []notify.Channel{webhookChannel(t, level.Error, webhook.Config{URL: s.url})},
		PublicURL: "https://box.example/dealbox/",
	})

	id := h.raise(breakerOpened(level.Error))
	h.finished(1)
	h.raise(breakerOpened(level.Error)) // A repeat notifies nobody.
	h.raise(breakerOpened(level.Critical))
	h.finished(2)
	h.resolve("a probe succeeded")
	rows := h.finished(3)

	got := s.got()
	require.Len(t, got, 3)
	var types, reasons, levels, statuses []string
	for i, r := range got {
		e := r.event(t)
		types, reasons = append(types, e.Type), append(reasons, e.Data.Reason)
		levels, statuses = append(levels, e.Data.Alert.Level), append(statuses, e.Data.Alert.Status)
		require.Equal(t, i+1, e.Data.Sequence)
		require.Equal(t, i+1, rows[i].Sequence)
		require.Equal(t, h.MustText("SELECT $1::bigint::text", id), e.Data.Alert.ID)
		require.Equal(t, "https://box.example/dealbox/#alert-"+e.Data.Alert.ID, *e.Data.URL)
		require.Equal(t, "https://box.example/dealbox/docs/operations.md#breaker_opened", *e.Data.Runbook)
		require.Equal(t, "application/json", r.header.Get("Content-Type"))
	}
	require.Equal(t, []string{"alert.firing", "alert.escalated", "alert.resolved"}, types)
	require.Equal(t, []string{"first", "escalated", "resolved"}, reasons)
	require.Equal(t, []string{"error", "critical", "critical"}, levels)
	require.Equal(t, []string{"firing", "firing", "resolved"}, statuses)

	last := got[2].event(t)
	require.NotNil(t, last.Data.Alert.ResolvedAt)
	require.Equal(t, 3, last.Data.Alert.Occurrences)
	require.Regexp(t, `^a probe succeeded. It lasted `, last.Data.Alert.Message, "what became of it, not what was wrong")
	require.Equal(t, map[string]any{"failures": 5.0}, last.Data.Alert.Details)

	require.Equal(t, "raised notified escalated notified resolved notified",
		h.MustText(`SELECT string_agg(kind, ' ' ORDER BY id) FROM alert_event`))
	h.MustEventually(`SELECT count(*) = 3 FROM river.river_job WHERE kind = 'notification_send' AND state = 'completed'`)
}

// The first notice waits, and says how things stand when it is sent: a burst is one
// notice.
func TestNotification_FirstNoticeWaits(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{
		Channels:         []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})},
		FirstNoticeDelay: time.Hour,
	})
	for range 100 {
		h.raise(breakerOpened(level.Error))
	}
	h.MustEventually(`SELECT next_attempt_at BETWEEN now() + interval '50 minutes' AND now() + interval '60 minutes' FROM notification`)
	h.MustEventually(`SELECT state = 'scheduled' AND scheduled_at BETWEEN now() + interval '50 minutes' AND now() + interval '61 minutes'
		FROM river.river_job WHERE kind = 'notification_send'`)
	require.Empty(t, s.got())

	h.MustExec(`UPDATE river.river_job SET state = 'available', scheduled_at = now() WHERE kind = 'notification_send'`)
	h.finished(1)
	got := s.got()
	require.Len(t, got, 1)
	require.Equal(t, 100, got[0].event(t).Data.Alert.Occurrences)
}

// An episode that is over before its first notice is due notifies nobody.
func TestNotification_OverBeforeTheFirstNotice(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{
		Channels:         []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})},
		FirstNoticeDelay: time.Hour,
	})
	h.raise(breakerOpened(level.Critical))
	h.resolve("it was a hiccup")
	h.MustExec(`UPDATE river.river_job SET state = 'available', scheduled_at = now() WHERE kind = 'notification_send'`)
	h.finished(2)
	require.Empty(t, s.got())
	require.Equal(t, "first resolved, resolved never_sent",
		h.MustText(`SELECT string_agg(reason || ' ' || suppressed_by, ', ' ORDER BY sequence) FROM notification`))
	require.Equal(t, "2", h.MustText(`SELECT count(*)::text FROM alert_event WHERE kind = 'suppressed'`))
}

// Whoever acknowledges an episode within the first 30 s takes care of it: nobody is
// woken by its first notice, nor by its end.
func TestNotification_AcknowledgedBeforeTheFirstNotice(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{
		Channels:         []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})},
		FirstNoticeDelay: time.Hour,
	})
	id := h.raise(breakerOpened(level.Critical))
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := h.alerts.Acknowledge(ctx, tx, id, alerting.Operator{Name: "ann"})
		return err
	})
	h.MustExec(`UPDATE river.river_job SET state = 'available', scheduled_at = now() WHERE kind = 'notification_send'`)
	h.finished(1)
	h.resolve("over")
	require.Empty(t, s.got())
	require.Equal(t, "first acknowledged",
		h.MustText(`SELECT string_agg(reason || ' ' || suppressed_by, ', ' ORDER BY sequence) FROM notification`))
}

// A group's notification keeps how many members it had when it was sent.
func TestNotification_Members(t *testing.T) {
	t.Parallel()
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: newSink(t).url})}})
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		id, err := h.alerts.Raise(ctx, tx, breakerOpened(level.Critical))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE alert SET members = 4990 WHERE id = $1`, id)
		return err
	})
	h.finished(1)
	require.Equal(t, "4990", h.MustText(`SELECT members::text FROM notification`))
}

// The contract's fields, byte by byte: receivers depend on them.
func TestNotification_StandardBody(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{Instance: "crm.example.com", Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}})
	h.raise(alerting.Alert{Rule: "r", Level: level.Info, Message: "m"})
	h.finished(1)

	stamp := func(column string) string {
		var at time.Time
		require.NoError(t, h.Pool.QueryRow(t.Context(), "SELECT "+column).Scan(&at))
		text, err := at.UTC().MarshalText()
		require.NoError(t, err)
		return string(text)
	}
	seen, made := stamp("last_seen FROM alert"), stamp("created_at FROM notification")
	require.Equal(t, `{"type":"alert.firing","timestamp":"`+made+`","data":{"alert":{"id":"1","level":"info","message":"m","details":{},`+
		`"timestamp":"`+seen+`","rule":"r","subject":"","status":"firing","occurrences":1,"first_seen":"`+seen+`","last_seen":"`+seen+`",`+
		`"resolved_at":null},"reason":"first","sequence":1,"url":null,"runbook":null,"instance":"crm.example.com"}}`, string(s.got()[0].body))
}

func TestNotification_Floor(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Error, webhook.Config{URL: s.url})}})

	h.raise(breakerOpened(level.Warning))
	h.resolve("over")
	require.Empty(t, h.rows(), "an episode below the floor is neither notified nor resolved")

	h.raise(breakerOpened(level.Warning))
	h.raise(breakerOpened(level.Error))
	rows := h.finished(1)
	require.Equal(t, "first", rows[0].Reason, "the channel hears of this episode for the first time")
	require.Equal(t, "alert.firing", s.got()[0].event(t).Type)
}

func TestNotification_RollsBackWithTheAlert(t *testing.T) {
	t.Parallel()
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: newSink(t).url})}})
	tx, err := h.Pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = h.alerts.Raise(t.Context(), tx, breakerOpened(level.Critical))
	require.NoError(t, err)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, "0 0 0 0", h.MustText(`SELECT concat_ws(' ', (SELECT count(*) FROM alert), (SELECT count(*) FROM alert_event),
		(SELECT count(*) FROM notification), (SELECT count(*) FROM river.river_job WHERE kind = 'notification_send'))`))
}

func TestNotification_TriedAgain(t *testing.T) {
	t.Parallel()
	s := newSink(t, status(500), status(503))
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}})
	id := h.raise(breakerOpened(level.Critical))
	rows := h.finished(1)

	require.Equal(t, "sent", rows[0].Status)
	require.Equal(t, 3, rows[0].Attempts)
	require.Nil(t, rows[0].LastError)
	got := s.got()
	require.Len(t, got, 3)
	want := h.MustText("SELECT 'ntf_' || id FROM notification WHERE alert_id = $1", id)
	for _, r := range got {
		require.Equal(t, want, r.header.Get("Webhook-Id"), "the id is the same over all attempts")
	}
	require.Equal(t, "3", h.MustText(`SELECT details->>'attempts' FROM alert_event WHERE kind = 'notified'`))
}

func TestNotification_Final(t *testing.T) {
	t.Parallel()
	s := newSink(t, status(400))
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}})
	h.raise(breakerOpened(level.Critical))
	rows := h.finished(1)

	require.Equal(t, "failed", rows[0].Status)
	require.Equal(t, 1, rows[0].Attempts)
	require.Equal(t, s.url+" answered 400 Bad Request", *rows[0].LastError)
	require.Len(t, s.got(), 1)
	require.Equal(t, *rows[0].LastError, h.MustText(`SELECT details->>'error' FROM alert_event WHERE kind = 'notification_failed'`))
	require.Contains(t, h.log.String(), `"msg":"a notification failed for good"`)

	h.resolve("over")
	require.Len(t, h.rows(), 1, "no news of the end where the beginning did not arrive")
}

func TestNotification_RedirectIsFinal(t *testing.T) {
	t.Parallel()
	target := newSink(t)
	s := newSink(t, redirect(307, target.url))
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}})
	h.raise(breakerOpened(level.Critical))
	rows := h.finished(1)
	require.Equal(t, "failed", rows[0].Status)
	require.Contains(t, *rows[0].LastError, "a redirect, which is never followed")
	require.Empty(t, target.got())
}

func TestNotification_HangingReceiver(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := newSink(t, func(http.ResponseWriter) { <-release })
	defer close(release)
	h := newEnv(t, notify.Config{Channels: []notify.Channel{
		webhookChannel(t, level.Info, webhook.Config{URL: s.url, Timeout: 2 * time.Second}),
	}})
	h.raise(breakerOpened(level.Critical))
	rows := h.finished(1)
	require.Equal(t, "sent", rows[0].Status)
	require.GreaterOrEqual(t, rows[0].Attempts, 2) // a busy machine may need more for an answer within 2 s
	require.Contains(t, h.log.String(), "did not answer within 2s, the limit for one attempt")
}

// While the receiver is away an episode opens, worsens and ends. All of it
// arrives when the receiver is back, in that order.
func TestNotification_ReceiverAwayForAWhile(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())

	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: "http://" + address})}})
	h.raise(breakerOpened(level.Error))
	h.raise(breakerOpened(level.Critical))
	h.resolve("over")
	h.MustEventually(`SELECT bool_and(status = 'pending') AND max(attempts) >= 3 FROM notification`)
	require.Contains(t, *h.rows()[0].LastError, "connection refused")
	stats, err := notify.ReadStats(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Equal(t, int64(3), stats.Pending)
	require.Positive(t, stats.OldestPendingAge)
	require.Nil(t, stats.LastSentAt)

	s := &sink{}
	listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: s}}
	server.Start()
	defer server.Close()
	rows := h.finished(3)

	var types []string
	for i, r := range s.got() {
		types = append(types, r.event(t).Type)
		require.Equal(t, "sent", rows[i].Status)
	}
	require.Equal(t, []string{"alert.firing", "alert.escalated", "alert.resolved"}, types)
	first := s.got()[0].event(t)
	require.Equal(t, "resolved", first.Data.Alert.Status, "the alert is as it is when the notification is sent")
	require.Equal(t, 1, rows[2].Attempts, "waiting for those before it is no attempt")

	stats, err = notify.ReadStats(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Zero(t, stats.Pending)
	require.Zero(t, stats.OldestPendingAge)
	require.NotNil(t, stats.LastSentAt)
}

func TestNotification_GivesUp(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{
		Channels:    []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: "http://127.0.0.1:1"})},
		GiveUpAfter: 100 * time.Millisecond,
	})
	h.raise(breakerOpened(level.Critical))
	rows := h.finished(1)
	require.Equal(t, "failed", rows[0].Status)
	require.Empty(t, s.got())
	stats, err := notify.ReadStats(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Equal(t, int64(1), stats.Failed24h)
	require.Zero(t, stats.Pending)
}

func TestNotification_RetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	s := newSink(t, func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "1200")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}})
	h.raise(breakerOpened(level.Critical))
	h.MustEventually(`SELECT state = 'scheduled' AND scheduled_at BETWEEN now() + interval '19 min' AND now() + interval '20 min'
		FROM river.river_job WHERE kind = 'notification_send'`)
	h.MustEventually(`SELECT next_attempt_at BETWEEN now() + interval '19 min' AND now() + interval '20 min' FROM notification`)
}

// A worker that sends and then cannot mark leaves the message to the next
// attempt: it arrives twice, under one id.
func TestNotification_SentButNotMarked(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}})
	sabotage := `CREATE FUNCTION sabotage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
		CREATE TRIGGER sabotage BEFORE UPDATE ON notification FOR EACH ROW WHEN (NEW.status = 'sent') EXECUTE FUNCTION sabotage()`
	h.MustExec(sabotage)
	s.answers = append(s.answers, status(204), func(w http.ResponseWriter) {
		if _, err := h.Pool.Exec(context.Background(), `DROP TRIGGER sabotage ON notification`); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
	})

	h.raise(breakerOpened(level.Critical))
	rows := h.finished(1)
	require.Equal(t, 2, rows[0].Attempts)
	got := s.got()
	require.Len(t, got, 2)
	require.Equal(t, got[0].header.Get("Webhook-Id"), got[1].header.Get("Webhook-Id"))
	require.Equal(t, "1", h.MustText(`SELECT count(*)::text FROM alert_event WHERE kind = 'notified'`), "the history has it once")
}

func TestNotification_SecondJobFindsItSent(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}})
	h.raise(breakerOpened(level.Critical))
	rows := h.finished(1)
	inserter, err := jobs.NewInserter(h.Pool, nil, nil)
	require.NoError(t, err)
	_, err = inserter.Insert(t.Context(), notify.SendArgs{NotificationID: rows[0].ID}, nil)
	require.NoError(t, err)
	_, err = inserter.Insert(t.Context(), notify.SendArgs{NotificationID: 987654}, nil) // Never existed.
	require.NoError(t, err)
	h.MustEventually(`SELECT count(*) = 3 FROM river.river_job WHERE kind = 'notification_send' AND state = 'completed'`)
	require.Len(t, s.got(), 1)
}

// Two workers send the same notification at once, as after a rescue of a job
// that was still alive: the receiver gets it twice, the history has it once.
func TestNotification_TwoWorkersAtOnce(t *testing.T) {
	t.Parallel()
	both := make(chan struct{})
	s := newSink(t, func(http.ResponseWriter) { <-both }, func(http.ResponseWriter) { close(both) })
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{URL: s.url})}})
	h.raise(breakerOpened(level.Critical))
	inserter, err := jobs.NewInserter(h.Pool, nil, nil)
	require.NoError(t, err)
	_, err = inserter.Insert(t.Context(), notify.SendArgs{NotificationID: h.rows()[0].ID}, nil)
	require.NoError(t, err)
	h.MustEventually(`SELECT count(*) = 2 FROM river.river_job WHERE kind = 'notification_send' AND state = 'completed'`)
	require.Equal(t, "sent", h.finished(1)[0].Status)
	got := s.got()
	require.Len(t, got, 2)
	require.Equal(t, got[0].header.Get("Webhook-Id"), got[1].header.Get("Webhook-Id"))
	require.Equal(t, "1", h.MustText(`SELECT count(*)::text FROM alert_event WHERE kind = 'notified'`))
}

// A replica without the channel leaves the notification to one that has it.
func TestNotification_ChannelUnknownHere(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	channel := webhookChannel(t, level.Info, webhook.Config{URL: s.url})
	without := newEnv(t, notify.Config{})
	inserter, err := jobs.NewInserter(without.Pool, nil, nil)
	require.NoError(t, err)
	api := alerting.New(alerting.Config{}, notify.New(notify.Config{Channels: []notify.Channel{channel}}, inserter))
	without.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := api.Raise(ctx, tx, breakerOpened(level.Critical))
		return err
	})
	without.MustEventually(`SELECT status = 'pending' AND last_error LIKE 'channel webhook is not configured%' FROM notification`)
	newEnvOn(t, without.Pool, notify.Config{Channels: []notify.Channel{channel}})
	require.Equal(t, "sent", without.finished(1)[0].Status)
}

// What of a webhook's URL may be a secret is in no table, no history and no log.
func TestNotification_SecretsStayOutOfTablesAndLogs(t *testing.T) {
	t.Parallel()
	s := newSink(t, status(500), status(404))
	h := newEnv(t, notify.Config{Channels: []notify.Channel{webhookChannel(t, level.Info, webhook.Config{
		URL: strings.Replace(s.url, "://", "://canary:canary@", 1) + "/canary?canary", Secret: "canary_secret_of_24_bytes",
	})}})
	h.raise(breakerOpened(level.Critical))
	require.Equal(t, "failed", h.finished(1)[0].Status)
	require.NotContains(t, h.log.String(), "canary")
	for _, table := range []string{"alert", "alert_event", "notification", "river.river_job"} {
		require.NotContains(t, h.MustText("SELECT coalesce(string_agg(x::text, ' '), '') FROM "+table+" x"), "canary", table)
	}
	require.Equal(t, "Basic Y2FuYXJ5OmNhbmFyeQ==", s.got()[0].header.Get("Authorization"), "the receiver does get it")
}

func TestNotification_Signed(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]string{
		"Base64": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"Raw":    "a raw secret of more than 24 bytes",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSink(t)
			h := newEnv(t, notify.Config{Channels: []notify.Channel{
				webhookChannel(t, level.Info, webhook.Config{URL: s.url, Secret: secret}),
			}})
			h.raise(breakerOpened(level.Critical))
			h.finished(1)
			oracle, err := standardwebhooks.NewWebhookRaw([]byte(secret))
			if strings.HasPrefix(secret, "whsec_") {
				oracle, err = standardwebhooks.NewWebhook(secret)
			}
			require.NoError(t, err)
			got := s.got()[0]
			require.NoError(t, oracle.Verify(got.body, got.header))
			require.Error(t, oracle.Verify(append(got.body, ' '), got.header))
		})
	}
}

// What comes from outside stays text: one line, no markup, no mention.
func TestNotification_HostileTextIsInert(t *testing.T) {
	t.Parallel()
	hostile := "</script><svg onload=alert(1)> <!channel> @channel \x00\xff\xfe\xed\xa0\x80 x\r\nBcc: a@b\n{\"level\":\"error\"}\u2028\u202egnp.exe"
	slackSink, jsonSink := newSink(t), newSink(t)
	h := newEnv(t, notify.Config{Channels: []notify.Channel{
		{Name: "slack", Floor: 1, Notify: webhookChannel(t, 1, webhook.Config{URL: slackSink.url, Format: webhook.Slack}).Notify},
		{Name: "webhook", Floor: 1, Notify: webhookChannel(t, 1, webhook.Config{URL: jsonSink.url}).Notify},
	}})
	h.raise(alerting.Alert{
		Rule: alerting.RuleBodyQuarantined, Subject: hostile, Level: level.Warning, Message: hostile,
		Details: map[string]any{hostile: hostile},
	})
	h.finished(2)

	body := slackSink.got()[0].body
	var slack map[string]string
	require.NoError(t, json.Unmarshal(body, &slack))
	lines := strings.Split(slack["text"], "\n")
	require.Len(t, lines, 3, slack["text"])
	require.Equal(t, "*[WARNING] firing* body_quarantined", lines[0])
	require.Contains(t, lines[1], "&lt;!channel&gt;")
	require.NotContains(t, lines[1], "<")
	require.NotContains(t, lines[1], "@channel")

	raw := string(jsonSink.got()[0].body)
	require.NotContains(t, raw, "<")
	message := jsonSink.got()[0].event(t).Data.Alert.Message
	require.NotContains(t, message, "\n")
	require.NotContains(t, message, "\x00")
	require.NotContains(t, message, "\u202e")
	require.Contains(t, message, `x Bcc: a@b {"level":"error"}`)
}
