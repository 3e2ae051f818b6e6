package retention

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/inbox"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/pgtest"
	"dealbox/internal/reconcile"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// env is a database with history. The worker runs in the service's role.
type env struct {
	pgtest.DB // as the administrator

	roles pgtest.Roles
	owner *pgxpool.Pool // as partitions are made
	app   *pgxpool.Pool
}

func newEnv(t *testing.T) *env {
	t.Helper()
	roles := pgtest.SeparateRoles(t)
	return &env{pgtest.DB{T: t, Pool: pgtest.PoolOn(t, roles.Admin)}, roles, pgtest.PoolOn(t, roles.Owner), pgtest.PoolOn(t, roles.App)}
}

// work goes on like River when the slice of 20 s was over, as on a busy machine.
func (h *env) work() error {
	for {
		err := NewWorker(h.app, Config{}).Work(h.T.Context(), &river.Job[Args]{})
		if _, snoozed := errors.AsType[*rivertype.JobSnoozeError](err); !snoozed {
			return err
		}
	}
}

// day makes a partition some days ago with one event, of a document or set aside.
func (h *env) day(ago int, document, quarantine string) {
	h.T.Helper()
	_, err := h.owner.Exec(h.T.Context(), fmt.Sprintf(`DO $$ DECLARE day date := (now() AT TIME ZONE 'UTC')::date - %d; BEGIN
		EXECUTE format('CREATE TABLE inbox_event_%%s PARTITION OF inbox_event FOR VALUES FROM (%%L) TO (%%L)', to_char(day, 'YYYYMMDD'), day, day + 1);
		END $$`, ago))
	require.NoError(h.T, err)
	h.MustExec(`INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, uid, document_id, locale, seq, body, quarantine_reason)
		VALUES (gen_random_uuid(), (now() AT TIME ZONE 'UTC')::date - $1::int, now() - make_interval(days => $1), '\x01', 'standard',
		        'u', $2, '', CASE WHEN $2 <> '' THEN 1 END, '{}', nullif($3, ''))`, ago, document, quarantine)
}

// daysAgo are the days before today that still have a partition.
func (h *env) daysAgo() []string {
	h.T.Helper()
	return h.MustTexts(`SELECT ((now() AT TIME ZONE 'UTC')::date - to_date(right(relname, 8), 'YYYYMMDD'))::text FROM pg_class
		WHERE relname ~ '^inbox_event_\d{8}$' AND to_date(right(relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date ORDER BY relname`)
}

// documents are in step, waiting or given up.
func (h *env) documents() {
	h.T.Helper()
	h.MustExec(`INSERT INTO entity_sync (uid, document_id, locale, want_seq, done_seq, events, events_done, state, pending_since, dead_at) VALUES
		('u', 'done', '', 1, 1, 9, 9, 'ok', NULL, NULL), ('u', 'later', '', 2, 1, 9, 8, 'pending', now(), NULL),
		('u', 'waits', '', 1, 0, 1, 0, 'pending', now(), NULL), ('u', 'dead', '', 1, 0, 1, 0, 'dead', now(), now())`)
}

func (h *env) alert(id, resolvedDaysAgo int, rule, subject string) {
	h.T.Helper()
	h.MustExec(`INSERT INTO alert (id, fingerprint, rule, subject, level, status, message, first_seen, last_seen, resolved_at) OVERRIDING SYSTEM VALUE
		VALUES ($1, concat('v1:', $3::text, ':', $4::text, $1::bigint), $3, $4, 'error', CASE WHEN $2 > 0 THEN 'resolved' ELSE 'firing' END, 'm',
		        now() - interval '1000 days', now() - interval '900 days', CASE WHEN $2 > 0 THEN now() - make_interval(days => $2::int) END)`,
		id, resolvedDaysAgo, rule, subject)
	h.MustExec(`INSERT INTO alert_event (alert_id, at, kind, level, actor) SELECT $1::bigint, now() - interval '1000 days', 'raised', 'error', 'dealbox'
		UNION ALL SELECT $1::bigint, now() - make_interval(days => $2::int), 'resolved', 'error', 'dealbox' WHERE $2 > 0`, id, resolvedDaysAgo)
	h.MustExec("INSERT INTO notification (alert_id, channel, reason, sequence, status, sent_at) VALUES ($1, 'webhook', 'first', 1, 'sent', now())", id)
}

