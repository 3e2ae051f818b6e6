package simulation

import (
	"bytes"
	"cmp"
	"encoding/json"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
)

// The statements of entity_sync, deal, billing, mirror_change and inbox_event.

type entity struct {
	Want, Done, Version, Events, EventsDone int64
	State                                   string
	Failures                                int32
	LastError                               *string
	AttemptExpires, NextAttempt, HeldBack   *time.Time
	PendingSince, DeadAt                    *time.Time
}

type deal struct {
	dbsqlc.DealUpsertParams

	DeletedAt *time.Time
	json      []byte // to_jsonb of the row
}

type billing struct {
	dbsqlc.BillingUpsertParams

	DeletedAt *time.Time
	json      []byte
}

type change struct {
	dbsqlc.MirrorChangeInsertParams

	At time.Time
}

type event struct {
	Key        mirror.Key
	Event      string
	Seq        int64 // 0: ignored or quarantined
	Quarantine string
	At         time.Time
	DedupKey   []byte
	ID         [16]byte
}

type counter struct{ Received, Ignored, Quarantined int64 }

func byKey(a, b mirror.Key) int {
	return cmp.Or(strings.Compare(a.UID, b.UID), strings.Compare(a.DocumentID, b.DocumentID), strings.Compare(a.Locale, b.Locale))
}

func after(d float64) *time.Time {
	at := time.Now().Add(time.Duration(d * float64(time.Second)))
	return &at
}

func now() *time.Time { return after(0) }

// past says that the time is not null and has come.
func past(t *time.Time) bool { return t != nil && !t.After(time.Now()) }

// keyed pairs the columns of an unnest, in key order.
func keyed(uids, ids, locales []string) []mirror.Key {
	keys := make([]mirror.Key, len(uids))
	for i := range uids {
		keys[i] = mirror.Key{UID: uids[i], DocumentID: ids[i], Locale: locales[i]}
	}
	return keys
}

func (tx *memoryTx) lockEntities(keys []mirror.Key) {
	for _, key := range slices.SortedFunc(slices.Values(keys), byKey) {
		tx.db.entities.lock(tx, key)
	}
}

func entityBump(tx *memoryTx, p dbsqlc.EntityBumpParams) (rows []dbsqlc.EntityBumpRow) {
	keys := keyed(p.Uids, p.DocumentIds, p.Locales)
	tx.lockEntities(keys)
	for i, key := range keys {
		e, _ := tx.db.entities.get(tx, key)
		e.Want++
		e.Events += p.Events[i]
		switch {
		case e.State == "dead":
			e.Failures, e.NextAttempt = 0, nil
		case e.NextAttempt != nil && e.NextAttempt.After(*after(10)):
			e.NextAttempt = after(10)
		}
		if e.State != "pending" {
			e.PendingSince = now()
		}
		e.State, e.DeadAt = "pending", nil
		tx.db.entities.put(tx, key, e)
		rows = append(rows, dbsqlc.EntityBumpRow{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, WantSeq: e.Want})
	}
	slices.SortFunc(rows, func(a, b dbsqlc.EntityBumpRow) int {
		return byKey(mirror.Key{UID: a.UID, DocumentID: a.DocumentID, Locale: a.Locale}, mirror.Key{UID: b.UID, DocumentID: b.DocumentID, Locale: b.Locale})
	})
	return rows
}

func entityUncount(tx *memoryTx, p dbsqlc.EntityUncountParams) int64 {
	for i, key := range keyed(p.Uids, p.DocumentIds, p.Locales) {
		tx.db.entities.update(tx, key, always, func(e *entity) { e.Events -= p.Events[i] })
	}
	return 0
}

func entityLock(tx *memoryTx, p dbsqlc.EntityLockParams) int64 {
	keys := keyed(p.Uids, p.DocumentIds, p.Locales)
	tx.lockEntities(keys)
	for _, key := range keys {
		if _, ok := tx.db.entities.get(tx, key); !ok {
			tx.db.entities.put(tx, key, entity{State: "ok"})
		}
	}
	return 0
}

