package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
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
	"github.com/riverqueue/river"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/app"
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
	pgtest.DB

	alerts  *alerting.Alerts
	breaker *circuit.Breaker
	review  *alerting.ReviewWorker
	webhook *slackServer // away for half of the outage
	pager   *slackServer // always there
	minute  int          // since 22:00
	began   time.Time    // the minute, by the real clock
}

// slackServer takes Slack messages.
type slackServer struct {
	url string

	mu       sync.Mutex
	away     bool
	received []string
}

func newSlackServer(t *testing.T) *slackServer {
	t.Helper()
	r := &slackServer{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *slackServer) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var m struct{ Text string }
	err := json.NewDecoder(request.Body).Decode(&m)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away || err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.received = append(r.received, m.Text)
}

func (r *slackServer) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

// take returns what was received since the last time.
func (r *slackServer) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	received := r.received
	r.received = nil
	return received
}

// newNight begins a night in which the first notice of an episode waits that long.
func newNight(t *testing.T, firstNotice time.Duration) *night {
	t.Helper()
	n := &night{DB: pgtest.DB{T: t, Pool: mustOpen(t, pgtest.URL(t), app.PoolOptions{MaxConns: 8})}, webhook: newSlackServer(t), pager: newSlackServer(t)}
	inserter, err := jobs.NewInserter(n.Pool, nil, nil)
	require.NoError(t, err)
	var channels []notify.Channel
	for name, r := range map[string]*slackServer{notify.ChannelWebhook: n.webhook, "pager": n.pager} {
		w, err := webhook.New(webhook.Config{URL: r.url, Format: webhook.Slack})
		require.NoError(t, err)
		channels = append(channels, notify.Channel{Name: name, Floor: level.Error, Notify: w.Notify})
	}
	outbox := notify.New(notify.Config{Channels: channels, FirstNoticeDelay: firstNotice}, inserter)
	n.alerts = alerting.New(alerting.Config{RemindEvery: 30 * time.Minute}, outbox)
	n.review = alerting.NewReviewWorker(n.Pool, n.alerts)
	n.breaker = circuit.New(n.Pool, circuit.Config{OnTransition: app.BreakerAlerts(n.alerts)})
	workers := river.NewWorkers()
	river.AddWorker(workers, notify.NewSendWorker(n.Pool, outbox, n.alerts.RecordNotification, nil))
	client, err := jobs.NewWorker(n.Pool, nil, nil, jobs.Work{Workers: workers, Queues: map[string]river.QueueConfig{jobs.QueueNotify: {MaxWorkers: 4}}})
	require.NoError(t, err)
	require.NoError(t, client.Start(context.WithoutCancel(t.Context())))
	t.Cleanup(func() { require.NoError(t, client.StopAndCancel(context.Background())) })
	return n
}

// pass ends a minute: the periodic job runs, what is due is sent, and the clock of
// the rows that time matters to moves on.
func (n *night) pass() {
	n.T.Helper()
	require.NoError(n.T, n.review.Work(n.T.Context(), nil))
	require.Eventually(n.T, func() bool {
		var quiet bool
		err := n.Pool.QueryRow(n.T.Context(), `SELECT NOT EXISTS (SELECT FROM river.river_job WHERE kind = 'notification_send'
			AND state IN ('available', 'running', 'retryable'))`).Scan(&quiet)
		return err == nil && quiet
	}, 10*time.Minute, 5*time.Millisecond, "what is due is sent")
	// What the minute really took has passed already.
	rest := time.Minute - time.Since(n.began)
	n.began = time.Now()
	n.MustExec(strings.ReplaceAll(`
		UPDATE alert SET first_seen = first_seen - interval '1 min', last_seen = last_seen - interval '1 min',
			resolved_at = resolved_at - interval '1 min', notified_at = notified_at - interval '1 min';
		UPDATE notification SET created_at = created_at - interval '1 min', next_attempt_at = next_attempt_at - interval '1 min',
			sent_at = sent_at - interval '1 min', failed_at = failed_at - interval '1 min'
		WHERE status <> 'suppressed';
		UPDATE circuit_breaker SET opened_at = opened_at - interval '1 min', retry_at = retry_at - interval '1 min';
		UPDATE river.river_job SET scheduled_at = scheduled_at - interval '1 min' WHERE state = 'scheduled';
		UPDATE river.river_job SET state = 'available' WHERE state = 'scheduled' AND scheduled_at <= now()`,
		"1 min", fmt.Sprintf("%f seconds", rest.Seconds())))
	n.minute++
}

