package inbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/mirror"
	"dealbox/internal/notify"
	"dealbox/internal/pgerr"
	"dealbox/internal/pgtest"
	"dealbox/internal/reconcile"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

func TestMain(m *testing.M) {
	pgtest.Main(m)
}

var contentTypes = []strapi.ContentType{
	{Kind: strapi.Deal, UID: "api::pipeline-deal.pipeline-deal", Plural: "pipeline-deals"},
	{Kind: strapi.Billing, UID: "api::billing.billing", Plural: "billings"},
}

type env struct {
	pgtest.DB

	receiver *Receiver
}

func newEnv(t *testing.T) *env {
	t.Helper()
	db := pgtest.Open(t)
	inserter, err := jobs.NewInserter(db.Pool, nil, nil)
	require.NoError(t, err)
	alerts := alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	receiver := NewReceiver(db.Pool, mirror.NewQueue(inserter), reconcile.NewQueue(inserter), alerts, Config{
		Types: contentTypes, Writers: 3, CommitTimeout: time.Minute, // a busy machine refuses nothing
	})
	t.Cleanup(func() { require.NoError(t, receiver.Close(context.Background())) })
	return &env{DB: db, receiver: receiver}
}

func (h *env) receive(id, body string) Receipt {
	h.T.Helper()
	receipt, err := h.receiver.Receive(h.T.Context(), Delivery{Scheme: webhooksig.SchemeStandard, ID: id, Body: []byte(body)})
	require.NoError(h.T, err)
	return receipt
}

// ledger compares every number with a count over the rows.
func (h *env) ledger() dbsqlc.InboxLedger {
	h.T.Helper()
	var fast dbsqlc.InboxLedger
	var slow string
	// One snapshot for both.
	require.NoError(h.T, pgx.BeginTxFunc(h.T.Context(), h.Pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) (err error) {
		if fast, err = dbsqlc.New().InboxLedger(h.T.Context(), tx); err != nil {
			return err
		}
		return tx.QueryRow(h.T.Context(), `SELECT concat_ws(' ', count(*), count(*) FILTER (WHERE status = 'processed'),
			count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'dead'),
			count(*) FILTER (WHERE status = 'ignored'), count(*) FILTER (WHERE status = 'quarantined')) FROM inbox_event_status`).Scan(&slow)
	}))
	require.Equal(h.T, slow, fmt.Sprint(fast.Received, fast.Processed, fast.Pending, fast.Dead, fast.Ignored, fast.Quarantined))
	require.Equal(h.T, fast.Received, fast.Processed+fast.Pending+fast.Dead+fast.Ignored+fast.Quarantined)
	return fast
}

func newTypes() map[string]strapi.ContentType {
	types := map[string]strapi.ContentType{}
	for _, t := range contentTypes {
		types[t.UID] = t
	}
	return types
}

func update(documentID string) string {
	return `{"event":"entry.update","createdAt":"2026-11-23T21:08:42.799Z","model":"pipeline-deal",` +
		`"uid":"api::pipeline-deal.pipeline-deal","entry":{"id":1,"documentId":"` + documentID + `","name":"Ünïcode"}}`
}

func TestReceiver_Receive(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	body := update("abc")
	receipt := h.receive("msg_1", body)
	require.Equal(t, Receipt{EventID: receipt.EventID, Event: "entry.update", Entity: "pipeline-deal", Action: ActionRecompute}, receipt)
	require.EqualValues(t, 7, receipt.EventID.Version())

	require.Equal(t, body, h.MustText("SELECT convert_from(body, 'UTF8') FROM inbox_event"), "the raw bytes are kept")
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256([]byte("msg_1"))), h.MustText("SELECT encode(dedup_key, 'hex') FROM inbox_event"))
	require.Equal(t, "standard entry.update api::pipeline-deal.pipeline-deal abc  1 pending",
		h.MustText("SELECT concat_ws(' ', scheme, event, uid, document_id, locale, seq, status) FROM inbox_event_status"))
	require.Equal(t, "2026-11-23 21:08:42.799+00", h.MustText("SELECT (sent_at AT TIME ZONE 'UTC')::text || '+00' FROM inbox_event"))
	require.Equal(t, `mirror_sync abc 1`, h.MustText("SELECT concat_ws(' ', kind, args->>'document_id', args->>'seq') FROM river.river_job"))
	require.EqualValues(t, 1, h.ledger().Pending)
}

