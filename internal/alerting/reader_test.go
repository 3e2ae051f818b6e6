package alerting_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

// stocked has 40 episodes: every level and status, two rules, and ten that
// share each last_seen, a minute apart.
func stocked(t *testing.T) env {
	t.Helper()
	h := newEnv(t, alerting.Config{})
	h.MustExec(`INSERT INTO alert (fingerprint, rule, level, status, message, first_seen, last_seen, resolved_at)
		SELECT 'v1:' || i, CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END,
		       (ARRAY['info', 'warning', 'error', 'critical'])[1 + i % 4],
		       (ARRAY['firing', 'acknowledged', 'resolved', 'suppressed', 'firing'])[1 + i % 5], 'm',
		       seen, seen, CASE WHEN i % 5 = 2 THEN seen END
		FROM generate_series(0, 39) i, LATERAL (SELECT timestamptz '2026-11-24 05:00Z' + (i / 10) * interval '1 minute' AS seen) s`)
	return h
}

// ids lists every id that a filter finds, page by page.
func (h env) ids(f alerting.Filter) (ids []int64) {
	h.T.Helper()
	for {
		page, err := alerting.List(h.T.Context(), h.Pool, f)
		require.NoError(h.T, err)
		for _, e := range page.Episodes {
			ids = append(ids, e.ID)
		}
		if page.NextCursor == "" {
			return ids
		}
		require.Len(h.T, page.Episodes, f.Limit)
		f.Cursor = page.NextCursor
	}
}

// want lists the ids that a condition in SQL finds.
func (h env) want(where string) []int64 {
	h.T.Helper()
	rows, err := h.Pool.Query(h.T.Context(), "SELECT id FROM alert WHERE "+where+" ORDER BY last_seen DESC, id DESC")
	require.NoError(h.T, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(h.T, err)
	return ids
}

func TestList(t *testing.T) {
	t.Parallel()
	h := stocked(t)
	at := func(minute int) time.Time { return time.Date(2026, 11, 24, 5, minute, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		filter alerting.Filter
		where  string
	}{
		"All":           {alerting.Filter{}, "true"},
		"Level":         {alerting.Filter{Levels: []level.Level{level.Error}}, "level = 'error'"},
		"Levels":        {alerting.Filter{Levels: []level.Level{level.Info, level.Critical}}, "level IN ('info', 'critical')"},
		"MinLevel":      {alerting.Filter{MinLevel: level.Error}, "level IN ('error', 'critical')"},
		"LevelAndMin":   {alerting.Filter{Levels: []level.Level{level.Info}, MinLevel: level.Error}, "false"},
		"Status":        {alerting.Filter{Statuses: []alerting.Status{alerting.Firing, alerting.Acknowledged}}, "status IN ('firing', 'acknowledged')"},
		"Rule":          {alerting.Filter{Rule: "odd"}, "rule = 'odd'"},
		"NoneOfRule":    {alerting.Filter{Rule: alerting.RuleLostWebhooks}, "false"},
		"Since":         {alerting.Filter{Since: at(2)}, "last_seen >= '2026-11-24 05:02Z'"},
		"Until":         {alerting.Filter{Until: at(2)}, "last_seen < '2026-11-24 05:02Z'"},
		"SinceUntil":    {alerting.Filter{Since: at(1), Until: at(2)}, "last_seen = '2026-11-24 05:01Z'"},
		"Nothing":       {alerting.Filter{Since: at(1), Until: at(1)}, "false"},
		"AllOfThem":     {alerting.Filter{Levels: level.All(), Statuses: alerting.Statuses(), MinLevel: level.Info, Rule: "even"}, "rule = 'even'"},
		"RuleAndStatus": {alerting.Filter{Rule: "even", Statuses: []alerting.Status{alerting.Resolved}}, "rule = 'even' AND status = 'resolved'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, limit := range []int{1, 3, 10, 40, 1000} {
				c.filter.Limit = limit
				require.Equal(t, h.want(c.where), append([]int64{}, h.ids(c.filter)...), "limit %d", limit)
			}
		})
	}
	page, err := alerting.List(t.Context(), h.Pool, alerting.Filter{})
	require.NoError(t, err)
	require.Len(t, page.Episodes, 10, "the default limit")
}

func TestList_RefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, c := range map[string]struct {
		filter alerting.Filter
		field  string
	}{
		"Negative":        {alerting.Filter{Limit: -1}, "limit"},
		"TooMany":         {alerting.Filter{Limit: 1001}, "limit"},
		"RuleWithNUL":     {alerting.Filter{Rule: "a\x00"}, "rule"},
		"RuleNotUTF8":     {alerting.Filter{Rule: "\xff"}, "rule"},
		"CursorNoBase64":  {alerting.Filter{Cursor: "%%%"}, "cursor"},
		"CursorEmpty":     {alerting.Filter{Cursor: encode(".")}, "cursor"},
		"CursorNoID":      {alerting.Filter{Cursor: encode("1")}, "cursor"},
		"CursorZeroID":    {alerting.Filter{Cursor: encode("1.0")}, "cursor"},
		"CursorFarAway":   {alerting.Filter{Cursor: encode("9223372036854775807.1")}, "cursor"},
		"CursorNegative":  {alerting.Filter{Cursor: encode("-1.1")}, "cursor"},
		"CursorThreePart": {alerting.Filter{Cursor: encode("1.1.1")}, "cursor"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := alerting.List(t.Context(), nil, c.filter)
			var wrong *alerting.FieldError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, c.field, wrong.Field)
		})
	}
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	h := stocked(t)
	s, err := alerting.Summarize(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Equal(t, int64(40), s.Total)
	require.Equal(t, map[level.Level]int64{level.Info: 10, level.Warning: 10, level.Error: 10, level.Critical: 10}, s.ByLevel)
	require.Equal(t, map[alerting.Status]int64{alerting.Firing: 16, alerting.Acknowledged: 8, alerting.Resolved: 8, alerting.Suppressed: 8}, s.ByStatus)
	var recent []int64
	for _, e := range s.Recent {
		recent = append(recent, e.ID)
	}
	require.Equal(t, h.want("true")[:5], recent)
}

func TestSummarize_Empty(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	s, err := alerting.Summarize(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Zero(t, s.Total)
	require.Empty(t, s.Recent)
	levels, err := json.Marshal(s.ByLevel)
	require.NoError(t, err)
	require.JSONEq(t, `{"info":0,"warning":0,"error":0,"critical":0}`, string(levels))
	statuses, err := json.Marshal(s.ByStatus)
	require.NoError(t, err)
	require.JSONEq(t, `{"firing":0,"acknowledged":0,"resolved":0,"suppressed":0}`, string(statuses))
}

// Readers take any connection: a transaction here.
func TestSummarize_InATransaction(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	h.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := h.Raise(ctx, tx, unusable(level.Error, "one"))
		require.NoError(t, err)
		s, err := alerting.Summarize(ctx, tx)
		require.Equal(t, int64(1), s.Total)
		return err
	})
}
