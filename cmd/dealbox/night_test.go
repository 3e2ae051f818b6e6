package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/circuit"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/notify/webhook"
	"dealbox/internal/pgtest"
)

// night is the alerting of a service over simulated hours: the real breaker,
// alerts, outbox and River, and two receivers over HTTP. A minute passes by moving
// every row a minute into the past, so nothing waits for a clock.
type night struct {
	t       *testing.T
	pool    *pgxpool.Pool
	alerts  *alerting.Alerts
	breaker *circuit.Breaker
	tend    *alerting.TendWorker
	webhook *ear      // away for half of the outage
	pager   *ear      // always there
	minute  int       // since 22:00
	began   time.Time // the minute, by the real clock
}

// ear is a receiver of Slack messages.
type ear struct {
	url string

	mu    sync.Mutex
	away  bool
	heard []string
}

func newEar(t *testing.T) *ear {
	t.Helper()
	e := &ear{}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct{ Text string }
	err := json.NewDecoder(r.Body).Decode(&m)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away || err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	e.heard = append(e.heard, m.Text)
}

func (e *ear) setAway(away bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = away
}

// take is what was heard since the last time.
func (e *ear) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	heard := e.heard
	e.heard = nil
	return heard
}

func newNight(t *testing.T) *night {
	t.Helper()
	n := &night{t: t, pool: mustOpen(t, pgtest.URL(t), poolOptions{MaxConns: 8}), webhook: newEar(t), pager: newEar(t)}
	inserter, err := jobs.NewInserter(n.pool, nil, nil)
	require.NoError(t, err)
	var channels []notify.Channel
	for name, e := range map[string]*ear{notify.ChannelWebhook: n.webhook, "pager": n.pager} {
		w, err := webhook.New(webhook.Config{URL: e.url, Format: webhook.Slack})
		require.NoError(t, err)
		channels = append(channels, notify.Channel{Name: name, Floor: level.Error, Notify: w.Notify})
	}
	outbox := notify.New(notify.Config{Channels: channels, FirstNoticeDelay: time.Nanosecond}, inserter)
	n.alerts = alerting.New(alerting.Config{RemindEvery: 30 * time.Minute}, outbox)
	n.tend = alerting.NewTendWorker(n.pool, n.alerts)
	n.breaker = circuit.New(n.pool, circuit.Config{OnTransition: breakerAlerts(n.alerts)})
	workers := river.NewWorkers()
	river.AddWorker(workers, notify.NewSendWorker(n.pool, outbox, recordNotification, nil))
	client, err := jobs.NewWorker(n.pool, nil, nil, jobs.Work{Workers: workers, Queues: map[string]river.QueueConfig{jobs.QueueNotify: {MaxWorkers: 4}}})
	require.NoError(t, err)
	require.NoError(t, client.Start(context.WithoutCancel(t.Context())))
	t.Cleanup(func() { require.NoError(t, client.StopAndCancel(context.Background())) })
	return n
}

// pass ends a minute: the periodic job runs, what is due is sent, and the clock of
// the rows that time matters to moves on. It tells what the operator received.
func (n *night) pass() {
	n.t.Helper()
	require.NoError(n.t, n.tend.Work(n.t.Context(), nil))
	require.Eventually(n.t, func() bool {
		var quiet bool
		err := n.pool.QueryRow(n.t.Context(), `SELECT NOT EXISTS (SELECT FROM river.river_job WHERE kind = 'notification_send'
			AND state IN ('available', 'running', 'retryable'))`).Scan(&quiet)
		return err == nil && quiet
	}, time.Minute, 5*time.Millisecond, "what is due is sent")
	// What the minute really took has passed already.
	rest := time.Minute - time.Since(n.began)
	n.began = time.Now()
	_, err := n.pool.Exec(n.t.Context(), strings.ReplaceAll(`
		UPDATE alert SET first_seen = first_seen - interval '1 min', last_seen = last_seen - interval '1 min',
			resolved_at = resolved_at - interval '1 min', notified_at = notified_at - interval '1 min'
		WHERE status = 'firing' OR rule <> 'event_dead_lettered';
		UPDATE notification SET created_at = created_at - interval '1 min', next_attempt_at = next_attempt_at - interval '1 min',
			sent_at = sent_at - interval '1 min', failed_at = failed_at - interval '1 min'
		WHERE status <> 'suppressed';
		UPDATE circuit_breaker SET opened_at = opened_at - interval '1 min', retry_at = retry_at - interval '1 min';
		UPDATE river.river_job SET scheduled_at = scheduled_at - interval '1 min' WHERE state = 'scheduled';
		UPDATE river.river_job SET state = 'available' WHERE state = 'scheduled' AND scheduled_at <= now()`,
		"1 min", fmt.Sprintf("%f seconds", rest.Seconds())))
	require.NoError(n.t, err)
	n.minute++
}

// clock is the simulated one.
func (n *night) clock() string { return fmt.Sprintf("%02d:%02d", (22+n.minute/60)%24, n.minute%60) }