func TestWorker_Work_Events(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.documents()
	h.alert(1, 0, alerting.RuleBodyQuarantined, "unreadable")
	h.alert(2, 1, alerting.RuleBodyQuarantined, "seen by somebody")
	h.day(100, "done", "")
	h.day(99, "waits", "")
	h.day(98, "dead", "")
	h.day(97, "", "unreadable")
	h.day(96, "", "seen by somebody")
	h.day(95, "later", "") // its document waits for a later event
	h.day(90, "done", "")  // not older than 90 days as a whole
	require.NoError(t, h.work())
	require.Equal(t, []string{"99", "98", "97", "90"}, h.daysAgo(), "no day with an unprocessed event, or a quarantined one that nobody dealt with")

	h.MustExec("UPDATE entity_sync SET done_seq = want_seq, events_done = events, state = 'ok', dead_at = NULL")
	h.MustExec("UPDATE alert SET status = 'resolved', resolved_at = now() WHERE id = 1")
	require.NoError(t, h.work())
	require.Equal(t, []string{"90"}, h.daysAgo())
	require.NoError(t, h.work())
	require.Equal(t, []string{"6"}, h.MustTexts("SELECT sum(removed)::text FROM retention_event WHERE subject = 'inbox_event' AND role LIKE '%_app'"), "each day once")
	require.Equal(t, []string{"2"}, h.MustTexts("SELECT sum((details->>'quarantined')::int)::text FROM audit_retention"))
}

// Webhooks that name no document share an episode, whatever is wrong with each.
func TestWorker_Work_Unnamed(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.alert(1, 0, alerting.RuleBodyQuarantined, alerting.SubjectUnnamedOf("billings"))
	h.day(100, "", "entry is missing or null")
	h.day(99, "", "")
	require.NoError(t, h.work())
	require.Equal(t, []string{"100"}, h.daysAgo(), "a day of ignored events goes, one with a webhook that nobody dealt with stays")

	h.MustExec("UPDATE alert SET status = 'resolved', resolved_at = now()")
	require.NoError(t, h.work())
	require.Empty(t, h.daysAgo())
}

func TestWorker_Work_Alerts(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.alert(1, 0, "open", "") // for 1,000 days
	h.alert(2, 399, "young", "")
	h.alert(3, 401, "old", "")
	h.alert(4, 401, "pending", "")
	h.MustExec("UPDATE notification SET status = 'pending', sent_at = NULL WHERE alert_id = 4")
	for id := range 1100 { // more than two batches
		h.alert(100+id, 500, "many", fmt.Sprint(id))
	}
	require.NoError(t, h.work())
	left := []string{"1 open", "2 young", "4 pending"}
	require.Equal(t, left, h.MustTexts("SELECT id || ' ' || rule FROM alert ORDER BY id"))
	require.Equal(t, []string{"1", "2", "4"}, h.MustTexts("SELECT DISTINCT alert_id::text FROM alert_event ORDER BY 1"))
	require.Equal(t, []string{"1", "2", "4"}, h.MustTexts("SELECT DISTINCT alert_id::text FROM notification ORDER BY 1"))
	require.Equal(t, []string{"1101 2202 1101"}, h.MustTexts(`SELECT concat_ws(' ', sum(removed), sum((details->>'alert_event')::int), sum((details->>'notification')::int))
		FROM audit_retention WHERE subject = 'alert'`))
}

