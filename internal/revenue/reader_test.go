package revenue

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"dealbox/internal/paging"
	"dealbox/internal/pgtest"
)

var now = time.Date(2026, 3, 31, 20, 0, 0, 0, time.UTC)

func TestForecast_Base(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)

	never, err := f.Base(t.Context(), pool, Query{}, now)
	require.NoError(t, err)
	require.Nil(t, never.GeneratedAt, "never computed")
	require.Len(t, never.Months, 12, "but a full window of zeros")
	require.Equal(t, ModelVersion, never.ModelVersion)
	require.True(t, never.Summary.Total.IsZero() && never.Summary.ConversionRate.IsZero() && never.Summary.Deals == 0)

	storeSnapshot(t, pool, f, portfolio{Currency: "THB", Deals: []Deal{
		deal(func(d *Deal) { d.DocumentID, d.Stage, d.Value = "won", "closed-won", num("1000") }), // 2026-03
		deal(func(d *Deal) {
			d.DocumentID, d.Value, d.Start, d.End = "open", num("4000"), month("2026-05"), month("2026-06")
		}),
		deal(func(d *Deal) {
			d.DocumentID, d.Value, d.Start, d.End = "later", num("60"), month("2027-03"), month("2027-03")
		}),
		deal(func(d *Deal) { d.DocumentID, d.Value, d.Start, d.End = "never", num("10.01"), 0, 0 }),
		deal(func(d *Deal) { d.DocumentID, d.Currency = "usd", "USD" }),
	}, Billings: []Billing{
		billing(func(*Billing) {}), // billed 2026-03, collected 2026-05
		billing(func(b *Billing) { b.DocumentID, b.Currency = "eur", "EUR" }),
	}})

	t.Run("TheDefaultWindow", func(t *testing.T) {
		t.Parallel()
		v := base(t, f, pool, Query{})
		require.Equal(t, month("2026-03"), v.Start)
		require.Equal(t, month("2027-02"), v.End)
		require.Equal(t, "THB", v.Currency)
		require.Len(t, v.Months, 12)
		for i, a := range v.Months {
			require.Equal(t, v.Start+Month(i), a.Month, "every month, in order")
		}
		march, april, may := v.Months[0], v.Months[1], v.Months[2]
		equal(t, "1000", march.Confirmed)
		equal(t, "1000", march.Tiers.High)
		equal(t, "100", march.Billed)
		require.True(t, april.Total().IsZero(), "an empty month is there")
		equal(t, "1000", may.Tentative)
		equal(t, "750", may.Tiers.Medium)
		equal(t, "250", may.Tiers.Low)
		equal(t, "100", may.Collected)

		equal(t, "1000", v.Summary.Confirmed)
		equal(t, "2000", v.Summary.Tentative)
		equal(t, "3000", v.Summary.Total)
		require.Equal(t, "0.3333", v.Summary.ConversionRate.String())
		equal(t, "5.01", v.Summary.Unscheduled)
		require.Equal(t, int64(4), v.Summary.Deals)
		require.Equal(t, int64(1), v.Summary.DealsOtherCurrency)
		require.Equal(t, scope(t, pool).ComputedAt, v.GeneratedAt)
		require.Equal(t, ModelVersion, v.ModelVersion)
	})

	t.Run("ANarrowWindow", func(t *testing.T) {
		t.Parallel()
		v := base(t, f, pool, Query{Start: ask("2026-06"), End: ask("2026-06")})
		require.Len(t, v.Months, 1)
		equal(t, "1000", v.Summary.Total)
		require.True(t, v.Summary.ConversionRate.IsZero())
		equal(t, "5.01", v.Summary.Unscheduled)
		require.Equal(t, int64(4), v.Summary.Deals, "of the currency, whatever the window")
	})

	t.Run("BothEndsAreIncluded", func(t *testing.T) {
		t.Parallel()
		v := base(t, f, pool, Query{Start: ask("2026-03"), End: ask("2027-03")})
		equal(t, "3030", v.Summary.Total)
	})

	t.Run("AnotherCurrency", func(t *testing.T) {
		t.Parallel()
		v := base(t, f, pool, Query{Currency: " usd "})
		require.Equal(t, "USD", v.Currency)
		equal(t, "500", v.Summary.Total)
		require.Equal(t, int64(1), v.Summary.Deals)
		require.Equal(t, int64(4), v.Summary.DealsOtherCurrency)
	})

	t.Run("ACurrencyThatNoDealHas", func(t *testing.T) {
		t.Parallel()
		v := base(t, f, pool, Query{Currency: "JPY"})
		require.Len(t, v.Months, 12)
		require.True(t, v.Summary.Total.IsZero() && v.Summary.Unscheduled.IsZero())
		require.Zero(t, v.Summary.Deals)
		require.Equal(t, int64(5), v.Summary.DealsOtherCurrency)
		require.NotNil(t, v.GeneratedAt)

		equal(t, "100", base(t, f, pool, Query{Currency: "EUR"}).Months[0].Billed)
	})
}

