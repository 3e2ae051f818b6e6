package alerting_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/notify"
)

func TestAlerts_Raise_OneEpisode(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	first := h.raise(unusable(level.Error, "one"))
	require.Equal(t, first, h.raise(unusable(level.Error, "two")))

	all := h.episodes()
	require.Len(t, all, 1)
	e := all[0]
	require.Equal(t, first, e.ID)
	require.Equal(t, alerting.RuleStrapiUnusable, e.Rule)
	require.Equal(t, "billings", e.Subject)
	require.Equal(t, level.Error, e.Level)
	require.Equal(t, alerting.Firing, e.Status)
	require.Equal(t, "two", e.Message)
	require.JSONEq(t, `{"failures":12}`, string(e.Details))
	require.Equal(t, int64(2), e.Occurrences)
	require.True(t, e.LastSeen.After(e.FirstSeen))
	require.Equal(t, time.UTC, e.LastSeen.Location())
	require.Nil(t, e.ResolvedAt)
	require.Equal(t, "v1:strapi_unusable:billings", h.MustText("SELECT fingerprint FROM alert"))

	other := unusable(level.Error, "one")
	other.Subject = "deals"
	require.NotEqual(t, first, h.raise(other), "another subject is another episode")
}

func TestAlerts_Raise_LevelOnlyRises(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{RepeatEvery: time.Nanosecond})
	id := h.raise(unusable(level.Warning, "w"))
	h.raise(unusable(level.Critical, "c"))
	h.raise(unusable(level.Info, "i"))
	require.Equal(t, level.Critical, h.episodes()[0].Level)
	require.Equal(t, "i", h.episodes()[0].Message)
	require.Equal(t, "raised escalated repeated", h.history(id))
	require.Equal(t, "warning critical critical", h.MustText(`SELECT string_agg(level, ' ' ORDER BY id) FROM alert_event`))
	require.JSONEq(t, `{"from":"warning","message":"c","details":{"failures":12},"occurrences":2}`,
		h.MustText(`SELECT details::text FROM alert_event WHERE kind = 'escalated'`))
	require.Equal(t, "dealbox", h.MustText(`SELECT DISTINCT actor FROM alert_event`))
}

func TestAlerts_Raise_RepeatsDoNotFillTheHistory(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{RepeatEvery: time.Hour}) // 1,000 take a busy machine long
	var id int64
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) (err error) {
		for range 1000 {
			if id, err = h.Raise(ctx, tx, unusable(level.Error, "again")); err != nil {
				return err
			}
		}
		return nil
	})
	require.Equal(t, int64(1000), h.episodes()[0].Occurrences)
	require.Equal(t, "raised", h.history(id))
	require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM notification"))

	// An hour later the next one is recorded, with the count so far.
	h.MustExec(`ALTER TABLE alert_event DISABLE TRIGGER USER;
		UPDATE alert_event SET at = at - interval '61 minutes'; ALTER TABLE alert_event ENABLE TRIGGER USER`)
	h.raise(unusable(level.Error, "again"))
	h.raise(unusable(level.Error, "again"))
	require.Equal(t, "raised repeated", h.history(id))
	require.Equal(t, "1001", h.MustText(`SELECT details->>'occurrences' FROM alert_event WHERE kind = 'repeated'`))
}