func TestReceiver_Receive_Duplicate(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	first := h.receive("msg_1", update("abc"))
	again := h.receive("msg_1", update("abc"))
	require.True(t, again.Duplicate)
	require.Equal(t, first.EventID, again.EventID, "a duplicate is answered with the stored event")
	require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM inbox_event"))
	require.Equal(t, "2 1", h.MustText("SELECT want_seq || ' ' || events FROM entity_sync"), "one more refresh, not one more event")
	require.Equal(t, "2", h.MustText("SELECT count(*)::text FROM river.river_job"))
	require.EqualValues(t, 1, h.ledger().Received)
}

func TestReceiver_Receive_Actions(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	entry := func(event, uid string) string {
		return `{"event":"` + event + `","model":"m","uid":"` + uid + `","entry":{"documentId":"d"}}`
	}
	deal := "api::pipeline-deal.pipeline-deal"
	tests := map[string]Action{
		entry("entry.create", deal):                                                    ActionRecompute,
		entry("entry.update", deal):                                                    ActionRecompute,
		entry("entry.publish", deal):                                                   ActionRecompute,
		entry("entry.unpublish", deal):                                                 ActionRecompute,
		entry("entry.delete", deal):                                                    ActionCleanup,
		entry("entry.draft-discard", deal):                                             ActionIgnored,
		entry("entry.update", "api::page.page"):                                        ActionIgnored,
		`{"event":"trigger-test","createdAt":"2026-11-23T21:08:38.836Z"}`:              ActionIgnored,
		`{"event":"media.create","media":{"id":1}}`:                                    ActionIgnored,
		`{"event":"entry.publish","model":"pipeline-deal","entry":{"documentId":"d"}}`: ActionRecompute,
		`{"event":"entry.update","uid":"` + deal + `","entry":null}`:                   ActionQuarantined,
		`{"event":`: ActionQuarantined,
	}
	for body, want := range tests {
		require.Equal(t, want, h.receive("", body).Action, body)
	}
	l := h.ledger()
	require.EqualValues(t, 4, l.Ignored)
	require.EqualValues(t, 2, l.Quarantined)
}

// Authentic but unreadable: Strapi never sends twice, so nothing is refused.
func TestReceiver_Receive_BadInput(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	bodies := map[string]string{
		"NUL":                 strings.ReplaceAll(update("abc"), "Ünïcode", `a\u0000b`),
		"lone surrogate":      strings.ReplaceAll(update("abc"), "Ünïcode", `\ud800`),
		"9 kB documentId":     update(strings.Repeat("x", 9<<10)),
		"invalid UTF-8":       strings.ReplaceAll(update("abc"), "Ünïcode", "\xff"),
		"BOM":                 "\xef\xbb\xbf" + update("abc"),
		"not an object":       `[]`,
		"empty":               ``,
		"deep":                `{"event":"entry.update","entry":` + strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5001),
		"Strapi 4":            `{"event":"entry.update","model":"pipeline-deal","uid":"api::pipeline-deal.pipeline-deal","entry":{"id":4}}`,
		"a big number":        strings.ReplaceAll(update("abc"), `"id":1`, `"id":1e400000`),
		"NUL in the id":       update("a\\u0000b"),
		"surrogate in the id": update("a\\ud800b"),
		"control in the id":   strings.ReplaceAll(update("a\\u0001b"), "Ünïcode", "x"),
	}
	// Values outside the identifiers are never used, and the body is stored as bytes.
	handled := map[string]bool{"a big number": true, "NUL": true, "lone surrogate": true, "invalid UTF-8": true}
	for name, body := range bodies {
		receipt := h.receive("msg_"+strings.ReplaceAll(name, " ", "-"), body)
		if handled[name] {
			require.Equal(t, ActionRecompute, receipt.Action, name)
			continue
		}
		require.Equal(t, ActionQuarantined, receipt.Action, name)
	}
	require.Equal(t, "t", h.MustText("SELECT (bool_and(level = 'warning') AND count(*) > 1)::text::char FROM alert WHERE rule = 'body_quarantined'"))
	require.EqualValues(t, len(bodies)-len(handled), h.ledger().Quarantined)
}