func TestWorker_Work_Changes(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.MustExec(`INSERT INTO mirror_change (changed_at, uid, document_id, locale, seq, kind)
		SELECT now() - make_interval(days => d), 'u', d::text, '', 1, 'updated' FROM unnest(ARRAY[95, 91, 89, 1]) d`)
	h.MustExec(`INSERT INTO circuit_breaker_event (name, at, generation, from_state, to_state, failure_count, actor, reason)
		SELECT name, now() - make_interval(days => d), 1000 - d, 'closed', 'open', 1, 'dealbox', ''
		FROM unnest(ARRAY['strapi', 'strapi', 'strapi', 'other', 'other'], ARRAY[500, 401, 399, 900, 800]) AS t (name, d)`)
	require.NoError(t, h.work())
	require.Equal(t, []string{"89", "1"}, h.MustTexts("SELECT document_id FROM mirror_change ORDER BY id"))
	require.Equal(t, []string{"strapi 601", "other 200"}, h.MustTexts("SELECT name || ' ' || generation FROM circuit_breaker_event ORDER BY id"),
		"the last of each holds since when its state lasts")
	require.Equal(t, []string{"circuit_breaker_event 3", "mirror_change 2"}, h.MustTexts("SELECT subject || ' ' || removed FROM audit_retention ORDER BY 1"))
}

func TestWorker_Work_Reconciliations(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.MustExec(`INSERT INTO reconciliation_run (id, kind, trigger, status, requested_at, finished_at) OVERRIDING SYSTEM VALUE
		SELECT id, kind, 'schedule', status, now() - make_interval(days => d), CASE WHEN status <> 'running' THEN now() - make_interval(days => d) END FROM (VALUES
			(1, 'full', 'done', 90), (2, 'delta', 'done', 31), (3, 'delta', 'running', 31), (4, 'delta', 'done', 29),
			(5, 'full', 'partial', 60), (6, 'delta', 'partial', 40)) AS t (id, kind, status, d)`)
	h.MustExec(`INSERT INTO reconciliation_type (run_id, uid, plural, position, kind, baseline, status, finished_at, error)
		SELECT run, uid, uid, 0, kind, true, status, now(), CASE status WHEN 'failed' THEN 'not answered' END FROM (VALUES
			(1, 'u', 'full', 'done'), (1, 'v', 'full', 'done'), (2, 'u', 'delta', 'done'), (4, 'u', 'delta', 'done'),
			(5, 'u', 'full', 'done'), (5, 'v', 'full', 'failed'), (6, 'u', 'delta', 'failed'), (6, 'v', 'full', 'failed')) AS t (run, uid, kind, status)`)
	h.MustExec(`INSERT INTO reconciliation_difference (run_id, uid, document_id, locale, kind, enqueued, lost)
		SELECT run, 'u', 'd', '', 'stale', true, false FROM unnest(ARRAY[1, 2, 2, 3, 4, 5]) run`)
	require.NoError(t, h.work())
	require.Equal(t, []string{"1", "3", "4", "5"}, h.MustTexts("SELECT id::text FROM reconciliation_run ORDER BY id"),
		"the last full comparison of each type stays, and a type that fails keeps no other run")
	require.Equal(t, []string{"1", "3", "4", "5"}, h.MustTexts("SELECT run_id::text FROM reconciliation_difference ORDER BY run_id"))
	require.Equal(t, []string{`reconciliation_run 2 {"reconciliation_difference": 2}`},
		h.MustTexts("SELECT subject || ' ' || removed || ' ' || details FROM audit_retention WHERE role LIKE '%_app'"))
}

// The hourly counts of alerts go with the alerts, but a summary of 31 days is never cut.
func TestWorker_Work_Hours(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.MustExec(`INSERT INTO alert_hour (hour, rule, level, raised)
		SELECT date_trunc('hour', now(), 'UTC') - make_interval(days => d), d::text, 'error', 1 FROM unnest(ARRAY[401, 401, 399, 33, 31, 0]) d`)
	require.NoError(t, h.work())
	require.Equal(t, []string{"399", "33", "31", "0"}, h.MustTexts("SELECT rule FROM alert_hour ORDER BY hour"))
	require.NoError(t, NewWorker(h.app, Config{Alerts: MinAlerts}).Work(t.Context(), &river.Job[Args]{}))
	require.Equal(t, []string{"31", "0"}, h.MustTexts("SELECT rule FROM alert_hour ORDER BY hour"))
	require.Equal(t, []string{"alert_hour 2", "alert_hour 2"}, h.MustTexts("SELECT subject || ' ' || removed FROM audit_retention"))
}

