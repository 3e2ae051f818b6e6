package migrations_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/pgtest"
)

const viewsOfTheAuditor = "audit_alert audit_breaker audit_event audit_notification audit_operator audit_retention audit_silence"

func TestRoles_AuditorReadsTheViewsAndNothingElse(t *testing.T) {
	t.Parallel()
	roles := pgtest.SeparateRoles(t)
	connect(t, roles.Admin).seedHistory()
	auditor := connect(t, roles.Auditor)
	require.Equal(t, strings.Fields(viewsOfTheAuditor), auditor.names(`SELECT relname::text FROM pg_class
		WHERE relnamespace IN ('public'::regnamespace, to_regnamespace('river')) AND relkind IN ('r', 'p', 'v', 'm', 'S')
		  AND (has_any_column_privilege(oid, 'SELECT, INSERT, UPDATE, REFERENCES') OR has_table_privilege(oid, 'DELETE, TRUNCATE, TRIGGER'))
		ORDER BY 1`))
	require.Empty(t, auditor.names(`SELECT table_name || ' ' || privilege_type FROM information_schema.role_table_grants
		WHERE grantee = current_user AND privilege_type <> 'SELECT'`))
	require.Empty(t, auditor.names("SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(oid, 'EXECUTE')"))
	for _, view := range strings.Fields(viewsOfTheAuditor) {
		auditor.exec("SELECT * FROM " + view)
		require.Empty(t, auditor.names("SELECT attname::text FROM pg_attribute WHERE attrelid = $1::text::regclass AND atttypid = 'bytea'::regtype", view), "no raw bodies")
	}
	auditor.exec("SET default_transaction_read_only = off")
	for _, sql := range []string{
		"SELECT body FROM inbox_event", "SELECT FROM alert", "SELECT FROM deal", "SELECT FROM river.river_job", "SELECT FROM " + today(t, auditor),
		"DELETE FROM audit_retention", "UPDATE audit_retention SET removed = 0", "CREATE TEMPORARY TABLE x ()", "CREATE TABLE x ()",
		"SELECT inbox_make_partitions(400)", "SELECT alert_prune('400 days', 1)",
	} {
		auditor.forbidden(sql)
	}
}