// A text says since when, and the end of an episode what became of it: how long it
// lasted, and what waits at that moment.
func TestAlerts_TextsAreFilled(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	breaker := alerting.Alert{
		Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical, Message: alerting.BreakerOpened("Strapi gives no complete answer within 10s"),
	}
	h.raise(breaker)
	h.later(31 * time.Second)
	h.raise(breaker)
	began := h.MustText(`SELECT to_char(first_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') FROM alert`)
	require.Contains(t, h.episodes()[0].Message, "the forecast and the dashboard show the state of "+began)
	h.MustExec(`INSERT INTO entity_sync (uid, document_id, locale, want_seq, done_seq, events, events_done, state, pending_since, held_back_since, dead_at)
		VALUES ('u', 'waits', '', 44, 0, 45, 1, 'pending', now(), NULL, NULL), ('u', 'done', '', 3, 3, 3, 3, 'ok', NULL, NULL, NULL),
		       ('u', 'held', '', 3, 0, 3, 0, 'pending', now(), now(), NULL), ('u', 'dead', '', 3, 0, 3, 0, 'dead', now(), NULL, now())`)
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := h.Resolve(ctx, tx, alerting.RuleBreakerOpened, "strapi", alerting.EndBreakerOpened)
		return err
	})
	const end = `^Strapi answers again after 3\d s; 44 webhooks waited and are being processed now, none is lost$`
	require.Regexp(t, end, h.episodes()[0].Message)
	require.Regexp(t, end, h.MustText(`SELECT reason FROM alert_event WHERE kind = 'resolved'`))
	require.Contains(t, h.MustText(`SELECT details->>'message' FROM alert_event WHERE kind = 'raised'`), "Strapi does not work: ", "the history keeps what it was")
}

func TestAlerts_Resolve(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	require.False(t, h.resolve(alerting.RuleStrapiUnusable, "billings"))
	first := h.raise(unusable(level.Error, "one"))
	h.raise(unusable(level.Error, "one"))
	require.True(t, h.resolve(alerting.RuleStrapiUnusable, "billings"))
	require.False(t, h.resolve(alerting.RuleStrapiUnusable, "billings"))

	e := h.episodes()[0]
	require.Equal(t, alerting.Resolved, e.Status)
	require.False(t, e.ResolvedAt.Before(e.LastSeen))
	require.Equal(t, "raised resolved", h.history(first))
	require.Equal(t, "fixed", h.MustText(`SELECT reason FROM alert_event WHERE kind = 'resolved'`))
	require.Equal(t, "true", h.MustText(`SELECT (details->>'occurrences' = '2' AND (details->>'seconds')::numeric >= 0)::text
		FROM alert_event WHERE kind = 'resolved'`))

	second := h.raise(unusable(level.Error, "back"))
	require.NotEqual(t, first, second, "after it resolved, the next one is a new episode")
	require.Equal(t, "first resolved first", h.MustText(`SELECT string_agg(reason, ' ' ORDER BY id) FROM notification`))
	require.Equal(t, "1 2 1", h.MustText(`SELECT string_agg(sequence::text, ' ' ORDER BY id) FROM notification`))
}

// Resolve is called whenever something works, which is nearly always: it must not scan.
func TestAlerts_Resolve_UsesTheIndex(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.MustExec(`INSERT INTO alert (fingerprint, rule, level, message, first_seen, last_seen)
		SELECT 'v1:r:' || i, 'r', 'error', 'm', now(), now() FROM generate_series(1, 20000) i`)
	h.MustExec("ANALYZE alert")
	rows, err := h.Pool.Query(t.Context(), `EXPLAIN UPDATE alert SET status = 'resolved', resolved_at = now()
		WHERE fingerprint = 'v1:r:x' AND resolved_at IS NULL`)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, strings.Join(plan, "\n"), "alert_open_idx")
}