func entityBegin(tx *memoryTx, p dbsqlc.EntityBeginParams) (r dbsqlc.EntityBeginRow, ok bool) {
	key := mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale}
	e, ok := tx.db.entities.get(tx, key)
	if !ok {
		return r, false
	}
	b, _ := tx.db.breakers.get(tx, "strapi")
	before := e
	begun := e.Done < p.Seq && e.State != "dead" && b.State == "closed" && !p.Paused && (e.NextAttempt == nil || past(e.NextAttempt))
	if begun {
		if e.AttemptExpires == nil || past(e.AttemptExpires) {
			e.Failures++
		}
		e.AttemptExpires = after(p.AttemptSeconds)
		tx.db.entities.put(tx, key, e)
	}
	return dbsqlc.EntityBeginRow{
		WantSeq: e.Want, Events: e.Events, Version: e.Version, Failures: e.Failures, Begun: begun,
		DoneSeq: before.Done, State: before.State, LastError: before.LastError, NextAttemptAt: before.NextAttempt, BegunAt: time.Now(),
		BreakerState: b.State, BreakerRetryAt: b.RetryAt, BreakerFailureCount: b.FailureCount, BreakerGeneration: b.Generation,
	}, true
}

func entityDone(tx *memoryTx, p dbsqlc.EntityDoneParams) int64 {
	return writeDone(tx, p, func(e entity) bool { return e.Version == p.Version })
}

func writeDone(tx *memoryTx, p dbsqlc.EntityDoneParams, fits func(entity) bool) int64 {
	key := mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale}
	_, ok := tx.db.entities.update(tx, key, fits, func(e *entity) {
		e.Version++
		e.Done, e.EventsDone = max(e.Done, p.WantSeq), max(e.EventsDone, p.Events)
		e.State, e.PendingSince = "ok", nil
		if e.Want > e.Done {
			begun := p.BegunAt
			e.State, e.PendingSince = "pending", &begun
		}
		e.Failures, e.LastError, e.AttemptExpires, e.NextAttempt, e.DeadAt, e.HeldBack = 0, nil, nil, nil, nil, nil
	})
	return count(ok)
}

func count(ok bool) int64 {
	if ok {
		return 1
	}
	return 0
}

func entityFailed(tx *memoryTx, p dbsqlc.EntityFailedParams) (dbsqlc.EntityFailedRow, bool) {
	key := mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale}
	e, ok := tx.db.entities.update(tx, key,
		func(e entity) bool { return e.Version == p.Version && e.Done < e.Want && e.State != "dead" },
		func(e *entity) {
			e.LastError, e.AttemptExpires, e.NextAttempt, e.DeadAt, e.HeldBack = p.LastError, nil, after(p.DelaySeconds), nil, nil
			if e.Want > p.WantSeq {
				e.NextAttempt, e.Failures = after(min(p.DelaySeconds, 10)), min(e.Failures, p.MaxFailures-1)
			}
			if e.Failures >= p.MaxFailures && e.Want == p.WantSeq {
				e.State, e.DeadAt = "dead", now()
			}
		})
	return dbsqlc.EntityFailedRow{WantSeq: e.Want, Failures: e.Failures, State: e.State, OpenEvents: int32(e.Events - e.EventsDone)}, ok
}

func entityCancelAttempt(tx *memoryTx, p dbsqlc.EntityCancelAttemptParams) int64 {
	key := mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale}
	_, ok := tx.db.entities.update(tx, key,
		func(e entity) bool { return e.Version == p.Version && e.AttemptExpires != nil },
		func(e *entity) { e.Failures, e.AttemptExpires = max(e.Failures-1, 0), nil })
	return count(ok)
}

func entityHoldBack(tx *memoryTx, p dbsqlc.EntityHoldBackParams) int64 {
	key := mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale}
	_, ok := tx.db.entities.update(tx, key,
		func(e entity) bool { return e.Version == p.Version && e.Done < e.Want },
		func(e *entity) {
			e.Failures, e.AttemptExpires, e.LastError, e.NextAttempt = max(e.Failures-1, 0), nil, &p.LastError, after(p.WaitSeconds)
			if e.HeldBack == nil {
				e.HeldBack = now()
			}
		})
	return count(ok)
}

func entityRetryHeldBack(tx *memoryTx, uid string) int64 {
	for key, e := range tx.db.entities.each(tx, byKey) {
		if key.UID == uid && e.Done < e.Want && e.State == "pending" && e.HeldBack != nil {
			e.NextAttempt = nil
			tx.db.entities.put(tx, key, e)
		}
	}
	return 0
}

