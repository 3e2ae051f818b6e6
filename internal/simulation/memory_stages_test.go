package simulation

import (
	"bytes"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/revenue"
)

// The statements of forecast.sql, circuit_breaker.sql and alert.sql, and the
// forecast's own two.

type scope struct {
	Want, Done             int64
	DirtySince, ComputedAt *time.Time
}

type forecast struct{ Digest []byte }

func forecastMark(tx *memoryTx, name string) (bool, bool) {
	s, ok := tx.db.scopes.update(tx, name, always, func(s *scope) {
		if s.Want == s.Done {
			s.DirtySince = now()
		}
		s.Want++
	})
	return s.Want-1 == s.Done, ok
}

func forecastScope(tx *memoryTx, name string) (dbsqlc.ForecastScopeRow, bool) {
	s, ok := tx.db.scopes.get(tx, name)
	return dbsqlc.ForecastScopeRow{Want: s.Want, Done: s.Done, DirtySince: s.DirtySince, ComputedAt: s.ComputedAt, ReadAt: time.Now()}, ok
}

func forecastAdvance(tx *memoryTx, p dbsqlc.ForecastAdvanceParams) (dbsqlc.ForecastAdvanceRow, bool) {
	s, ok := tx.db.scopes.update(tx, p.Scope, func(s scope) bool { return s.Done < p.Done && s.Want >= p.Done }, func(s *scope) {
		s.Done, s.ComputedAt, s.DirtySince = p.Done, now(), nil
		if s.Want > p.Done {
			s.DirtySince = &p.ReadAt
		}
	})
	return dbsqlc.ForecastAdvanceRow{Want: s.Want, ComputedAt: time.Now()}, ok
}

func forecastInsert(tx *memoryTx, p dbsqlc.ForecastInsertParams) (int64, bool) {
	if bytes.Equal(tx.lastDigest(), p.Digest) {
		return 0, false
	}
	id := tx.db.next()
	tx.db.forecasts.put(tx, id, forecast{p.Digest})
	return id, true
}

func (tx *memoryTx) lastDigest() (digest []byte) {
	for _, f := range serial(&tx.db.forecasts, tx) {
		digest = f.Digest
	}
	return digest
}

// The amounts of a snapshot are in its digest.
func forecastCurrencyInsert(_ *memoryTx, _ dbsqlc.ForecastCurrencyInsertParams) int64 { return 1 }
func forecastMonthInsert(_ *memoryTx, _ dbsqlc.ForecastMonthInsertParams) int64       { return 1 }

func forecastOrphaned(tx *memoryTx, name string) (bool, bool) {
	s, _ := tx.db.scopes.get(tx, name)
	if s.Done >= s.Want || !s.DirtySince.Before(*after(-120)) {
		return false, true
	}
	for _, j := range serial(&tx.db.jobs, tx) {
		if j.Args == (revenue.RecomputeArgs{}) && j.live() {
			return false, true
		}
	}
	return true, true
}

type forecastDeal struct {
	UID, DocumentID, Locale, Status, Stage, Currency string
	Value, Probability, Override                     decimal.NullDecimal
	Start, End, Close                                *time.Time
}

func forecastDeals(tx *memoryTx, _ none) (rows []forecastDeal) {
	deals := tx.db.deals
	if tx.deals != nil {
		deals.rows = tx.deals
	}
	for _, d := range deals.each(tx, byKey) {
		if d.PublishedAt == nil || d.DeletedAt != nil {
			continue
		}
		rows = append(rows, forecastDeal{
			d.UID, d.DocumentID, d.Locale, text(d.Status), text(d.Stage), text(d.Currency),
			d.DealValue, d.Probability, d.ConfidenceOverride, d.RecognitionStartMonth, d.RecognitionEndMonth, d.ExpectedCloseDate,
		})
	}
	return rows
}

type forecastBilling struct {
	UID, DocumentID, Locale, Currency string
	Amount                            decimal.NullDecimal
	Recognition, Invoice, Collected   *time.Time
}