// until passes the minutes up to the given one and answers what was received, a
// line a message: clock, receiver, first lines.
func (n *night) until(minute int, each func(minute int)) (got []string) {
	n.t.Helper()
	if n.began.IsZero() {
		n.began = time.Now()
	}
	for n.minute < minute {
		if each != nil {
			each(n.minute)
		}
		at := n.clock()
		n.pass()
		for _, e := range []struct {
			name string
			ear  *ear
		}{{"pager", n.pager}, {"webhook", n.webhook}} {
			for _, text := range e.ear.take() {
				line := at + " " + e.name + ": " + strings.ReplaceAll(stamps.ReplaceAllString(text, ""), "\n", " / ")
				n.t.Log(line)
				got = append(got, line)
			}
		}
	}
	return got
}

// stamps are times of rows, which move; what follows them on a line is counted.
var stamps = regexp.MustCompile(`,? ?since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC(, \d+×)?`)

func (n *night) raise(alerts ...alerting.Alert) {
	n.t.Helper()
	require.NoError(n.t, pgx.BeginFunc(n.t.Context(), n.pool, func(tx pgx.Tx) error {
		for _, a := range alerts {
			if _, err := n.alerts.Raise(n.t.Context(), tx, a); err != nil {
				return err
			}
		}
		return nil
	}))
}

// resolve ends the dead letters from one to the other.
func (n *night) resolve(from, to int) {
	n.t.Helper()
	require.NoError(n.t, pgx.BeginFunc(n.t.Context(), n.pool, func(tx pgx.Tx) error {
		for i := from; i < to; i++ {
			if _, err := n.alerts.Resolve(n.t.Context(), tx, alerting.RuleEventDeadLettered, deadLetter(i).Subject, "the document was synchronised"); err != nil {
				return err
			}
		}
		return nil
	}))
}

func deadLetter(i int) alerting.Alert {
	return alerting.Alert{
		Rule: alerting.RuleEventDeadLettered, Subject: fmt.Sprintf("deal/%04d", i), Level: level.Error, Message: "a deal failed 12 times",
	}
}

// lines counts those that hold all the parts.
func lines(all []string, parts ...string) (n int) {
	for _, l := range all {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(l, p) }) {
			n++
		}
	}
	return n
}

// A night: Strapi is down for an hour, 5,000 events fail meanwhile, one of two
// receivers is away for half of it, then all recovers. Each of
// the 5,000 is accounted for.
func TestNight(t *testing.T) {
	t.Parallel()
	n := newNight(t)
	const events = 5000

	for i := range 5 {
		require.NoError(t, n.breaker.RecordFailure(t.Context(), fmt.Sprint("document ", i), errors.New("connection refused")))
	}
	down := n.until(60, func(minute int) {
		if minute >= 1 && minute <= 50 {
			batch := make([]alerting.Alert, 100)
			for i := range batch {
				batch[i] = deadLetter((minute-1)*100 + i)
			}
			n.raise(batch...)
		}
		switch minute {
		case 15:
			n.webhook.setAway(true)
		case 20:
			n.raise(alerting.Alert{Rule: alerting.RuleMassDeleteGuard, Subject: "billings", Level: level.Critical, Message: "40 billings vanished at once"})
		case 45:
			n.webhook.setAway(false)
		}
	})
	require.Equal(t, 1, lines(down, "pager: *[CRITICAL] firing* breaker_opened"))
	require.Equal(t, 1, lines(down, "webhook: *[CRITICAL] firing* breaker_opened"))
	require.Equal(t, 1, lines(down, "pager: *[CRITICAL] still firing, second notice* breaker_opened"))
	require.Equal(t, 1, lines(down, "22:20 pager: *[CRITICAL] firing* mass_delete_guard"))
	require.Equal(t, 1, lines(down, "pager: *[ERROR] firing* notification_failing"), "the other channel says that this one fails")
	require.Zero(t, lines(down, "event_dead_lettered"), "the outage is one alert, not 5,000")
	require.LessOrEqual(t, len(down), 14)

	_, err := n.breaker.Probe(t.Context(), func(context.Context) error { return nil })
	require.NoError(t, err)
	back := n.until(100, func(minute int) {
		switch minute {
		case 61:
			n.resolve(0, events-100)
		case 80:
			n.resolve(events-100, events)
		}
	})
	require.Equal(t, 1, lines(back, "23:00 pager: *[CRITICAL] resolved after 1h"), "with its duration")
	require.Equal(t, 1, lines(back, "webhook: *[CRITICAL] resolved after 1h"))
	require.Equal(t, 1, lines(append(down, back...), "webhook: *[CRITICAL] firing* mass_delete_guard"), "what was said while it was away arrives later")
	// 100 outlived the outage, an episode each.
	require.Equal(t, 100, lines(back, "pager: *[ERROR] firing* event_dead_lettered"))
	require.Equal(t, 100, lines(back, "pager: *[ERROR] resolved after", "event_dead_lettered"))

	var accounted string
	require.NoError(t, n.pool.QueryRow(t.Context(), `SELECT concat_ws(' ',
		(SELECT count(*) FROM alert WHERE rule = 'event_dead_lettered' AND status = 'resolved'),
		(SELECT count(*) FROM notification n JOIN alert a ON a.id = n.alert_id WHERE a.rule = 'event_dead_lettered'
			AND n.channel = 'pager' AND n.suppressed_by = 'inhibition'),
		(SELECT count(*) FROM notification WHERE status IN ('pending', 'failed')))`).Scan(&accounted))
	require.Equal(t, "5000 5000 0", accounted, "each has its row that says what became of it, and nothing is lost")
}