func entityDead(tx *memoryTx, p dbsqlc.EntityDeadParams) (rows []dbsqlc.EntityDeadRow) {
	for key, e := range tx.db.entities.each(tx, byKey) {
		if key.UID == p.UID && e.State == "dead" && slices.Contains(p.DocumentIds, key.DocumentID) {
			rows = append(rows, dbsqlc.EntityDeadRow{DocumentID: key.DocumentID, Locale: key.Locale, DeadAt: e.DeadAt})
		}
	}
	return rows
}

func entityOrphans(tx *memoryTx, _ none) (rows []dbsqlc.EntityOrphansRow) {
	for key, e := range tx.db.entities.each(tx, byKey) {
		if e.Done < e.Want && e.State == "pending" && e.PendingSince.Before(*after(-120)) && !tx.hasJob(key, e.Want) {
			rows = append(rows, dbsqlc.EntityOrphansRow{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, WantSeq: e.Want})
		}
	}
	slices.SortStableFunc(rows, func(a, b dbsqlc.EntityOrphansRow) int {
		x, _ := tx.db.entities.get(tx, mirror.Key{UID: a.UID, DocumentID: a.DocumentID, Locale: a.Locale})
		y, _ := tx.db.entities.get(tx, mirror.Key{UID: b.UID, DocumentID: b.DocumentID, Locale: b.Locale})
		return x.PendingSince.Compare(*y.PendingSince)
	})
	return rows
}

func (tx *memoryTx) hasJob(key mirror.Key, seq int64) bool {
	args := mirror.SyncArgs{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Seq: seq}
	for _, j := range serial(&tx.db.jobs, tx) {
		if j.live() && j.Args == args {
			return true
		}
	}
	return false
}

// encode is to_jsonb: what the mirror reads of it has the names of the columns.
func encode(columns map[string]any) []byte {
	b, _ := json.Marshal(columns)
	return b
}

// mirrored is a row that a sync writes.
type mirrored interface{ encoded() []byte }

func (d deal) encoded() []byte    { return d.json }
func (b billing) encoded() []byte { return b.json }

func newDeal(p dbsqlc.DealUpsertParams, deletedAt *time.Time) deal {
	return deal{p, deletedAt, encode(map[string]any{"row": p, "published_at": p.PublishedAt, "deleted_at": deletedAt})}
}

func newBilling(p dbsqlc.BillingUpsertParams, deletedAt *time.Time) billing {
	return billing{p, deletedAt, encode(map[string]any{
		"row": p, "published_at": p.PublishedAt, "deleted_at": deletedAt, "deal_uid": p.DealUID, "deal_document_id": p.DealDocumentID,
	})}
}

func before[R mirrored](t func(*memory) *table[mirror.Key, R]) statement {
	return one(func(tx *memoryTx, key mirror.Key) ([]byte, bool) {
		row, ok := t(tx.db).get(tx, key)
		return row.encoded(), ok
	})
}

func upsert[R mirrored](tx *memoryTx, t *table[mirror.Key, R], key mirror.Key, row R) ([]byte, bool) {
	t.lock(tx, key)
	if old, ok := t.get(tx, key); ok && bytes.Equal(old.encoded(), row.encoded()) {
		return nil, false
	}
	t.put(tx, key, row)
	return row.encoded(), true
}

func dealName(tx *memoryTx, key mirror.Key) (string, bool) {
	d, _ := tx.db.deals.get(tx, key)
	if d.Name == nil {
		return "", true
	}
	return *d.Name, true
}

func dealUpsert(tx *memoryTx, p dbsqlc.DealUpsertParams) ([]byte, bool) {
	return upsert(tx, &tx.db.deals, mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale}, newDeal(p, nil))
}

func billingUpsert(tx *memoryTx, p dbsqlc.BillingUpsertParams) ([]byte, bool) {
	return upsert(tx, &tx.db.billings, mirror.Key{UID: p.UID, DocumentID: p.DocumentID, Locale: p.Locale}, newBilling(p, nil))
}

