package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/notify"
)

// tend runs the minute's job once.
func (h *env) tend() {
	h.t.Helper()
	require.NoError(h.t, alerting.NewReviewWorker(h.pool, h.alerts).Work(h.t.Context(), nil))
}

// pinMinute makes the minute last until nextMinute, so that no test depends on
// where in a minute it begins.
func (h *env) pinMinute() {
	h.t.Helper()
	h.exec(`CREATE FUNCTION pin() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.minute = 'infinity'; RETURN NEW; END $$;
		CREATE TRIGGER pin BEFORE INSERT ON notification_rate FOR EACH ROW EXECUTE FUNCTION pin()`)
}

// nextMinute lets the channels be given their share again.
func (h *env) nextMinute() {
	h.t.Helper()
	h.exec(`DELETE FROM notification_rate`)
}

func (h *env) exec(sql string) {
	h.t.Helper()
	_, err := h.pool.Exec(h.t.Context(), sql)
	require.NoError(h.t, err)
}

// storm raises n episodes of errors in one transaction.
func (h *env) storm(n int) {
	h.t.Helper()
	h.inTx(func(ctx context.Context, tx pgx.Tx) error {
		for i := range n {
			_, err := h.alerts.Raise(ctx, tx, alerting.Alert{
				Rule: alerting.RuleEventDeadLettered, Subject: fmt.Sprintf("deal/%04d", i), Level: level.Error, Message: "HTTP 500",
			})
			require.NoError(h.t, err)
		}
		return nil
	})
}

func TestStorm(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	h := newEnv(t, notify.Config{
		Channels: []notify.Channel{webhook(t, level.Error, notify.WebhookConfig{URL: s.url})}, PerMinute: 8, PublicURL: "https://box.example",
	})
	h.pinMinute()
	h.storm(60)
	h.settled(60)
	require.Len(t, s.got(), 6, "a quarter is kept for what is critical")
	h.raise(breakerOpened(level.Critical))
	h.eventually(`SELECT status = 'sent' FROM notification ORDER BY id DESC LIMIT 1`)
	require.Len(t, s.got(), 7)
	require.Equal(t, "54", h.text(`SELECT count(*)::text FROM alert_event WHERE kind = 'suppressed' AND reason = 'storm'`))

	h.tend()
	h.settled(62)
	h.tend()
	require.Len(t, h.rows(), 62, "one digest, however often it is looked at")
	got := s.got()
	require.Len(t, got, 8)
	var e struct {
		Type string
		Data struct {
			Alert  struct{ Rule string }
			Reason string
			Digest notify.Digest
		}
	}
	require.NoError(t, json.Unmarshal(got[7].body, &e))
	require.Equal(t, "alert.digest", e.Type)
	require.Equal(t, "digest", e.Data.Reason)
	require.Equal(t, alerting.RuleEventDeadLettered, e.Data.Alert.Rule)
	require.Equal(t, notify.Digest{Count: 54, Groups: []notify.DigestGroup{
		{Rule: alerting.RuleEventDeadLettered, Level: "error", Reason: notify.First, Count: 54},
	}}, e.Data.Digest)

	var held int64
	require.NoError(t, h.pool.QueryRow(t.Context(), `SELECT min(alert_id) FROM notification WHERE suppressed_by = 'storm'`).Scan(&held))
	told, err := notify.ListByAlert(t.Context(), h.pool, held, 10)
	require.NoError(t, err)
	require.Equal(t, "suppressed", told[0].Status)
	require.Equal(t, "sent", told[0].Digest.Status, "the audit finds how it was told")
}