// clock is the simulated one.
func (n *night) clock() string { return fmt.Sprintf("%02d:%02d", (22+n.minute/60)%24, n.minute%60) }

// until passes the minutes up to the given one and returns what was received, a
// line each: clock, receiver, first lines. A slow machine may receive a minute later.
func (n *night) until(minute int, each func(minute int)) (got []string) {
	n.T.Helper()
	if n.began.IsZero() {
		n.began = time.Now()
	}
	for n.minute < minute {
		if each != nil {
			each(n.minute)
		}
		at := n.clock()
		n.pass()
		for _, to := range []struct {
			name string
			*slackServer
		}{{"pager", n.pager}, {"webhook", n.webhook}} {
			for _, text := range to.take() {
				line := at + " " + to.name + ": " + strings.ReplaceAll(stamps.ReplaceAllString(text, ""), "\n", " / ")
				n.T.Log(line)
				got = append(got, line)
			}
		}
	}
	return got
}

// stamps are times of rows, which move; what follows them on a line is counted.
var stamps = regexp.MustCompile(`,? ?since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC(, \d+×)?`)

// batch is how many documents a transaction of the night has: with one each the
// night would be long, and with all in one Postgres would keep each version of the
// alert's row until its end.
const batch = 50

// die raises for the documents from one to the other.
func (n *night) die(from, to int) {
	n.T.Helper()
	n.each(from, to, func(tx pgx.Tx, i int) error {
		_, err := n.alerts.Raise(n.T.Context(), tx, alerting.Alert{
			Rule: alerting.RuleEventDeadLettered, Subject: "pipeline-deals", Level: level.Error,
			Member: &alerting.Member{Key: dealKey(i), Name: fmt.Sprint("Deal ", i), Reason: fmt.Sprintf("Strapi answered 500 to request %d", i)},
		})
		return err
	})
}

// recover lets the documents from one to the other leave.
func (n *night) recover(from, to int, outcome string) {
	n.T.Helper()
	n.each(from, to, func(tx pgx.Tx, i int) error {
		_, err := n.alerts.Leave(n.T.Context(), tx, alerting.RuleEventDeadLettered, "", dealKey(i), outcome)
		return err
	})
}