func forecastBillings(tx *memoryTx, _ none) (rows []forecastBilling) {
	billings := tx.db.billings
	if tx.billings != nil {
		billings.rows = tx.billings
	}
	for _, b := range billings.each(tx, byKey) {
		if b.PublishedAt != nil && b.DeletedAt == nil {
			rows = append(rows, forecastBilling{
				b.UID, b.DocumentID, b.Locale, text(b.Currency), b.Amount, b.RecognitionMonth, b.InvoiceDate, b.CollectedDate,
			})
		}
	}
	return rows
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

type breaker = dbsqlc.CircuitBreaker

type transition struct{ Generation int64 }

func circuitBreakerGet(tx *memoryTx, name string) (r dbsqlc.CircuitBreakerGetRow, ok bool) {
	r.CircuitBreaker, ok = tx.db.breakers.get(tx, name)
	until := map[string]*time.Time{"open": r.CircuitBreaker.RetryAt, "half_open": r.CircuitBreaker.ProbeUntil}[r.CircuitBreaker.State]
	if until != nil {
		r.RetryIn = max(time.Until(*until), 0).Seconds()
	}
	return r, ok
}

func circuitBreakerLock(tx *memoryTx, name string) (breaker, bool) {
	tx.db.breakers.lock(tx, name)
	return tx.db.breakers.get(tx, name)
}

func circuitBreakerCount(tx *memoryTx, p dbsqlc.CircuitBreakerCountParams) (breaker, bool) {
	return tx.db.breakers.update(tx, p.Name,
		func(b breaker) bool {
			return b.State == "closed" && !b.Forced && (p.Key == "" || !slices.Contains(b.FailureKeys, p.Key))
		},
		func(b *breaker) {
			b.FailureCount++
			b.LastError = &p.LastError
			if p.Key != "" {
				b.FailureKeys = append(slices.Clone(b.FailureKeys), p.Key)
			}
		})
}

func circuitBreakerClear(tx *memoryTx, p dbsqlc.CircuitBreakerClearParams) int64 {
	_, ok := tx.db.breakers.update(tx, p.Name,
		func(b breaker) bool {
			return b.State == "closed" && b.Generation == p.Generation && b.FailureCount != 0
		},
		func(b *breaker) { b.FailureCount, b.FailureKeys, b.LastError = 0, []string{}, nil })
	return count(ok)
}

func circuitBreakerMove(tx *memoryTx, p dbsqlc.CircuitBreakerMoveParams) (breaker, bool) {
	fits := func(b breaker) bool {
		return b.State == p.FromState && b.Generation == p.Generation &&
			(p.ToState != "half_open" || b.State == "open" && past(b.RetryAt) || b.State == "half_open" && b.ProbeUntil.Before(time.Now()))
	}
	return tx.db.breakers.update(tx, p.Name, fits, func(b *breaker) {
		b.State, b.Forced, b.ChangedAt = p.ToState, p.ToForced, time.Now()
		b.Generation++
		b.RetryAt, b.ProbeHolder, b.ProbeUntil = nil, nil, nil
		if p.LastError != nil {
			b.LastError = p.LastError
		}
		switch p.ToState {
		case "closed":
			b.FailureCount, b.FailureKeys, b.LastError, b.OpenedAt = 0, []string{}, nil, nil
			return
		case "half_open":
			b.ProbeHolder, b.ProbeUntil = &p.ProbeHolder, after(p.ProbeFor)
		case "open":
			if !p.ToForced {
				b.RetryAt = after(p.RetryIn)
			}
		}
		if b.OpenedAt == nil {
			b.OpenedAt = now()
		}
	})
}

func circuitBreakerEventAppend(tx *memoryTx, p dbsqlc.CircuitBreakerEventAppendParams) int64 {
	tx.db.transitions.put(tx, tx.db.next(), transition{p.Generation})
	return 1
}

type alert struct {
	dbsqlc.AlertOpenParams

	Occurrences         int64
	FirstSeen, LastSeen time.Time
	ResolvedAt          *time.Time
}

type alertEvent struct {
	AlertID int64
	At      time.Time
}

// openAlert stands for the unique index on open episodes.
type openAlert string

func (tx *memoryTx) openAlert(fingerprint string) (int64, alert, bool) {
	for id, a := range serial(&tx.db.alerts, tx) {
		if a.Fingerprint == fingerprint && a.ResolvedAt == nil {
			return id, a, true
		}
	}
	return 0, alert{}, false
}

func alertLockOpen(tx *memoryTx, fingerprint string) (dbsqlc.AlertLockOpenRow, bool) {
	id, a, ok := tx.openAlert(fingerprint)
	if ok {
		tx.db.alerts.lock(tx, id)
	}
	return dbsqlc.AlertLockOpenRow{ID: id, Level: a.Level}, ok
}

func alertOpen(tx *memoryTx, p dbsqlc.AlertOpenParams) (int64, bool) {
	tx.lock(openAlert(p.Fingerprint))
	if _, _, ok := tx.openAlert(p.Fingerprint); ok {
		return 0, false
	}
	id := tx.db.next()
	tx.db.alerts.put(tx, id, alert{AlertOpenParams: p, Occurrences: 1, FirstSeen: time.Now(), LastSeen: time.Now()})
	return id, true
}

func alertRepeat(tx *memoryTx, p dbsqlc.AlertRepeatParams) (int64, bool) {
	a, ok := tx.db.alerts.update(tx, p.ID, always, func(a *alert) {
		a.Occurrences++
		a.Level, a.Message, a.Details, a.LastSeen = p.Level, p.Message, p.Details, time.Now()
	})
	return a.Occurrences, ok
}

func alertResolve(tx *memoryTx, fingerprint string) (r dbsqlc.AlertResolveRow, ok bool) {
	id, _, ok := tx.openAlert(fingerprint)
	if !ok {
		return r, false
	}
	a, _ := tx.db.alerts.update(tx, id, always, func(a *alert) { a.ResolvedAt = now() })
	return dbsqlc.AlertResolveRow{ID: id, Level: a.Level, Occurrences: a.Occurrences, FirstSeen: a.FirstSeen, ResolvedAt: *a.ResolvedAt}, true
}

func alertEventAppend(tx *memoryTx, p dbsqlc.AlertEventAppendParams) int64 {
	tx.db.alertEvents.put(tx, tx.db.next(), alertEvent{p.AlertID, time.Now()})
	return 1
}

func alertEventAppendRepeat(tx *memoryTx, p dbsqlc.AlertEventAppendRepeatParams) int64 {
	var last time.Time
	for _, e := range serial(&tx.db.alertEvents, tx) {
		if e.AlertID == p.AlertID {
			last = e.At
		}
	}
	if last.After(*after(-p.QuietSeconds)) {
		return 0
	}
	tx.db.alertEvents.put(tx, tx.db.next(), alertEvent{p.AlertID, time.Now()})
	return 1
}
