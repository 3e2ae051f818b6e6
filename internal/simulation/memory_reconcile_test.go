package simulation

import (
	"math"
	"slices"
	"strings"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/mirror"
)

// The statements of reconciliation.sql.

type run = dbsqlc.ReconciliationRun

type guard struct {
	TrippedAt, AllowUntil *time.Time
	AllowedBy             *string
}

type difference struct {
	RunID    int64
	Key      mirror.Key
	Kind     string
	FoundAt  time.Time
	Enqueued bool
	Lost     *bool
}

// waitingRun stands for the unique index on runs of a kind that wait.
type waitingRun string

func reconciliationRequest(tx *memoryTx, p dbsqlc.ReconciliationRequestParams) (int64, bool) {
	tx.lock(waitingRun(p.Kind))
	for id, r := range serial(&tx.db.runs, tx) {
		if r.Kind == p.Kind && r.Status == "waiting" {
			r.AllowDeletes = r.AllowDeletes || p.AllowDeletes
			tx.db.runs.put(tx, id, r)
			return id, true
		}
	}
	id := tx.db.next()
	tx.db.runs.put(tx, id, run{
		ID: id, Kind: p.Kind, Trigger: p.Trigger, Actor: p.Actor, AllowDeletes: p.AllowDeletes, Status: "waiting", RequestedAt: time.Now(),
	})
	return id, true
}

func reconciliationAges(tx *memoryTx, _ none) (dbsqlc.ReconciliationAgesRow, bool) {
	f := dbsqlc.ReconciliationAgesRow{TryAge: math.Inf(1), FullAge: math.Inf(1)}
	for _, r := range serial(&tx.db.runs, tx) {
		if r.FinishedAt == nil {
			f.HasOpen = true
			continue
		}
		age := time.Since(*r.FinishedAt).Seconds()
		f.TryAge = min(f.TryAge, age)
		if r.Kind == "full" && r.Status == "done" {
			f.FullAge = min(f.FullAge, age)
		}
	}
	return f, true
}

func reconciliationClaim(tx *memoryTx, p dbsqlc.ReconciliationClaimParams) (none run, _ bool) {
	id, ok := tx.nextRun()
	r, _ := tx.db.runs.get(tx, id)
	if !ok || r.Status == "running" && !r.LeaseUntil.Before(time.Now()) {
		return none, false
	}
	if r.StartedAt == nil {
		r.StartedAt = now()
		r.Baseline = tx.lastRun(func(b run) bool { return b.Kind == "full" && b.Status == "done" }) != nil
		if r.Kind == "delta" {
			r.Since = tx.since(time.Duration(p.OverlapSeconds * float64(time.Second)))
		}
	}
	r.Status, r.Holder, r.LeaseUntil = "running", &p.Holder, after(p.LeaseSeconds)
	r.Generation++
	tx.db.runs.put(tx, id, r)
	return r, true
}

func (tx *memoryTx) nextRun() (best int64, ok bool) {
	var b run
	for id, r := range serial(&tx.db.runs, tx) {
		if r.FinishedAt != nil {
			continue
		}
		if !ok || r.Status == "running" && b.Status != "running" || r.Status == b.Status && r.Kind == "full" && b.Kind != "full" {
			best, b, ok = id, r, true
		}
	}
	return best, ok
}

// since is from when on a delta lists; nil: from the beginning.
func (tx *memoryTx) since(overlap time.Duration) (last *time.Time) {
	for _, r := range serial(&tx.db.runs, tx) {
		if r.Status != "done" || r.AnsweredAt == nil {
			continue
		}
		began := *r.AnsweredAt
		if r.StartedAt.Before(began) {
			began = *r.StartedAt
		}
		if began = began.Add(-overlap); last == nil || began.After(*last) {
			last = &began
		}
	}
	return last
}

// lastRun is the one whose answer came last.
func (tx *memoryTx) lastRun(fits func(run) bool) (last *run) {
	for _, r := range serial(&tx.db.runs, tx) {
		if fits(r) && (last == nil || r.AnsweredAt != nil && last.AnsweredAt != nil && r.AnsweredAt.After(*last.AnsweredAt)) {
			last = &r
		}
	}
	return last
}

func (tx *memoryTx) updateRun(id, generation int64, change func(*run)) int64 {
	_, ok := tx.db.runs.update(tx, id, func(r run) bool { return r.Status == "running" && r.Generation == generation }, change)
	return count(ok)
}

func reconciliationAdvance(tx *memoryTx, p dbsqlc.ReconciliationAdvanceParams) int64 {
	return tx.updateRun(p.ID, p.Generation, func(r *run) {
		r.Stage, r.Cursor, r.LeaseUntil = p.Stage, p.Cursor, after(p.LeaseSeconds)
		if r.AnsweredAt == nil {
			r.AnsweredAt = p.AnsweredAt
		}
		r.Expected += p.Expected
		r.Listed += p.Listed
		r.Missing += p.Missing
		r.Stale += p.Stale
		r.Ghosts += p.Ghosts
		r.Held += p.Held
		r.Enqueued += p.Enqueued
	})
}

