package simulation

import (
	"maps"
	"slices"

	"dealbox/internal/mirror"
)

// memoryFacts reads what is committed in the memory.
type memoryFacts struct{ *memory }

func (m memoryFacts) entities() (map[mirror.Key]entityFacts, error) {
	all := make(map[mirror.Key]entityFacts, len(m.memory.entities.rows))
	for key, e := range m.memory.entities.rows {
		all[key] = entityFacts{e.Want, e.Done, e.Version, e.Events, e.EventsDone, e.State, e.Failures, e.AttemptExpires != nil}
	}
	return all, nil
}

func (m memoryFacts) shown() (map[mirror.Key]shown, error) {
	all := make(map[mirror.Key]shown, len(m.deals.rows)+len(m.billings.rows))
	for key, d := range m.deals.rows {
		all[key] = shown{d.DeletedAt != nil, d.PublishedAt != nil, text(d.Name) + leadsTo, "", d.json}
	}
	for key, b := range m.billings.rows {
		all[key] = shown{b.DeletedAt != nil, b.PublishedAt != nil, text(b.BillingID) + leadsTo + text(b.DealDocumentID), text(b.DealDocumentID), b.json}
	}
	return all, nil
}

func (m memoryFacts) changes(known map[int64]bool) (all []changeFacts, _ error) {
	for _, id := range slices.Sorted(maps.Keys(m.memory.changes.rows)) {
		if c := m.memory.changes.rows[id]; !known[id] {
			all = append(all, changeFacts{id, mirror.Key{UID: c.UID, DocumentID: c.DocumentID, Locale: c.Locale}, c.Before, c.After})
		}
	}
	return all, nil
}

func (m memoryFacts) ledger() (l ledger, _ error) {
	for _, c := range m.counters.rows {
		l.Received += c.Received
		l.Ignored += c.Ignored
		l.Quarantined += c.Quarantined
	}
	for _, e := range m.memory.entities.rows {
		switch {
		case e.Done >= e.Want:
		case e.State == "dead":
			l.Dead += e.Events - e.EventsDone
		default:
			l.Pending += e.Events - e.EventsDone
		}
	}
	for _, e := range m.events.rows {
		of := m.memory.entities.rows[e.Key]
		l.Rows++
		switch {
		case e.Quarantine != "":
			l.RowsQuarantined++
		case e.Seq == 0:
			l.RowsIgnored++
		case of.Done >= e.Seq:
			l.RowsProcessed++
		case of.State == "dead":
			l.RowsDead++
		default:
			l.RowsPending++
		}
	}
	return l, nil
}

func (m memoryFacts) scope() (want, done int64, _ error) {
	s := m.scopes.rows["base"]
	return s.Want, s.Done, nil
}

func (m memoryFacts) forecasts() (int64, error) { return int64(len(m.memory.forecasts.rows)), nil }

func (m memoryFacts) openAlerts(rule string) (map[string]bool, error) {
	open := map[string]bool{}
	for _, a := range m.alerts.rows {
		if a.Rule == rule && a.ResolvedAt == nil {
			open[a.Subject] = true
		}
	}
	return open, nil
}

func (m memoryFacts) deadLetters() (map[string]bool, error) {
	members := map[string]bool{}
	for key, of := range m.members.rows {
		if a := m.alerts.rows[key.alertID]; a.ResolvedAt == nil && !of.left {
			members[key.member] = true
		}
	}
	return members, nil
}

func (m memoryFacts) breaker() (state string, forced bool, _ error) {
	b := m.breakers.rows["strapi"]
	return b.State, b.Forced, nil
}

func (m memoryFacts) openRuns() (n int64, _ error) {
	for _, r := range m.runs.rows {
		n += count(r.FinishedAt == nil)
	}
	return n, nil
}

func (m memoryFacts) stored() (map[string]bool, error) {
	keys := map[string]bool{}
	for _, e := range m.events.rows {
		keys[string(e.DedupKey)] = true
	}
	return keys, nil
}