// A webhook about a document that it does not name is kept, and everything is compared at
// once, by one run however many there are. One of another type is none of our business.
func TestReceiver_Receive_Unnamed(t *testing.T) {
	t.Parallel()
	const deal = `"model":"pipeline-deal","uid":"api::pipeline-deal.pipeline-deal"`
	for body, compares := range map[string]bool{
		`{"event":"entry.publish",` + deal + `,"entry":null}`:                               true,
		`{"event":"entry.create",` + deal + `}`:                                             true,
		`{"event":"entry.update",` + deal + `,"entry":{"id":1}}`:                            true,
		`{"event":"entry.unpublish",` + deal + `,"entry":{"documentId":null}}`:              true,
		`{"event":"entry.delete",` + deal + `,"entry":{"documentId":7}}`:                    true,
		`{"event":"entry.publish",` + deal + `,"entry":[{"documentId":"a"}]}`:               true,
		`{"event":"entry.publish",` + deal + `,"entry":{"documentId":"a","locale":["en"]}}`: true,
		`{"event":"entry.publish","model":"pipeline-deal","entry":null}`:                    true,
		`{"event":"entry.publish","uid":7,"entry":{"documentId":"a"}}`:                      true,
		`{"event":"entry.publish","entry":{"documentId":"a"}}`:                              true,
		`{"event":"entry.publish","model":"page","uid":"api::page.page","entry":null}`:      false,
		`{"event":"entry.publish","model":"page","entry":null}`:                             false,
		`{"event":"entry.draft-discard",` + deal + `,"entry":null}`:                         false,
		`{"event":"entry.publish",` + deal + `,"entry":`:                                    false,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			in := classify(Delivery{Body: []byte(body)}, newTypes())
			require.Equal(t, compares, in.unnamed)
			require.Equal(t, compares || !json.Valid([]byte(body)), in.action == ActionQuarantined)
		})
	}

	h := newEnv(t)
	for i := range 3 {
		require.Equal(t, ActionQuarantined, h.receive(fmt.Sprint("msg_", i), `{"event":"entry.publish",`+deal+`,"entry":null}`).Action)
	}
	h.receive("msg_3", `{"event":"entry.update",`+deal+`,"entry":{"id":1}}`)
	runs := func() []string {
		return h.MustTexts("SELECT concat_ws(' ', kind, trigger, status, types::text) FROM reconciliation_run")
	}
	require.Equal(t, []string{"full after_quarantine waiting {api::pipeline-deal.pipeline-deal}"}, runs(), "of its type alone, and one for all that wait")
	require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM river.river_job WHERE kind = 'reconcile'"))
	require.Equal(t, []string{"body_quarantined: no document is named: pipeline-deals 4"}, h.MustTexts("SELECT rule || ': ' || subject || ' ' || occurrences FROM alert"))
	require.EqualValues(t, 4, h.ledger().Quarantined)

	h.receive("msg_4", `{"event":"entry.publish","entry":null}`)
	require.Equal(t, []string{"full after_quarantine waiting"}, runs(), "where the type is not known either, of all")
	require.Equal(t, "no document is named", h.MustText("SELECT subject FROM alert ORDER BY id DESC LIMIT 1"))
}