// The receiver is away while it storms. When it is back it gets what it was given
// a share for, and one digest of the rest: no minute's worth for each that passed.
func TestStorm_ReceiverAway(t *testing.T) {
	t.Parallel()
	away := newGate()
	s := newSink(t)
	h := newEnv(t, notify.Config{
		Channels:  []notify.Channel{{Name: notify.ChannelWebhook, Floor: 1, Notify: away.before(webhook(t, 1, notify.WebhookConfig{URL: s.url}).Notify)}},
		PerMinute: 4,
	})
	h.pinMinute()
	h.storm(10)
	h.eventually(`SELECT count(*) = 10 FROM notification WHERE suppressed_by = 'storm'`)
	for range 3 {
		h.nextMinute()
		h.tend()
	}
	h.eventually(`SELECT max(attempts) >= 2 FROM notification WHERE reason = 'digest'`)
	require.Empty(t, s.got())
	require.Equal(t, "1", h.text(`SELECT count(*)::text FROM notification WHERE reason = 'digest'`))

	away.open()
	h.settled(11)
	require.Len(t, s.got(), 1)
	require.Contains(t, string(s.got()[0].body), `"digest":{"count":10,`)
	h.tend()
	require.Len(t, h.rows(), 11)
}

// A digest that may have arrived tells the same at each attempt: its receiver may
// drop the second one by its id. What is held back meanwhile has the next digest.
func TestStorm_AnswerLost(t *testing.T) {
	t.Parallel()
	taken, answer := make(chan struct{}), make(chan struct{})
	s := newSink(t, status(204), status(204), status(204), func(w http.ResponseWriter) {
		close(taken)
		<-answer
		w.WriteHeader(http.StatusBadGateway) // by a proxy: the receiver has it
	})
	h := newEnv(t, notify.Config{
		Channels: []notify.Channel{webhook(t, level.Error, notify.WebhookConfig{URL: s.url, Timeout: patience})}, PerMinute: 4,
	})
	h.pinMinute()
	h.storm(8)
	h.settled(8)
	h.tend()
	<-taken
	for _, subject := range []string{"late", "later"} {
		h.raise(alerting.Alert{Rule: alerting.RuleEventDeadLettered, Subject: subject, Level: level.Error, Message: "HTTP 500"})
	}
	h.eventually(`SELECT count(*) = 7 FROM notification WHERE suppressed_by = 'storm'`)
	close(answer)
	h.settled(11)
	got := s.got()
	require.Len(t, got, 5)
	require.Equal(t, got[3].header.Get("Webhook-Id"), got[4].header.Get("Webhook-Id"))
	require.Equal(t, string(got[3].body), string(got[4].body))
	require.Contains(t, string(got[4].body), `"digest":{"count":5,`)

	h.tend()
	h.settled(12)
	require.Contains(t, string(s.got()[5].body), `"digest":{"count":2,`)
}

// In mail and Slack a digest is a list of what was held back.
func TestStorm_Words(t *testing.T) {
	t.Parallel()
	p, s := newPost(t, false), newSink(t)
	m := notify.Message{ID: 7, Reason: "digest", At: time.Now(), Alert: notify.Alert{Level: "error", Rule: "r", Message: "HTTP 500"}, Digest: &notify.Digest{
		Count: 54, Groups: []notify.DigestGroup{{Rule: "event_dead_lettered", Level: "error", Reason: notify.First, Count: 54}},
	}}
	_, err := p.email(t).Notify(t.Context(), m)
	require.NoError(t, err)
	header, text, html := bodies(t, p.letters()[0])
	require.Equal(t, "[ERROR] 54 notifications held back, too many for one minute", header.Get("Subject"))
	require.Contains(t, text, "54 × event_dead_lettered, error, first")
	require.Contains(t, html, "54 × event_dead_lettered, error, first")
	_, err = webhook(t, 1, notify.WebhookConfig{URL: s.url, Format: notify.FormatSlack}).Notify(t.Context(), m)
	require.NoError(t, err)
	require.JSONEq(t, `{"text":"*[ERROR] 54 notifications held back, too many for one minute*\n54 × event_dead_lettered, error, first"}`, string(s.got()[0].body))
}

// gate is a network that can be cut.
type gate struct{ up chan struct{} }

func newGate() gate { return gate{make(chan struct{})} }

func (g gate) open() { close(g.up) }

func (g gate) before(send func(context.Context, notify.Message) (bool, error)) func(context.Context, notify.Message) (bool, error) {
	return func(ctx context.Context, m notify.Message) (bool, error) {
		select {
		case <-g.up:
			return send(ctx, m)
		default:
			return true, errors.New("the network is down")
		}
	}
}