func (n *night) each(from, to int, do func(tx pgx.Tx, i int) error) {
	n.T.Helper()
	for ; from < to; from += batch {
		n.MustCommit(func(_ context.Context, tx pgx.Tx) error {
			for i := from; i < min(from+batch, to); i++ {
				if err := do(tx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func dealKey(i int) string { return fmt.Sprintf("api::pipeline-deal.pipeline-deal/%04d", i) }

// lines counts those that hold all the parts.
func lines(all []string, parts ...string) (n int) {
	for _, l := range all {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(l, p) }) {
			n++
		}
	}
	return n
}

// Strapi is down for an hour, 500 documents die meanwhile, one of two receivers is
// away for half of it, then all recovers. Dead letters are a consequence of the
// outage: they are notified only when they outlive it.
func TestNight_Outage(t *testing.T) {
	t.Parallel()
	n := newNight(t, 30*time.Second)
	for i := range 5 {
		_, err := n.breaker.RecordFailure(t.Context(), fmt.Sprint("document ", i), errors.New("connection refused"))
		require.NoError(t, err)
	}
	require.NoError(t, n.breaker.Open(t.Context(), errors.New("connection refused")))
	down := n.until(60, func(minute int) {
		if minute >= 1 && minute <= 50 {
			n.die((minute-1)*10, minute*10)
		}
		switch minute {
		case 15:
			n.webhook.setAway(true)
		case 20:
			n.MustCommit(func(_ context.Context, tx pgx.Tx) error {
				_, err := n.alerts.Raise(t.Context(), tx, alerting.Alert{
					Rule: alerting.RuleMassDeleteGuard, Subject: "billings", Level: level.Critical, Message: "40 billings vanished at once",
				})
				return err
			})
		case 45:
			n.webhook.setAway(false)
		}
	})
	require.Equal(t, 1, lines(down, "pager: *[CRITICAL] firing* breaker_opened"))
	require.Equal(t, 1, lines(down, "webhook: *[CRITICAL] firing* breaker_opened"))
	require.Equal(t, 1, lines(down, "pager: *[CRITICAL] still firing, second notice* breaker_opened"))
	require.Equal(t, 1, lines(down, "pager: *[CRITICAL] firing* mass_delete_guard"))
	require.Equal(t, 1, lines(down, "pager: *[ERROR] firing* notification_failing"), "the other channel says that this one fails")
	require.Zero(t, lines(down, "event_dead_lettered"), "the outage inhibits its consequences")

	_, err := n.breaker.Probe(t.Context(), func(context.Context) error { return nil })
	require.NoError(t, err)
	back := n.until(100, func(minute int) {
		switch minute {
		case 61:
			n.recover(0, 400, "synchronised")
		case 80:
			n.recover(400, 500, "synchronised")
		}
	})
	require.Equal(t, 1, lines(back, "pager: *[CRITICAL] resolved after 1 h", "Strapi answers again after 1 h"), "with its duration")
	require.Equal(t, 1, lines(back, "webhook: *[CRITICAL] resolved after 1 h"))
	require.Equal(t, 1, lines(append(down, back...), "webhook: *[CRITICAL] firing* mass_delete_guard"), "what was said while it was away arrives later")
	for _, channel := range []string{"pager", "webhook"} {
		require.Equal(t, 1, lines(back, channel+": *[ERROR] firing* event_dead_lettered", "100 documents of pipeline-deals"))
		require.Equal(t, 1, lines(back, channel+": *[ERROR] resolved", "event_dead_lettered", "All 500 documents", "500 synchronised"))
		require.Equal(t, 2, lines(back, channel+":", "event_dead_lettered"))
	}
	n.nothingIsLost()
}

// burst may be more where a minute does not matter:
// make test PKG=./cmd/dealbox TESTFLAGS='-v -run TestNight_Burst -burst=5000'.
var burst = flag.Int("burst", 1000, "how many documents TestNight_Burst lets die")

// Strapi renamed a field: so many documents die at once. That is one notice a channel,
// and one when it is over; each document keeps its row, which says why.
func TestNight_Burst(t *testing.T) {
	t.Parallel()
	n := newNight(t, 20*time.Minute) // so that it is a burst on a slow machine, too
	documents, part := *burst, *burst/5
	got := n.until(40, func(minute int) {
		switch {
		case minute == 1:
			n.die(0, documents)
		case minute >= 25 && minute < 30:
			n.recover((minute-25)*part, (minute-24)*part-2, "synchronised")
			n.recover((minute-24)*part-2, (minute-24)*part, "deleted in Strapi")
		}
	})
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], ",", "") // those of thousands
	}
	for _, channel := range []string{"pager", "webhook"} {
		require.Equal(t, 1, lines(got, channel+": *[ERROR] firing* event_dead_lettered", fmt.Sprintf("%d documents of pipeline-deals", documents)))
		require.Equal(t, 1, lines(got, channel+": *[ERROR] resolved", fmt.Sprintf("All %d documents", documents), fmt.Sprintf("%d synchronised 10 deleted in Strapi", documents-10)))
	}
	require.Len(t, got, 4)

	require.Equal(t, fmt.Sprintf("%d %d 10 0", documents, documents-10), n.MustText(`SELECT concat_ws(' ',
		(SELECT count(DISTINCT details->>'member') FROM alert_event WHERE kind = 'joined' AND reason = 'Strapi answered 500 to request ' || right(details->>'member', 4)::int),
		(SELECT count(DISTINCT details->>'member') FROM alert_event WHERE kind = 'left' AND reason = 'synchronised'),
		(SELECT count(DISTINCT details->>'member') FROM alert_event WHERE kind = 'left' AND reason = 'deleted in Strapi'),
		(SELECT count(*) FROM alert_member))`))
	n.nothingIsLost()
}

// nothingIsLost: no notification failed or waits.
func (n *night) nothingIsLost() {
	n.T.Helper()
	require.Zero(n.T, pgtest.MustGet[int](n.DB, `SELECT count(*) FROM notification WHERE status IN ('pending', 'failed')`))
}