func TestWorker_Work_Forecasts(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.MustExec(`INSERT INTO forecast (scope, computed_at, model_version, digest, deals)
		SELECT 'base', (date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC') - make_interval(days => d) + make_interval(hours => h), '1', '\x01', 100 * d + h
		FROM unnest(ARRAY[5, 5, 5, 4, 3, 3, 1, 1], ARRAY[0, 12, 23, 1, 0, 23, 1, 2]) AS t (d, h)`)
	h.MustExec(`INSERT INTO forecast_month SELECT id, 'EUR', '2026-01-01', 1, 1, 1, 1, 1, NULL, NULL, NULL, 1, 1 FROM forecast`)
	require.NoError(t, h.work())
	require.Equal(t, []string{"523", "401", "323", "101", "102"}, h.MustTexts("SELECT deals::text FROM forecast ORDER BY id"),
		"one a UTC day once they are older than 48 hours")
	require.Equal(t, []string{"5"}, h.MustTexts("SELECT count(*)::text FROM forecast_month"))
	h.MustExec("UPDATE forecast SET computed_at = computed_at - interval '9 days'")
	require.NoError(t, h.work())
	require.Equal(t, []string{"523", "401", "323", "102"}, h.MustTexts("SELECT deals::text FROM forecast ORDER BY id"), "and the latest, whatever its age")
}

// The service's role cannot use retention to make young history vanish.
func TestRetention_AppCannotAbuseIt(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.day(10, "done", "")
	h.alert(1, 0, "open", "")
	h.MustExec("INSERT INTO alert_event (alert_id, kind, level, actor) VALUES (1, 'acknowledged', 'error', 'ann')")
	for _, sql := range []string{
		"SELECT inbox_drop_day('6 days')", "SELECT inbox_drop_day(NULL)", "SELECT alert_prune('29 days', 10)", "SELECT alert_prune('-1 day', 10)",
		"SELECT mirror_change_prune('1 day', 10)", "SELECT circuit_breaker_event_prune('0', 10)", "SELECT forecast_prune('0', 10)",
		"SELECT reconciliation_run_prune('29 days', 10)", "SELECT alert_hour_prune('29 days', 10)",
	} {
		_, err := h.app.Exec(t.Context(), sql)
		require.ErrorContains(t, err, "is never removed", sql)
	}
	// It may write the episode, but the episode's age is what the history says.
	_, err := h.app.Exec(t.Context(), "UPDATE alert SET status = 'resolved', resolved_at = '2000-01-01', last_seen = '2000-01-01'")
	require.NoError(t, err)
	_, err = h.app.Exec(t.Context(), "SELECT alert_prune('30 days', 10)")
	require.NoError(t, err)
	require.Equal(t, []string{"2"}, h.MustTexts("SELECT count(*)::text FROM alert_event"))
	// Nor does the variable open anything for it, or for a trusted role's plain DELETE.
	for _, table := range []string{"alert_event", "retention_event", "inbox_event"} {
		_, err = h.app.Exec(t.Context(), "SET dealbox.retention = 'on'; DELETE FROM "+table)
		var pg *pgconn.PgError
		require.ErrorAs(t, err, &pg)
		require.Equal(t, "42501", pg.Code)
	}
	h.alert(2, 50, "old", "")
	_, err = h.Pool.Exec(t.Context(), "SELECT alert_prune('30 days', 10), mirror_change_prune('30 days', 10); DELETE FROM alert_event")
	require.ErrorContains(t, err, "append-only", "the variable ends with the function")
}

