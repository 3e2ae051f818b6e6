package simulation

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/mirror"
)

// postgresFacts reads what is committed, past the gate.
type postgresFacts struct{ *postgres }

func (p postgresFacts) entities() (map[mirror.Key]entityFacts, error) {
	all := map[mirror.Key]entityFacts{}
	_, err := collect(p.postgres, "SELECT uid, document_id, locale, want_seq, done_seq, version, events, events_done, state, failures, attempt_expires_at IS NOT NULL FROM entity_sync",
		func(rows pgx.Rows) (struct{}, error) {
			var k mirror.Key
			var e entityFacts
			err := rows.Scan(&k.UID, &k.DocumentID, &k.Locale, &e.Want, &e.Done, &e.Version, &e.Events, &e.EventsDone, &e.State, &e.Failures, &e.Attempt)
			all[k] = e
			return struct{}{}, err
		})
	return all, err
}

// shown returns every mirrored row.
func (p postgresFacts) shown() (map[mirror.Key]shown, error) {
	all := map[mirror.Key]shown{}
	_, err := collect(p.postgres, `
		SELECT uid, document_id, locale, deleted_at IS NOT NULL, published_at IS NOT NULL, coalesce(name, '') || $1, '', to_jsonb(d)::text FROM deal d
		UNION ALL
		SELECT uid, document_id, locale, deleted_at IS NOT NULL, published_at IS NOT NULL,
		       coalesce(billing_id, '') || $1 || coalesce(deal_document_id, ''), coalesce(deal_document_id, ''), to_jsonb(b)::text FROM billing b`,
		func(rows pgx.Rows) (struct{}, error) {
			var k mirror.Key
			var s shown
			err := rows.Scan(&k.UID, &k.DocumentID, &k.Locale, &s.Deleted, &s.Published, &s.Content, &s.Deal, &s.Row)
			all[k] = s
			return struct{}{}, err
		}, leadsTo)
	return all, err
}

// changes returns those of mirror_change that are not known yet, by id. Ids are
// given before the commit, so a lower one can appear later.
func (p postgresFacts) changes(known map[int64]bool) ([]changeFacts, error) {
	return collect(p.postgres, `SELECT id, uid, document_id, locale, before::text, after::text FROM mirror_change WHERE id <> ALL ($1::bigint[]) ORDER BY id`,
		func(rows pgx.Rows) (c changeFacts, err error) {
			err = rows.Scan(&c.ID, &c.Key.UID, &c.Key.DocumentID, &c.Key.Locale, &c.Before, &c.After)
			return c, err
		}, slices.AppendSeq([]int64{}, maps.Keys(known)))
}

// ledger reads the view for the counters and counts the rows by their status.
func (p postgresFacts) ledger() (l ledger, err error) {
	err = p.scheduler.QueryRow(context.Background(), `
		SELECT c.received, c.pending, c.dead, c.ignored, c.quarantined, count(e.*),
		       count(*) FILTER (WHERE e.status = 'pending'), count(*) FILTER (WHERE e.status = 'dead'),
		       count(*) FILTER (WHERE e.status = 'processed'), count(*) FILTER (WHERE e.status = 'ignored'),
		       count(*) FILTER (WHERE e.status = 'quarantined')
		FROM inbox_ledger c LEFT JOIN inbox_event_status e ON true
		GROUP BY c.received, c.pending, c.dead, c.ignored, c.quarantined`).
		Scan(&l.Received, &l.Pending, &l.Dead, &l.Ignored, &l.Quarantined, &l.Rows,
			&l.RowsPending, &l.RowsDead, &l.RowsProcessed, &l.RowsIgnored, &l.RowsQuarantined)
	return l, err
}

// stored returns the dedup_keys of inbox_event.
func (p postgresFacts) stored() (map[string]bool, error) {
	return p.set("SELECT dedup_key FROM inbox_event")
}

// openAlerts returns the subjects of a rule's open episodes.
func (p postgresFacts) openAlerts(rule string) (map[string]bool, error) {
	return p.set("SELECT convert_to(subject, 'UTF8') FROM alert WHERE resolved_at IS NULL AND rule = $1", rule)
}

func (p postgresFacts) deadLetters() (map[string]bool, error) {
	return p.set("SELECT convert_to(m.member, 'UTF8') FROM alert_member m JOIN alert a ON a.id = m.alert_id WHERE a.resolved_at IS NULL")
}

func (p postgresFacts) set(sql string, args ...any) (map[string]bool, error) {
	all := map[string]bool{}
	_, err := collect(p.postgres, sql, func(rows pgx.Rows) (struct{}, error) {
		var text []byte
		err := rows.Scan(&text)
		all[string(text)] = true
		return struct{}{}, err
	}, args...)
	return all, err
}

func (p postgresFacts) scope() (want, done int64, err error) {
	err = p.scheduler.QueryRow(context.Background(), "SELECT want, done FROM forecast_scope").Scan(&want, &done)
	return want, done, err
}

func (p postgresFacts) forecasts() (n int64, err error) {
	err = p.scheduler.QueryRow(context.Background(), "SELECT count(*) FROM forecast").Scan(&n)
	return n, err
}

func (p postgresFacts) breaker() (state string, forced bool, err error) {
	err = p.scheduler.QueryRow(context.Background(), "SELECT state, forced FROM circuit_breaker").Scan(&state, &forced)
	return state, forced, err
}

// ghosts returns the documents that reconciliations found to be gone, in the order in which they did.
func (p postgresFacts) ghosts() ([]mirror.Key, error) {
	return collect(p.postgres, "SELECT uid, document_id, locale FROM reconciliation_difference WHERE kind = 'ghost' ORDER BY id",
		func(rows pgx.Rows) (key mirror.Key, err error) {
			err = rows.Scan(&key.UID, &key.DocumentID, &key.Locale)
			return key, err
		})
}

// differences counts what reconciliations found.
func (p postgresFacts) differences() (n int64, err error) {
	err = p.scheduler.QueryRow(context.Background(), "SELECT count(*) FROM reconciliation_difference").Scan(&n)
	return n, err
}

// openRuns counts the reconciliations that are not over.
func (p postgresFacts) openRuns() (n int64, err error) {
	err = p.scheduler.QueryRow(context.Background(), "SELECT count(*) FROM reconciliation_run WHERE finished_at IS NULL").Scan(&n)
	return n, err
}