func reconciliationEndLease(tx *memoryTx, p dbsqlc.ReconciliationEndLeaseParams) int64 {
	return tx.updateRun(p.ID, p.Generation, func(r *run) { r.LeaseUntil = after(-0.001) })
}

func reconciliationFinish(tx *memoryTx, p dbsqlc.ReconciliationFinishParams) int64 {
	return tx.updateRun(p.ID, p.Generation, func(r *run) { r.Status, r.Error, r.FinishedAt = p.Status, p.Error, now() })
}

// lostUnlessPending is null, for later, unless the document's sync is pending.
func (tx *memoryTx) lostUnlessPending(key mirror.Key) *bool {
	if e, ok := tx.db.entities.get(tx, key); ok && e.Done < e.Want {
		return new(bool)
	}
	return nil
}

func reconciliationDifferenceInsert(tx *memoryTx, p dbsqlc.ReconciliationDifferenceInsertParams) int64 {
	for i, key := range keyed(p.Uids, p.DocumentIds, p.Locales) {
		tx.db.differences.put(tx, tx.db.next(), difference{
			RunID: p.RunID, Key: key, Kind: p.Kinds[i], FoundAt: time.Now(), Enqueued: true, Lost: tx.lostUnlessPending(key),
		})
	}
	return int64(len(p.Uids))
}

func reconciliationGhostInsert(tx *memoryTx, p dbsqlc.ReconciliationGhostInsertParams) (n int64) {
	listed := func(key mirror.Key) bool {
		for i, id := range p.Listed {
			locale := p.ListedLocales[i]
			if id == key.DocumentID && (locale == key.Locale || (locale == "") != (key.Locale == "")) {
				return true
			}
		}
		return false
	}
	since := tx.lastStep(p.RunID, p.LeaseSeconds)
	add := func(key mirror.Key, deletedAt *time.Time) {
		if key.UID != p.UID || deletedAt != nil || key.DocumentID <= p.After || key.DocumentID > p.Upto || listed(key) || tx.broughtAfter(since, key) {
			return
		}
		lost := tx.lostUnlessPending(key)
		if !p.Baseline {
			lost = new(bool)
		}
		tx.db.differences.put(tx, tx.db.next(), difference{RunID: p.RunID, Key: key, Kind: "ghost", FoundAt: time.Now(), Lost: lost})
		n++
	}
	for key, d := range tx.db.deals.each(tx, byKey) {
		add(key, d.DeletedAt)
	}
	for key, b := range tx.db.billings.each(tx, byKey) {
		add(key, b.DeletedAt)
	}
	return n
}

// lastStep is when the step before this one of the run ended.
func (tx *memoryTx) lastStep(id int64, leaseSeconds float64) time.Time {
	r, _ := tx.db.runs.get(tx, id)
	return r.LeaseUntil.Add(-time.Duration(leaseSeconds * float64(time.Second)))
}

// broughtAfter tells whether a sync brought the document after the time.
func (tx *memoryTx) broughtAfter(since time.Time, key mirror.Key) bool {
	for _, c := range serial(&tx.db.changes, tx) {
		if (mirror.Key{UID: c.UID, DocumentID: c.DocumentID, Locale: c.Locale}) == key && (c.Kind == "created" || c.Kind == "revived") && c.At.After(since) {
			return true
		}
	}
	return false
}

func reconciliationGhostCount(tx *memoryTx, p dbsqlc.ReconciliationGhostCountParams) (r dbsqlc.ReconciliationGhostCountRow, _ bool) {
	r.Examples = []string{}
	for _, d := range serial(&tx.db.differences, tx) {
		if d.RunID != p.RunID || d.Key.UID != p.UID || d.Kind != "ghost" {
			continue
		}
		if len(r.Examples) < 5 {
			r.Examples = append(r.Examples, d.Key.DocumentID)
		}
		r.Begun = r.Begun || d.Enqueued
		if !d.Enqueued {
			r.Waiting++
			r.Unverified += count(!tx.signed(d.Key, math.MaxInt64))
		}
	}
	return r, true
}

// signed says that a verified entry.delete up to seq names the document.
func (tx *memoryTx) signed(key mirror.Key, seq int64) bool {
	for e := range tx.eventsOf(key) {
		if e.Event == "entry.delete" && e.Seq <= seq {
			return true
		}
	}
	return false
}

func reconciliationGhostTake(tx *memoryTx, p dbsqlc.ReconciliationGhostTakeParams) (rows []dbsqlc.ReconciliationGhostTakeRow) {
	for id, d := range serial(&tx.db.differences, tx) {
		if d.RunID == p.RunID && d.Key.UID == p.UID && d.Kind == "ghost" && !d.Enqueued && len(rows) < int(p.MaxRows) {
			d.Enqueued = true
			tx.db.differences.put(tx, id, d)
			rows = append(rows, dbsqlc.ReconciliationGhostTakeRow{DocumentID: d.Key.DocumentID, Locale: d.Key.Locale})
		}
	}
	return rows
}