func dealTombstone(tx *memoryTx, key mirror.Key) ([]byte, bool) {
	row, ok := tx.db.deals.update(tx, key, func(d deal) bool { return d.DeletedAt == nil }, func(d *deal) { *d = newDeal(d.DealUpsertParams, now()) })
	return row.encoded(), ok
}

func billingTombstone(tx *memoryTx, key mirror.Key) ([]byte, bool) {
	row, ok := tx.db.billings.update(tx, key, func(b billing) bool { return b.DeletedAt == nil }, func(b *billing) { *b = newBilling(b.BillingUpsertParams, now()) })
	return row.encoded(), ok
}

func entityOfDocument(tx *memoryTx, p dbsqlc.EntityOfDocumentParams) (locales []struct{ Locale string }) {
	for key := range tx.db.entities.each(tx, byKey) {
		if key.UID == p.UID && key.DocumentID == p.DocumentID {
			locales = append(locales, struct{ Locale string }{key.Locale})
		}
	}
	return locales
}

func billingOfDeal(tx *memoryTx, p dbsqlc.BillingOfDealParams) (rows []dbsqlc.BillingOfDealRow) {
	for key, b := range tx.db.billings.each(tx, byKey) {
		if b.DeletedAt == nil && b.DealDocumentID != nil && *b.DealDocumentID == *p.DealDocumentID && *b.DealUID == *p.DealUID {
			rows = append(rows, dbsqlc.BillingOfDealRow{UID: key.UID, DocumentID: key.DocumentID, Locale: key.Locale, Published: b.PublishedAt != nil})
		}
	}
	return rows
}

func billingLocales(tx *memoryTx, p dbsqlc.BillingLocalesParams) (rows []dbsqlc.BillingLocalesRow) {
	for key := range tx.db.billings.each(tx, byKey) {
		if key.UID == p.UID && slices.Contains(p.DocumentIds, key.DocumentID) {
			rows = append(rows, dbsqlc.BillingLocalesRow(key))
		}
	}
	return rows
}

func mirrorChangeInsert(tx *memoryTx, p dbsqlc.MirrorChangeInsertParams) int64 {
	tx.db.changes.put(tx, tx.db.next(), change{p, time.Now()})
	return 1
}

func inboxEventInsert(tx *memoryTx, p dbsqlc.InboxEventInsertParams) (stored []uuid.UUID) {
	day := time.Now().UTC().Format(time.DateOnly)
	for i := range p.Ids {
		tx.db.events.lock(tx, day+string(p.DedupKeys[i]))
	}
	tx.db.counters.lock(tx, p.Slot)
	c, _ := tx.db.counters.get(tx, p.Slot)
	for i, id := range p.Ids {
		if _, ok := tx.db.events.get(tx, day+string(p.DedupKeys[i])); ok {
			continue
		}
		tx.db.events.put(tx, day+string(p.DedupKeys[i]), event{
			Key: mirror.Key{UID: p.Uids[i], DocumentID: p.DocumentIds[i], Locale: p.Locales[i]}, Event: p.Events[i],
			Seq: p.Seqs[i], Quarantine: p.QuarantineReasons[i], At: time.Now(), DedupKey: p.DedupKeys[i], ID: id,
		})
		c.Received++
		c.Ignored += count(p.Seqs[i] == 0 && p.QuarantineReasons[i] == "")
		c.Quarantined += count(p.QuarantineReasons[i] != "")
		stored = append(stored, id)
	}
	if len(stored) > 0 {
		tx.db.counters.put(tx, p.Slot, c)
	}
	return stored
}

func inboxEventOriginals(tx *memoryTx, dedupKeys [][]byte) (rows []dbsqlc.InboxEventOriginalsRow) {
	day := time.Now().UTC().Format(time.DateOnly)
	for _, key := range dedupKeys {
		if e, ok := tx.db.events.get(tx, day+string(key)); ok {
			rows = append(rows, dbsqlc.InboxEventOriginalsRow{DedupKey: key, ID: e.ID})
		}
	}
	return rows
}

// processed are the stored events of a document.
func (tx *memoryTx) eventsOf(key mirror.Key) iter.Seq[event] {
	return func(yield func(event) bool) {
		for _, e := range tx.db.events.each(tx, strings.Compare) {
			if e.Seq > 0 && e.Key == key && !yield(e) {
				return
			}
		}
	}
}