// One bad row must not take its group with it.
func TestReceiver_BadRowIsSetAside(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	group := []incoming{
		classify(Delivery{Scheme: webhooksig.SchemeStandard, ID: "msg_good", Body: []byte(update("good"))}, h.receiver.types),
		classify(Delivery{Scheme: webhooksig.SchemeStandard, ID: "msg_bad", Body: []byte(update("bad"))}, h.receiver.types),
	}
	group[1].env.DocumentID = "a\x00b" // what the envelope parser refuses, Postgres refuses as well
	results := h.receiver.commit(t.Context(), 0, group)
	require.NoError(t, results[0].Err)
	require.NoError(t, results[1].Err)
	require.Equal(t, ActionRecompute, results[0].Value.Action)
	require.Equal(t, ActionQuarantined, results[1].Value.Action)
	require.Contains(t, h.MustText("SELECT quarantine_reason FROM inbox_event WHERE quarantine_reason IS NOT NULL"), "SQLSTATE 22021")
	require.Equal(t, "after_quarantine", h.MustText("SELECT trigger FROM reconciliation_run"), "its document is refreshed all the same")
	h.ledger()
}

// 300 callers, with duplicates, on few documents: everything is stored once,
// every number is exact, and there is no deadlock.
func TestReceiver_ManyCallersStoreEachEventOnce(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	var wg sync.WaitGroup
	receipts := make([]Receipt, 300)
	errs := make([]error, len(receipts))
	for i := range receipts {
		wg.Go(func() {
			receipts[i], errs[i] = h.receiver.Receive(t.Context(), Delivery{
				Scheme: webhooksig.SchemeStandard, ID: fmt.Sprintf("msg_%d", i%200), Body: []byte(update(fmt.Sprintf("doc%d", i%7))),
			})
		})
	}
	wg.Wait()
	ids := map[uuid.UUID]bool{}
	duplicates := 0
	for i := range receipts {
		require.NoError(t, errs[i])
		ids[receipts[i].EventID] = true
		if receipts[i].Duplicate {
			duplicates++
		}
	}
	require.Len(t, ids, 200)
	require.Equal(t, 100, duplicates)
	l := h.ledger()
	require.EqualValues(t, 200, l.Received)
	require.Equal(t, "200 7", h.MustText("SELECT sum(events) || ' ' || count(*) FROM entity_sync"))
	require.Equal(t, "0", h.MustText(`SELECT count(*)::text FROM entity_sync e WHERE NOT EXISTS (
		SELECT FROM river.river_job j WHERE j.args->>'document_id' = e.document_id AND (j.args->>'seq')::bigint = e.want_seq)`),
		"the newest look of each document has its job")
}

func TestReceiver_MissingPartitionIsNobodysFault(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	_, err := h.Pool.Exec(t.Context(), "DROP TABLE inbox_event_"+h.MustText("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')"))
	require.NoError(t, err)
	_, err = h.receiver.Receive(t.Context(), Delivery{Scheme: webhooksig.SchemeStandard, ID: "msg_1", Body: []byte(update("abc"))})
	require.ErrorContains(t, err, "23514")
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM entity_sync"), "nothing is half done")

	require.NoError(t, MakePartitions(t.Context(), h.Pool))
	h.receive("msg_1", update("abc"))
}