// seedAudit is a month of history, as far as the queries of docs/sql-audit.md need it.
const seedAudit = `
INSERT INTO alert (id, fingerprint, rule, subject, level, status, message, occurrences, first_seen, last_seen, resolved_at) OVERRIDING SYSTEM VALUE VALUES
    (42, 'a', 'breaker_opened', 'strapi', 'critical', 'resolved', 'down', 7, now() - interval '3 hours', now() - interval '2 hours', now() - interval '2 hours'),
    (43, 'b', 'event_dead_lettered', 'deal gone', 'error', 'firing', 'dead', 2, now() - interval '1 hour', now(), NULL),
    (7,  'c', 'breaker_opened', 'strapi', 'critical', 'resolved', 'down', 5, now() - interval '9 days', now() - interval '9 days', now() - interval '9 days' + interval '3 hours');
INSERT INTO alert_event (alert_id, at, kind, level, actor, reason, details) VALUES
    (7,  now() - interval '9 days', 'raised', 'critical', 'dealbox', '', '{"message": "Strapi does not answer"}'),
    (7,  now() - interval '9 days' + interval '3 hours', 'resolved', 'critical', 'cli:root', 'by hand', '{}'),
    (42, now() - interval '3 hours', 'raised', 'critical', 'dealbox', '', '{"message": "Strapi does not answer"}'),
    (42, now() - interval '3 hours', 'notified', 'critical', 'dealbox', 'webhook', '{}'),
    (42, now() - interval '3 hours' + interval '10 minutes', 'acknowledged', 'critical', 'ann', 'called the hoster', '{}'),
    (42, now() - interval '2 hours', 'resolved', 'critical', 'dealbox', 'the breaker closed', '{}'),
    (43, now() - interval '1 hour', 'raised', 'error', 'dealbox', '', '{"message": "given up"}');
INSERT INTO notification (id, alert_id, channel, receiver, reason, sequence, status, attempts, last_error, created_at, sent_at, failed_at) OVERRIDING SYSTEM VALUE VALUES
    (1, 42, 'webhook', '', 'first', 1, 'sent', 2, NULL, now() - interval '3 hours', now() - interval '3 hours', NULL),
    (2, 42, 'email', 'ops@example.com', 'first', 1, 'failed', 12, '535 authentication failed', now() - interval '3 hours', NULL, now()),
    (3, 42, 'webhook', '', 'resolved', 3, 'sent', 1, NULL, now() - interval '2 hours', now() - interval '2 hours', NULL),
    (4, 43, 'webhook', '', 'first', 1, 'pending', 9, 'answered 503', now() - interval '1 hour', NULL, NULL),
    (5, 43, 'email', 'ops@example.com', 'first', 1, 'pending', 0, NULL, now(), NULL, NULL);
INSERT INTO notification (id, alert_id, channel, reason, sequence, status, suppressed_by, suppressed_at) OVERRIDING SYSTEM VALUE VALUES
    (6, 42, 'webhook', 'reminder', 2, 'suppressed', 'acknowledged', now());
-- In eighths of the month until now: an outage that began before it, one within it, and one that somebody ordered.
INSERT INTO circuit_breaker_event (name, at, generation, from_state, to_state, failure_count, actor, reason)
SELECT 'strapi', date_trunc('month', now()) + eighths * make_interval(secs => floor(extract(epoch FROM now() - date_trunc('month', now())) / 8)) - before,
       row_number() OVER (), from_state, to_state, 5, actor, reason
FROM (VALUES
    (0, interval '10 minutes', 'closed', 'open', 'dealbox', 'HTTP 502'),
    (1, interval '0', 'open', 'half_open', 'dealbox', 'probe'),
    (2, interval '0', 'half_open', 'closed', 'dealbox', 'probe'),
    (4, interval '0', 'closed', 'open', 'dealbox', 'HTTP 502'),
    (5, interval '0', 'open', 'closed', 'dealbox', 'probe'),
    (7, interval '0', 'closed', 'open', 'ann', 'Strapi is upgraded'),
    (8, interval '0', 'open', 'closed', 'dealbox', 'probe')) AS t (eighths, before, from_state, to_state, actor, reason);
INSERT INTO entity_sync (uid, document_id, want_seq, done_seq, state, failures, last_error) VALUES
    ('api::deal.deal', 'a1b2c3d4e5f6g7h8i9j0k1l2', 2, 1, 'pending', 0, NULL), ('api::deal.deal', 'gone', 1, 0, 'dead', 12, 'HTTP 500');
INSERT INTO inbox_event (id, received_on, received_at, dedup_key, scheme, event, uid, document_id, locale, seq, body, quarantine_reason)
SELECT format('00000000-0000-7000-8000-00000000000%s', n)::uuid, (now() AT TIME ZONE 'UTC')::date, now() - make_interval(secs => 10 - n), sha256(n::text::bytea),
       'standard', event, uid, document_id, CASE WHEN seq > 0 THEN '' END, seq, '{}', quarantine FROM (VALUES
    (1, 'entry.update', 'api::deal.deal', 'a1b2c3d4e5f6g7h8i9j0k1l2', 1, NULL),
    (2, 'entry.update', 'api::deal.deal', 'a1b2c3d4e5f6g7h8i9j0k1l2', 2, NULL),
    (3, 'entry.create', 'api::deal.deal', 'gone', 1, NULL),
    (4, 'trigger-test', NULL, NULL, NULL, NULL),
    (5, NULL, NULL, NULL, NULL, 'not JSON')) AS t (n, event, uid, document_id, seq, quarantine);
INSERT INTO retention_event (subject, removed, older_than, role) VALUES
    ('alert', 500, now() - interval '400 days', 'dealbox_app'), ('alert', 20, now() - interval '400 days', 'dealbox_app'),
    ('inbox_event', 1000, now() - interval '90 days', 'root')`