// reconciliationDecideLost counts events of the key; no simulated type has locales.
func reconciliationDecideLost(tx *memoryTx, _ none) (rows []dbsqlc.ReconciliationDecideLostRow) {
	for id, d := range serial(&tx.db.differences, tx) {
		if d.Lost != nil || !d.FoundAt.Before(*after(-60)) {
			continue
		}
		lost := true
		for e := range tx.eventsOf(d.Key) {
			lost = lost && !e.At.After(d.FoundAt.Add(-90*time.Second))
		}
		d.Lost = &lost
		tx.db.differences.put(tx, id, d)
		if !lost {
			continue
		}
		tx.db.runs.update(tx, d.RunID, always, func(r *run) { r.LostWebhooks++ })
		rows = append(rows, dbsqlc.ReconciliationDecideLostRow{UID: d.Key.UID, DocumentID: d.Key.DocumentID})
	}
	slices.SortFunc(rows, func(a, b dbsqlc.ReconciliationDecideLostRow) int {
		return strings.Compare(a.UID+"/"+a.DocumentID, b.UID+"/"+b.DocumentID)
	})
	return rows
}

func reconciliationLostSinceFull(tx *memoryTx, _ none) (int64, bool) {
	full := tx.lastRun(func(r run) bool {
		return r.Kind == "full" && r.Status == "done" && r.FinishedAt.Before(*after(-60))
	})
	if full == nil {
		return -1, true
	}
	var lost int64
	for _, d := range serial(&tx.db.differences, tx) {
		if d.RunID == full.ID && d.Lost == nil {
			return -1, true
		}
		lost += count(d.Lost != nil && *d.Lost && !d.FoundAt.Before(*full.StartedAt))
	}
	return lost, true
}

func reconciliationDeals(tx *memoryTx, p dbsqlc.ReconciliationDealsParams) (rows []dbsqlc.ReconciliationDealsRow) {
	for key, d := range tx.db.deals.each(tx, byKey) {
		if key.UID == p.UID && d.DeletedAt == nil && slices.Contains(p.DocumentIds, key.DocumentID) {
			rows = append(rows, dbsqlc.ReconciliationDealsRow(d.DealUpsertParams))
		}
	}
	return rows
}

func reconciliationBillings(tx *memoryTx, p dbsqlc.ReconciliationBillingsParams) (rows []dbsqlc.ReconciliationBillingsRow) {
	for key, b := range tx.db.billings.each(tx, byKey) {
		if key.UID == p.UID && b.DeletedAt == nil && slices.Contains(p.DocumentIds, key.DocumentID) {
			rows = append(rows, dbsqlc.ReconciliationBillingsRow(b.BillingUpsertParams))
		}
	}
	return rows
}

func guardLock(tx *memoryTx, uid string) (dbsqlc.GuardLockRow, bool) {
	tx.db.guards.lock(tx, uid)
	g, _ := tx.db.guards.get(tx, uid)
	tx.db.guards.put(tx, uid, g)
	return dbsqlc.GuardLockRow{Tripped: g.TrippedAt != nil, Allowed: g.AllowUntil != nil && !past(g.AllowUntil)}, true
}

func guardCount(tx *memoryTx, uid string) (r dbsqlc.GuardCountRow, _ bool) {
	for _, c := range serial(&tx.db.changes, tx) {
		r.Counted += count(c.UID == uid && c.Counted && c.At.After(*after(-3600)))
	}
	for key, d := range tx.db.deals.each(tx, byKey) {
		r.Live += count(key.UID == uid && d.DeletedAt == nil)
	}
	for key, b := range tx.db.billings.each(tx, byKey) {
		r.Live += count(key.UID == uid && b.DeletedAt == nil)
	}
	return r, true
}

func guardVerified(tx *memoryTx, p dbsqlc.GuardVerifiedParams) (bool, bool) {
	return tx.signed(mirror.Key{UID: *p.UID, DocumentID: *p.DocumentID, Locale: *p.Locale}, *p.WantSeq), true
}

func guardTrip(tx *memoryTx, uid string) int64 {
	tx.db.guards.lock(tx, uid)
	g, _ := tx.db.guards.get(tx, uid)
	if g.TrippedAt != nil {
		return 0
	}
	g.TrippedAt = now()
	tx.db.guards.put(tx, uid, g)
	return 1
}

func guardReset(tx *memoryTx, uid string) int64 {
	_, ok := tx.db.guards.update(tx, uid, func(g guard) bool { return g.TrippedAt != nil }, func(g *guard) { g.TrippedAt = nil })
	return count(ok)
}

func guardAllow(tx *memoryTx, p dbsqlc.GuardAllowParams) int64 {
	tx.db.guards.put(tx, p.UID, guard{AllowUntil: after(p.AllowSeconds), AllowedBy: p.AllowedBy})
	return 1
}