// Strapi does not send a refused webhook again, so Dealbox requests a full reconciliation.
func TestReceiver_AfterRefusal(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	exec := func(sql string) {
		_, err := h.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	h.receive("msg_0", update("abc"))
	require.Equal(t, "0", h.MustText("SELECT count(*)::text FROM reconciliation_run"))

	exec("ALTER TABLE inbox_event RENAME TO inbox_event_away")
	_, err := h.receiver.Receive(t.Context(), Delivery{Scheme: webhooksig.SchemeStandard, ID: "msg_1", Body: []byte(update("abc"))})
	require.Error(t, err)
	exec("ALTER TABLE inbox_event_away RENAME TO inbox_event")

	h.receive("msg_2", update("abc"))
	h.receive("msg_3", update("abc"))
	require.Equal(t, "full after_refusal waiting", h.MustText("SELECT string_agg(concat_ws(' ', kind, trigger, status), ',') FROM reconciliation_run"))
	require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM river.river_job WHERE kind = 'reconcile'"), "once")
}

// Writers that commit at the same time do not make the same refusals good twice.
func TestReceiver_AfterRefusal_ManyWriters(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.receiver.refused.Store(5)
	// Whoever makes something good waits for this, with what it has read of the counter.
	gate, err := h.Pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = gate.Rollback(context.Background()) }()
	_, err = gate.Exec(t.Context(), "LOCK TABLE reconciliation_run")
	require.NoError(t, err)
	const writers = 3
	var committed atomic.Int32
	var wg sync.WaitGroup
	for writer := range writers {
		wg.Go(func() {
			f := classify(Delivery{Scheme: webhooksig.SchemeStandard, ID: fmt.Sprintf("msg_%d", writer), Body: []byte(update(fmt.Sprintf("doc%d", writer)))}, h.receiver.types)
			if err := h.receiver.commit(context.Background(), writer, []incoming{f})[0].Err; err != nil {
				t.Error(err)
			}
			committed.Add(1)
		})
	}
	require.Eventually(t, func() bool {
		var waiting int32
		err := gate.QueryRow(t.Context(), `SELECT count(*) FROM pg_locks WHERE relation = 'reconciliation_run'::regclass AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting)
		return err == nil && waiting > 0 && committed.Load()+waiting == writers
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, gate.Rollback(t.Context()))
	wg.Wait()

	require.Zero(t, h.receiver.refused.Load())
	require.Equal(t, "1 5", h.MustText("SELECT string_agg(occurrences || ' ' || (details->>'refused'), ',') FROM alert WHERE rule = 'webhooks_refused'"))
}

// A refusal whose recovery failed is not forgotten, however it failed.
func TestReceiver_AfterRefusal_RecoveryFails(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.receiver.refused.Store(5)
	f := classify(Delivery{Scheme: webhooksig.SchemeStandard, ID: "msg_1", Body: []byte(update("abc"))}, h.receiver.types)

	pool := h.receiver.pool
	h.receiver.pool = lostAnswer{pool}
	_, err := h.receiver.store(t.Context(), 0, []incoming{f})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.EqualValues(t, 5, h.receiver.refused.Load(), "nobody knows whether it was committed")

	h.receiver.pool = nil
	require.Panics(t, func() { _, _ = h.receiver.store(t.Context(), 0, []incoming{f}) })
	require.EqualValues(t, 5, h.receiver.refused.Load())

	h.receiver.pool = pool
	_, err = h.receiver.store(t.Context(), 0, []incoming{f})
	require.NoError(t, err)
	require.Zero(t, h.receiver.refused.Load())
}

// lostAnswer loses the answer to each commit.
type lostAnswer struct{ store }

func (s lostAnswer) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := s.store.Begin(ctx)
	return lostAnswerTx{tx}, err
}

type lostAnswerTx struct{ pgx.Tx }

func (tx lostAnswerTx) Commit(ctx context.Context) error {
	if err := tx.Tx.Commit(ctx); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

func TestIsBadRow(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]bool{
		"22021": true,  // a NUL in a text
		"23505": true,  // a constraint
		"54000": true,  // a key too long for its index
		"23514": false, // no partition: every row would be refused
		"40P01": false, // a deadlock
		"57P01": false, // Postgres is being stopped
	} {
		require.Equal(t, want, pgerr.IsBadRow(fmt.Errorf("insert: %w", &pgconn.PgError{Code: code})), code)
	}
	require.False(t, pgerr.IsBadRow(context.DeadlineExceeded))
}