func TestForecast_Window(t *testing.T) {
	t.Parallel()
	bangkok := time.FixedZone("Asia/Bangkok", 7*60*60)
	for name, tc := range map[string]struct {
		config   Config
		query    Query
		from, to string
		wrong    string // the field
	}{
		"from the current month":             {Config{}, Query{}, "2026-03", "2027-02", ""},
		"of the time zone":                   {Config{Location: bangkok}, Query{}, "2026-04", "2027-03", ""},
		"as long as configured":              {Config{HorizonMonths: 3}, Query{}, "2026-03", "2026-05", ""},
		"a start alone: as long":             {Config{HorizonMonths: 3}, Query{Start: ask("2020-11")}, "2020-11", "2021-01", ""},
		"an end alone: from now":             {Config{}, Query{End: ask("2030-01")}, "2026-03", "2030-01", ""},
		"this month alone":                   {Config{}, Query{End: ask("2026-03")}, "2026-03", "2026-03", ""},
		"both":                               {Config{}, Query{Start: ask("2020-01"), End: ask("2020-02")}, "2020-01", "2020-02", ""},
		"1,200 months":                       {Config{}, Query{Start: ask("2000-01"), End: ask("2099-12")}, "2000-01", "2099-12", ""},
		"1,201 months":                       {Config{}, Query{Start: ask("2000-01"), End: ask("2100-01")}, "", "", "end_month"},
		"end before start":                   {Config{}, Query{Start: ask("2026-05"), End: ask("2026-04")}, "", "", "end_month"},
		"an end alone that is over":          {Config{}, Query{End: ask("2026-02")}, "", "", "end_month"},
		"the end of time is no reason to go": {Config{}, Query{Start: ask("9999-12")}, "9999-12", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start, end, err := New(tc.config, nil).window(tc.query, now)
			if tc.wrong != "" {
				var wrong *paging.FieldError
				require.ErrorAs(t, err, &wrong)
				require.Equal(t, tc.wrong, wrong.Field)
				require.ErrorContains(t, err, tc.wrong+": 2")
				return
			}
			require.NoError(t, err)
			require.Equal(t, month(tc.from), start)
			if tc.to != "" {
				require.Equal(t, month(tc.to), end)
			}
		})
	}
}

func TestForecast_Base_EndBeforeStart(t *testing.T) {
	t.Parallel()
	_, err := New(Config{}, nil).Base(t.Context(), nil, Query{Start: ask("2026-05"), End: ask("2026-04")}, now)
	require.EqualError(t, err, "end_month: 2026-04-01 is before start_month 2026-05-01")
}

func TestForecast_Status(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	f := newForecast(t, pool, time.Millisecond)
	s, err := f.Status(t.Context(), pool)
	require.NoError(t, err)
	require.Equal(t, Status{}, s, "never computed and nothing asked for")

	mark(t, pool, f)
	s, err = f.Status(t.Context(), pool)
	require.NoError(t, err)
	require.True(t, s.Stale)
	require.NotNil(t, s.StaleSince)
	require.Nil(t, s.ComputedAt)

	start(t, pool, f)
	waitUntilCurrent(t, pool)
	s, err = f.Status(t.Context(), pool)
	require.NoError(t, err)
	require.False(t, s.Stale)
	require.Nil(t, s.StaleSince)
	require.NotNil(t, s.ComputedAt)

	// What it would count waits, or is dead: the forecast is behind Strapi since then.
	for _, state := range []string{"pending", "dead"} {
		_, err = pool.Exec(t.Context(), `INSERT INTO entity_sync (uid, document_id, want_seq, state, pending_since, dead_at)
			VALUES ('u', $1, 1, $1, now() - interval '1 hour', CASE WHEN $1 = 'dead' THEN now() END)`, state)
		require.NoError(t, err)
		s, err = f.Status(t.Context(), pool)
		require.NoError(t, err)
		require.True(t, s.Stale, state)
		require.WithinDuration(t, time.Now().Add(-time.Hour), *s.StaleSince, time.Minute, state)
		_, err = pool.Exec(t.Context(), "UPDATE entity_sync SET done_seq = want_seq, state = 'ok', pending_since = NULL, dead_at = NULL")
		require.NoError(t, err)
	}
	_, err = pool.Exec(t.Context(), "INSERT INTO strapi_attribute (uid, name, seen_at, absent_since) VALUES ('u', 'locale', now(), now()), ('u', 'typo', NULL, now())")
	require.NoError(t, err)
	s, err = f.Status(t.Context(), pool)
	require.NoError(t, err)
	require.False(t, s.Stale, "a type that has no locales any more waits for nothing")
	_, err = pool.Exec(t.Context(), "INSERT INTO strapi_attribute (uid, name, seen_at, absent_since) VALUES ('u', 'deal_value', now(), now())")
	require.NoError(t, err)
	s, err = f.Status(t.Context(), pool)
	require.NoError(t, err)
	require.True(t, s.Stale, "a type that is held because an attribute is missing")
}

// store stores the forecast of the input as the worker does.
func storeSnapshot(t *testing.T, pool *pgxpool.Pool, f *Forecast, in portfolio) {
	t.Helper()
	mark(t, pool, f)
	inTx(t, pool, func(tx pgx.Tx) error { return f.record(t.Context(), tx, scope(t, pool), in.compute()) })
}

func base(t *testing.T, f *Forecast, pool *pgxpool.Pool, q Query) View {
	t.Helper()
	v, err := f.Base(t.Context(), pool, q, now)
	require.NoError(t, err)
	return v
}

func ask(text string) *Month {
	m := month(text)
	return &m
}
