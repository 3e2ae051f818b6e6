package inbox

import (
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
)

// write is RECEIVE of the sync protocol: bump the documents and insert their
// jobs, insert and count the events with the bumped seq, alert. The order also
// keeps the locks in one order over all writers: documents, events, counters, alerts.
func (r *Receiver) write(ctx context.Context, tx pgx.Tx, writer int, facts []fact) ([]Receipt, error) {
	seqs, err := r.mirror.Enqueue(ctx, tx, looks(facts))
	if err != nil {
		return nil, err
	}
	stored, err := dbsqlc.New().InboxEventInsert(ctx, tx, insertParams(facts, seqs, r.slots[writer]))
	if err != nil {
		return nil, fmt.Errorf("insert events: %w", err)
	}
	fresh := make(map[uuid.UUID]bool, len(stored))
	for _, id := range stored {
		fresh[id] = true
	}
	receipts := make([]Receipt, len(facts))
	for i, f := range facts {
		receipts[i] = Receipt{EventID: f.id, Event: f.env.Event, Entity: f.env.Model, Action: f.action, Duplicate: !fresh[f.id]}
	}
	if len(stored) < len(facts) {
		if err := r.settleDuplicates(ctx, tx, facts, receipts); err != nil {
			return nil, err
		}
	}
	return receipts, r.alertQuarantined(ctx, tx, facts, receipts)
}

// looks are the distinct documents of the group, with how many events each has.
func looks(facts []fact) []mirror.Refresh {
	at := map[mirror.Key]int{}
	var all []mirror.Refresh
	for _, f := range facts {
		if !f.processed() {
			continue
		}
		key := f.document()
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

func insertParams(facts []fact, seqs map[mirror.Key]int64, slot int16) dbsqlc.InboxEventInsertParams {
	p := dbsqlc.InboxEventInsertParams{Slot: slot}
	for i := range facts {
		f := &facts[i]
		var seq int64
		if f.processed() {
			seq = seqs[f.document()]
		}
		sentAt := time.Unix(0, 0).UTC() // stands for null
		if f.env.SentAt != nil {
			sentAt = *f.env.SentAt
		}
		p.Ids = append(p.Ids, f.id)
		p.DedupKeys = append(p.DedupKeys, f.dedup[:])
		p.Schemes = append(p.Schemes, string(f.scheme))
		p.Events = append(p.Events, f.env.Event)
		p.Uids = append(p.Uids, f.env.UID)
		p.Models = append(p.Models, f.env.Model)
		p.DocumentIds = append(p.DocumentIds, f.env.DocumentID)
		p.Locales = append(p.Locales, f.env.Locale)
		p.SentAts = append(p.SentAts, sentAt)
		p.Seqs = append(p.Seqs, seq)
		p.Bodies = append(p.Bodies, f.body)
		p.QuarantineReasons = append(p.QuarantineReasons, f.reason)
	}
	return p
}

// settleDuplicates takes duplicates out of the events count of their documents
// and answers with the event that they repeat. Their bump stays: one more look
// is harmless, a missed one is not.
func (r *Receiver) settleDuplicates(ctx context.Context, tx pgx.Tx, facts []fact, receipts []Receipt) error {
	var keys [][]byte
	var repeated []fact
	for i, f := range facts {
		if receipts[i].Duplicate {
			keys = append(keys, f.dedup[:])
			repeated = append(repeated, f)
		}
	}
	if over := looks(repeated); len(over) > 0 {
		if err := mirror.Uncount(ctx, tx, over); err != nil {
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
	for i, f := range facts {
		if id, ok := ids[f.dedup]; ok && receipts[i].Duplicate {
			receipts[i].EventID = id
		}
	}
	return nil
}

// alertQuarantined raises once for each reason, in their order, so that two
// groups take the locks of the same episodes in one order.
func (r *Receiver) alertQuarantined(ctx context.Context, tx pgx.Tx, facts []fact, receipts []Receipt) error {
	byReason := map[string][]fact{}
	for i, f := range facts {
		if f.action == ActionQuarantined && !receipts[i].Duplicate {
			byReason[f.reason] = append(byReason[f.reason], f)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		last := byReason[reason][len(byReason[reason])-1]
		_, err := r.alerts.Raise(ctx, tx, alerting.Alert{
			Rule: alerting.RuleBodyQuarantined, Subject: reason, Level: level.Warning,
			Message: "an authentic webhook could not be read and was set aside: " + reason,
			Details: map[string]any{"event_id": last.id.String(), "event": last.env.Event, "bytes": len(last.body)},
		})
		if err != nil {
			return fmt.Errorf("raise the quarantine alert: %w", err)
		}
	}
	return nil
}