// Where one role owns everything, retention works as well.
func TestWorker_Work_OneRole(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t)
	h := &env{DB: db, owner: db.Pool, app: db.Pool}
	h.documents()
	h.day(100, "done", "")
	h.alert(3, 401, "old", "")
	require.NoError(t, h.work())
	require.Empty(t, h.daysAgo())
	require.Equal(t, []string{"0"}, h.MustTexts("SELECT count(*)::text FROM alert_event"))
}

// An auditor's long SELECT keeps retention waiting, and nothing else: partitions
// are made, and ingest goes on while retention tries.
func TestWorker_Work_BehindALongSelect(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.documents()
	h.day(100, "done", "")
	h.alert(3, 401, "old", "")
	auditor, err := pgx.Connect(t.Context(), h.roles.Auditor)
	require.NoError(t, err)
	t.Cleanup(func() { _ = auditor.Close(context.Background()) })
	_, err = auditor.Exec(t.Context(), "BEGIN; SELECT count(*) FROM audit_event; SELECT count(*) FROM audit_alert")
	require.NoError(t, err)

	tried := make(chan error, 1)
	go func() {
		var err error
		for range 5 {
			err = h.work()
		}
		tried <- err
	}()
	receive, stored := h.receiver(), 0
	for err = nil; err == nil; stored++ {
		select {
		case err = <-tried:
		default:
			receive(stored)
		}
	}
	var pg *pgconn.PgError
	require.ErrorAs(t, err, &pg)
	require.Equal(t, "55P03", pg.Code, "lock_not_available: it is tried again")
	require.Equal(t, []string{"100"}, h.daysAgo())
	require.Equal(t, []string{"0"}, h.MustTexts("SELECT count(*)::text FROM alert"), "one subject does not wait for another")
	_, err = h.app.Exec(t.Context(), "SELECT inbox_make_partitions(20)")
	require.NoError(t, err)
	receive(stored)
	require.Positive(t, stored-1)

	_, err = auditor.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	require.NoError(t, h.work())
	require.Empty(t, h.daysAgo())
}

// receiver stores one event after the other, as the service does.
func (h *env) receiver() (receive func(n int)) {
	h.T.Helper()
	config, err := pgxpool.ParseConfig(h.roles.App)
	require.NoError(h.T, err)
	config.ConnConfig.RuntimeParams["lock_timeout"] = "2s" // as in serve
	pool, err := pgxpool.NewWithConfig(h.T.Context(), config)
	require.NoError(h.T, err)
	h.T.Cleanup(pool.Close)
	inserter, err := jobs.NewInserter(pool, nil, nil)
	require.NoError(h.T, err)
	r := inbox.NewReceiver(pool, mirror.NewQueue(inserter), reconcile.NewQueue(inserter), alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter)), inbox.Config{
		Types: []strapi.ContentType{{Kind: strapi.Deal, UID: "u", Plural: "deals"}},
	})
	h.T.Cleanup(func() { _ = r.Close(context.Background()) })
	return func(n int) {
		h.T.Helper()
		_, err := r.Receive(h.T.Context(), inbox.Delivery{Scheme: webhooksig.SchemeStrapi, Body: fmt.Appendf(nil, `{"event":"trigger-test","n":%d}`, n)})
		require.NoError(h.T, err)
	}
}

// The settings' minimums are the floors of the functions.
func TestMinimums_AreTheFloorsOfTheFunctions(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	short := NewWorker(h.app, Config{Events: MinEvents, Alerts: MinAlerts, Forecasts: MinForecasts})
	require.NoError(t, short.Work(t.Context(), &river.Job[Args]{}))
	for _, c := range []Config{
		{Events: MinEvents - time.Second}, {Alerts: MinAlerts - time.Second}, {Forecasts: MinForecasts - time.Second},
	} {
		require.ErrorContains(t, NewWorker(h.app, c).Work(t.Context(), &river.Job[Args]{}), "is never removed")
	}
}