// expected returns what each query of docs/sql-audit.md yields over seedAudit, by its
// number. A day is <day>, a time <time>.
func expected(outages string) map[string][]string {
	return map[string][]string{
		"1": {
			"42|<time>|critical|breaker_opened|strapi|Strapi does not answer|resolved",
			"43|<time>|error|event_dead_lettered|deal gone|given up|firing",
		},
		"2": {
			"<time>|raised|critical|dealbox||Strapi does not answer",
			"<time>|notified|critical|dealbox|webhook|-",
			"<time>|acknowledged|critical|ann|called the hoster|-",
			"<time>|resolved|critical|dealbox|the breaker closed|-",
		},
		"3": {"42|breaker_opened|strapi|ann|called the hoster|00:10:00"},
		"4": {
			"email|ops@example.com|1|first|failed|12|-|535 authentication failed|-",
			"webhook||1|first|sent|2|<time>|-|-",
			"webhook||2|reminder|suppressed|0|-|-|acknowledged",
			"webhook||3|resolved|sent|1|<time>|-|-",
		},
		"5": {
			"2|42|breaker_opened|email|ops@example.com|failed|12|535 authentication failed",
			"4|43|event_dead_lettered|webhook||pending|9|answered 503",
		},
		"6": {outages},
		"7": {"<time>|strapi|closed|open|ann|Strapi is upgraded|<time>"},
		"8": {
			"00000000-0000-7000-8000-000000000002|<time>|entry.update|a1b2c3d4e5f6g7h8i9j0k1l2|pending|0|waits for its turn",
			"00000000-0000-7000-8000-000000000003|<time>|entry.create|gone|dead|12|HTTP 500",
			"00000000-0000-7000-8000-000000000005|<time>|-|-|quarantined|-|not JSON",
		},
		"9": {
			"<time>|entry.update|standard|processed|-",
			"<time>|entry.update|standard|pending|waits for its turn",
		},
		"10": {"<day>|5|1|2|1|1"},
		"11": {"breaker_opened|2|12|0|02:00:00", "event_dead_lettered|1|2|1|-"},
		"12": {"alert|520|<time>|<time>|dealbox_app", "inbox_event|1000|<time>|<time>|root"},
	}
}

var (
	question = regexp.MustCompile("(?s)\n## (\\d+)\\. [^\n]+\n(?:[^`]|`[^`])*?```sql\n(.*?)```")
	fence    = regexp.MustCompile("```sql\n")
	timeText = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?`)
	dateText = regexp.MustCompile(`\d{4}-\d\d-\d\d`)
)

// Runs each query of docs/sql-audit.md as an auditor.
func TestAudit_QueriesOfTheDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/sql-audit.md")
	require.NoError(t, err)
	roles := pgtest.SeparateRoles(t)
	admin := connect(t, roles.Admin)
	admin.exec(seedAudit)
	outages := admin.names(`SELECT concat_ws('|', 2, justify_hours(3 * eighth), justify_hours(eighth))
		FROM (SELECT make_interval(secs => floor(extract(epoch FROM max(at) - date_trunc('month', now())) / 8)) AS eighth FROM circuit_breaker_event) month`)[0]
	auditor := connect(t, roles.Auditor)

	want, questions := expected(outages), question.FindAllStringSubmatch(string(page), -1)
	require.Len(t, questions, len(fence.FindAllString(string(page), -1)), "each query has a question")
	require.Len(t, questions, len(want))
	for _, q := range questions {
		require.Equal(t, want[q[1]], auditor.rows(q[2]), "%s. %s", q[1], q[2])
	}
}

// rows returns a query's rows as psql shows them: fields with | between them, null as -.
func (s session) rows(sql string) []string {
	s.t.Helper()
	rows, err := s.conn.Query(s.t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	require.NoError(s.t, err, sql)
	var all []string
	for rows.Next() {
		var fields []string
		for _, field := range rows.RawValues() {
			text := "-"
			if field != nil {
				text = string(field)
			}
			fields = append(fields, text)
		}
		line := timeText.ReplaceAllString(strings.Join(fields, "|"), "<time>")
		all = append(all, dateText.ReplaceAllString(line, "<day>"))
	}
	require.NoError(s.t, rows.Err(), sql)
	return all
}