// Two transactions meet on a new fingerprint: the second waits for the first
// and adds to its episode.
func TestAlerts_Raise_TwoAtOnce(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	ctx := t.Context()
	one, err := h.Pool.Begin(ctx)
	require.NoError(t, err)
	first, err := h.Raise(ctx, one, unusable(level.Warning, "one"))
	require.NoError(t, err)

	second := make(chan int64, 1)
	go func() {
		var id int64
		if err := pgx.BeginFunc(ctx, h.Pool, func(tx pgx.Tx) (err error) {
			id, err = h.Raise(ctx, tx, unusable(level.Error, "two"))
			return err
		}); err != nil {
			t.Error(err)
		}
		second <- id
	}()
	require.Eventually(t, func() bool {
		return h.MustText(`SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == "1"
	}, time.Minute, 5*time.Millisecond)
	require.NoError(t, one.Commit(ctx))
	require.Equal(t, first, <-second)

	e := h.episodes()[0]
	require.Len(t, h.episodes(), 1)
	require.Equal(t, int64(2), e.Occurrences)
	require.Equal(t, level.Error, e.Level)
	require.Equal(t, "raised escalated", h.history(first))
}

// When the first transaction rolls back, the waiting one opens the episode.
func TestAlerts_Raise_FirstOneRollsBack(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	ctx := t.Context()
	one, err := h.Pool.Begin(ctx)
	require.NoError(t, err)
	_, err = h.Raise(ctx, one, unusable(level.Error, "one"))
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		done <- pgx.BeginFunc(ctx, h.Pool, func(tx pgx.Tx) error {
			_, err := h.Raise(ctx, tx, unusable(level.Error, "two"))
			return err
		})
	}()
	require.Eventually(t, func() bool {
		return h.MustText(`SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == "1"
	}, time.Minute, 5*time.Millisecond)
	require.NoError(t, one.Rollback(ctx))
	require.NoError(t, <-done)
	require.Equal(t, int64(1), h.episodes()[0].Occurrences)
	require.Equal(t, "two", h.episodes()[0].Message)
}

// Many raise and resolve at once: nothing is counted twice or lost, there is
// never more than one open episode, and each closed one has exactly one end.
func TestAlerts_ManyAtOnceKeepOneOpenEpisode(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	const workers, rounds = 8, 25
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range rounds {
				err := pgx.BeginFunc(t.Context(), h.Pool, func(tx pgx.Tx) error {
					if w == 0 && i%5 == 4 {
						_, err := h.Resolve(t.Context(), tx, alerting.RuleStrapiUnusable, "billings", "")
						return err
					}
					_, err := h.Raise(t.Context(), tx, unusable(level.All()[(w+i)%4], "m"))
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	require.Equal(t, "195", h.MustText("SELECT sum(occurrences)::text FROM alert"))
	require.Equal(t, "true", h.MustText("SELECT (count(*) <= 1)::text FROM alert WHERE resolved_at IS NULL"))
	require.Equal(t, "true", h.MustText(`SELECT bool_and(raised = 1 AND ended = (status = 'resolved')::int AND last_seen <= coalesce(resolved_at, last_seen))::text
		FROM alert a, LATERAL (SELECT count(*) FILTER (WHERE kind = 'raised') AS raised, count(*) FILTER (WHERE kind = 'resolved') AS ended
		FROM alert_event WHERE alert_id = a.id) e`))
}

func TestAlerts_Raise_CallersMistakes(t *testing.T) {
	t.Parallel()
	a := alerting.New(alerting.Config{}, notify.New(notify.Config{}, nil))
	_, err := a.Raise(t.Context(), nil, alerting.Alert{Level: level.Error})
	require.ErrorContains(t, err, "names no rule")
	_, err = a.Raise(t.Context(), nil, alerting.Alert{Rule: "r"})
	require.ErrorContains(t, err, "is no alert level")
}

// Whatever the text, the transaction that raises goes through.
func TestAlerts_Raise_HostileText(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{RepeatEvery: time.Nanosecond})
	hostile := []string{
		"\x00", "a\x00b", "\xff\xfe", "\xed\xa0\x80", "two\nlines\r\n{\"level\":\"error\"}", "</script><svg onload=alert(1)>",
		"\u202egnp.exe", "\ufeff", `\u0000`, "'; DROP TABLE alert; --", strings.Repeat("x", 1<<20), strings.Repeat("ร", 5000), strings.Repeat("\x00", 9000),
	}
	for _, text := range hostile {
		h.raise(alerting.Alert{
			Rule: alerting.RuleBodyQuarantined, Subject: text, Level: level.Warning, Message: text,
			Details: map[string]any{text: text, "list": []any{text, map[string]any{text: text}}},
		})
		h.resolve(alerting.RuleBodyQuarantined, text)
	}
	all := h.episodes()
	require.Len(t, all, len(hostile), "no two of them are the same subject")
	for _, e := range all {
		require.Equal(t, alerting.Resolved, e.Status)
		require.LessOrEqual(t, len(e.Message), 1000)
		require.LessOrEqual(t, len(e.Subject), 300)
		require.LessOrEqual(t, len(e.Details), 9<<10)
		require.True(t, utf8.ValidString(e.Message+e.Subject))
		require.NotContains(t, e.Message+e.Subject+string(e.Details), "\n")
		require.NotContains(t, string(e.Details), `\n`)
	}
}

func TestAlerts_Raise_DetailsOfAnyKind(t *testing.T) {
	t.Parallel()
	deep := any("bottom")
	for range 200 {
		deep = []any{deep}
	}
	many := map[string]any{}
	for i := range 5000 {
		many[strings.Repeat("k", i%50)+string(rune('a'+i%26))] = strings.Repeat("v", 900)
	}
	h := newEnv(t, alerting.Config{})
	for name, c := range map[string]struct {
		details map[string]any
		want    string
	}{
		"None":      {nil, `{}`},
		"Plain":     {map[string]any{"a": 1, "b": true, "c": nil, "d": []int{1}, "e": 1.5}, `{"a":1,"b":true,"c":null,"d":[1],"e":1.5}`},
		"Error":     {map[string]any{"e": errors.New("no\nway")}, `{"e":"no way"}`},
		"NoNumber":  {map[string]any{"n": math.NaN()}, `{"n":"a float64, which JSON cannot hold"}`},
		"Channel":   {map[string]any{"c": make(chan int)}, `{"c":"a chan int, which JSON cannot hold"}`},
		"BigNumber": {map[string]any{"n": json.RawMessage(`1e131071`), "m": json.RawMessage(`1e400000`)}, `{"n":"1e131071","m":"1e400000"}`},
		"LongInt":   {map[string]any{"n": int64(math.MaxInt64)}, `{"n":9223372036854775807}`},
		"NULInside": {map[string]any{"n": json.RawMessage(`"a\u0000b"`), "s": json.RawMessage(`"\ud800"`)}, `{"n":"a b","s":"` + "\ufffd" + `"}`},
		"Broken":    {map[string]any{"n": json.RawMessage(`{"a":`)}, `{"n":"a json.RawMessage, which JSON cannot hold"}`},
		"Deep":      {map[string]any{"n": deep}, `{"n":` + strings.Repeat("[", 200) + `"bottom"` + strings.Repeat("]", 200) + `}`},
		"Many":      {many, ``},
	} {
		h.raise(alerting.Alert{Rule: "r", Subject: name, Level: level.Info, Details: c.details})
		got := h.MustText("SELECT details::text FROM alert WHERE subject = $1", name)
		if c.want == "" {
			require.LessOrEqual(t, len(got), 9<<10)
			require.Contains(t, got, `"truncated"`)
			continue
		}
		require.JSONEq(t, c.want, got, name)
	}
}

func TestAlertEvent_IsAppendOnly(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.raise(unusable(level.Error, "one"))
	for _, statement := range []string{
		"UPDATE alert_event SET reason = 'never happened'", "DELETE FROM alert_event", "TRUNCATE alert_event",
	} {
		_, err := h.Pool.Exec(t.Context(), statement)
		var refused *pgconn.PgError
		require.ErrorAs(t, err, &refused, statement)
		require.Equal(t, "42501", refused.Code)
		require.Contains(t, refused.Message, "append-only")
	}
	require.Equal(t, "1", h.MustText("SELECT count(*)::text FROM alert_event"))
}
