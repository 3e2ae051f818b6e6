package simulation

import (
	"bytes"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/revenue"
)

// The statements of forecast.sql and circuit_breaker.sql, and the forecast's own two.

type scope struct {
	Want, Done             int64
	DirtySince, ComputedAt *time.Time
}

type forecast struct {
	Digest     []byte
	ComputedAt time.Time
	Months     []forecastMonth
}

type forecastMonth struct {
	Currency string
	Month    time.Time
	Expected decimal.Decimal // confirmed and tentative
}

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
	tx.db.forecasts.put(tx, id, forecast{Digest: p.Digest, ComputedAt: p.ComputedAt})
	return id, true
}

func (tx *memoryTx) lastDigest() (digest []byte) {
	for _, f := range serial(&tx.db.forecasts, tx) {
		digest = f.Digest
	}
	return digest
}

// What a snapshot says of a currency is in its digest.
func forecastCurrencyInsert(_ *memoryTx, _ dbsqlc.ForecastCurrencyInsertParams) int64 { return 1 }

func forecastMonthInsert(tx *memoryTx, p dbsqlc.ForecastMonthInsertParams) int64 {
	tx.db.forecasts.update(tx, p.ForecastID, always, func(f *forecast) {
		for i, currency := range p.Currencies {
			expected := decimal.RequireFromString(p.Confirmed[i]).Add(decimal.RequireFromString(p.Tentative[i]))
			f.Months = append(f.Months, forecastMonth{currency, p.Months[i], expected})
		}
	})
	return int64(len(p.Currencies))
}

func forecastTotals(tx *memoryTx, p dbsqlc.ForecastTotalsParams) (dbsqlc.ForecastTotalsRow, bool) {
	var last, before forecast
	for _, f := range serial(&tx.db.forecasts, tx) {
		last = f
		if !f.ComputedAt.After(p.ComparedWith) && !f.ComputedAt.Before(before.ComputedAt) {
			before = f
		}
	}
	r := dbsqlc.ForecastTotalsRow{Total: last.total(p), Before: decimal.NewFromInt(-1)}
	if !before.ComputedAt.IsZero() {
		r.Before = before.total(p)
	}
	return r, true
}

func (f forecast) total(p dbsqlc.ForecastTotalsParams) (sum decimal.Decimal) {
	for _, m := range f.Months {
		if m.Currency == p.Currency && !m.Month.Before(p.FirstMonth) {
			sum = sum.Add(m.Expected)
		}
	}
	return sum
}

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
