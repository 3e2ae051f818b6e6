package inbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/level"
	"dealbox/internal/mirror"
	"dealbox/internal/reconcile"
)

// write is RECEIVE of the sync protocol: bump the documents and insert their
// jobs, insert and count the events with the bumped seq, request a comparison for those
// that name no document, alert. The order also keeps the locks in one order over all
// writers: documents, events, counters, runs, alerts.
func (r *Receiver) write(ctx context.Context, tx pgx.Tx, writer int, group []incoming) ([]Receipt, error) {
	seqs, err := r.mirror.Enqueue(ctx, tx, refreshesOf(group))
	if err != nil {
		return nil, err
	}
	stored, err := dbsqlc.New().InboxEventInsert(ctx, tx, insertParams(group, seqs, r.slots[writer]))
	if err != nil {
		return nil, fmt.Errorf("insert events: %w", err)
	}
	fresh := make(map[uuid.UUID]bool, len(stored))
	for _, id := range stored {
		fresh[id] = true
	}
	receipts := make([]Receipt, len(group))
	for i, in := range group {
		receipts[i] = Receipt{EventID: in.id, Event: in.env.Event, Entity: in.env.Model, Action: in.action, Duplicate: !fresh[in.id]}
	}
	if len(stored) < len(group) {
		if err := r.resolveDuplicates(ctx, tx, group, receipts); err != nil {
			return nil, err
		}
	}
	if err := r.compareUnnamed(ctx, tx, group); err != nil {
		return nil, err
	}
	return receipts, r.alertQuarantined(ctx, tx, group, receipts)
}

// compareUnnamed requests a full reconciliation when deliveries of the group are about
// documents and do not name them: of their types, or of all where one does not name its
// type either. One that waits already is enough.
func (r *Receiver) compareUnnamed(ctx context.Context, tx pgx.Tx, group []incoming) error {
	request := reconcile.Request{Extent: reconcile.Full, Trigger: reconcile.TriggerAfterQuarantine}
	isAny, isAll := false, false
	for _, in := range group {
		if !in.unnamed {
			continue
		}
		isAny, isAll = true, isAll || in.t.UID == ""
		if !slices.Contains(request.Types, in.t.UID) {
			request.Types = append(request.Types, in.t.UID)
		}
	}
	if !isAny {
		return nil
	}
	if isAll {
		request.Types = nil
	}
	_, err := r.runs.Request(ctx, tx, request)
	return err
}

// refreshesOf returns the distinct documents of the group, with how many events each has.
func refreshesOf(group []incoming) []mirror.Refresh {
	at := map[mirror.Key]int{}
	var all []mirror.Refresh
	for _, in := range group {
		if !in.processed() {
			continue
		}
		key := in.document()
		i, ok := at[key]
		if !ok {
			i = len(all)
			at[key] = i
			all = append(all, mirror.Refresh{Key: key})
		}
		all[i].Events++
	}
	return all
}

func insertParams(group []incoming, seqs map[mirror.Key]int64, slot int16) dbsqlc.InboxEventInsertParams {
	p := dbsqlc.InboxEventInsertParams{Slot: slot}
	for i := range group {
		in := &group[i]
		var seq int64
		if in.processed() {
			seq = seqs[in.document()]
		}
		sentAt := time.Unix(0, 0).UTC() // stands for null
		if in.env.SentAt != nil {
			sentAt = *in.env.SentAt
		}
		p.Ids = append(p.Ids, in.id)
		p.DedupKeys = append(p.DedupKeys, in.dedup[:])
		p.Schemes = append(p.Schemes, string(in.scheme))
		p.Events = append(p.Events, in.env.Event)
		p.Uids = append(p.Uids, in.env.UID)
		p.Models = append(p.Models, in.env.Model)
		p.DocumentIds = append(p.DocumentIds, in.env.DocumentID)
		p.Locales = append(p.Locales, in.env.Locale)
		p.SentAts = append(p.SentAts, sentAt)
		p.Seqs = append(p.Seqs, seq)
		p.Bodies = append(p.Bodies, in.body)
		p.QuarantineReasons = append(p.QuarantineReasons, in.reason)
		p.BodySizes = append(p.BodySizes, in.large.bytes())
		p.BodyDigests = append(p.BodyDigests, in.large.digest())
	}
	return p
}

// resolveDuplicates takes duplicates out of the events count of their documents,
// and puts the event that they repeat into their receipts. Their bump stays: one
// refresh too many is harmless, a missed one is not.
func (r *Receiver) resolveDuplicates(ctx context.Context, tx pgx.Tx, group []incoming, receipts []Receipt) error {
	var keys [][]byte
	var repeated []incoming
	for i, in := range group {
		if receipts[i].Duplicate {
			keys = append(keys, in.dedup[:])
			repeated = append(repeated, in)
		}
	}
	if extra := refreshesOf(repeated); len(extra) > 0 {
		if err := mirror.Uncount(ctx, tx, extra); err != nil {
			return err
		}
	}
	originals, err := dbsqlc.New().InboxEventOriginals(ctx, tx, keys)
	if err != nil {
		return fmt.Errorf("find the events that duplicates repeat: %w", err)
	}
	ids := map[[sha256.Size]byte]uuid.UUID{}
	for _, o := range originals {
		ids[[sha256.Size]byte(o.DedupKey)] = o.ID
	}
	for i, in := range group {
		if id, ok := ids[in.dedup]; ok && receipts[i].Duplicate {
			receipts[i].EventID = id
		}
	}
	return nil
}

// alertQuarantined raises once for each subject, in their order, so that two
// groups take the locks of the same episodes in one order.
func (r *Receiver) alertQuarantined(ctx context.Context, tx pgx.Tx, group []incoming, receipts []Receipt) error {
	last := map[string]incoming{}
	for i, in := range group {
		if in.action == ActionQuarantined && !receipts[i].Duplicate {
			last[in.subject()] = in
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(last)) {
		if _, err := r.alerts.Raise(ctx, tx, last[subject].alert()); err != nil {
			return fmt.Errorf("raise the quarantine alert: %w", err)
		}
	}
	return nil
}

// subject is that of the alert about a quarantined delivery. What names no document is
// one episode a type, which the comparison ends.
func (in incoming) subject() string {
	switch {
	case in.unnamed && in.t.UID != "":
		return alerting.SubjectUnnamedOf(in.t.Plural)
	case in.unnamed:
		return alerting.SubjectUnnamed
	}
	return in.reason
}

func (in incoming) alert() alerting.Alert {
	a := alerting.Alert{
		Rule: alerting.RuleBodyQuarantined, Subject: in.subject(), Level: level.Warning,
		Message: alerting.BodyQuarantined(in.reason),
		Details: map[string]any{"event_id": in.id.String(), "event": in.env.Event, "bytes": max(len(in.body), int(in.large.bytes()))},
	}
	if in.unnamed {
		a.Message = alerting.BodyUnnamed(cmp.Or(in.env.Event, "webhook"), cmp.Or(in.env.UID, in.env.Model, "a content type that it does not name"), in.reason)
		a.Details["uid"] = in.env.UID
	}
	return a
}
