package alerting_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
)

// Whatever is done at once, by whatever road, the counts are those of the rows.
func TestSummarize_IsExact(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range 20 {
				err := pgx.BeginFunc(t.Context(), h.Pool, func(tx pgx.Tx) error {
					if _, err := h.Raise(t.Context(), tx, alerting.Alert{
						Rule: fmt.Sprintf("r%d", i%3), Subject: fmt.Sprint(w, i/2), Level: level.All()[(w+i)%4],
					}); err != nil || i%3 != 0 {
						return err
					}
					_, err := h.Resolve(t.Context(), tx, fmt.Sprintf("r%d", i%3), fmt.Sprint(w, i/2), "")
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if i%7 == 0 {
					h.review()
				}
			}
		})
	}
	group.Wait()
	exact := `SELECT string_agg(concat_ws(' ', rule, level, status, n), ', ' ORDER BY rule, level, status) FROM (%s) x`
	same := func() {
		require.Equal(t,
			h.MustText(fmt.Sprintf(exact, `SELECT rule, level, status, count(*) AS n FROM alert GROUP BY 1, 2, 3`)),
			h.MustText(fmt.Sprintf(exact, `SELECT rule, level, status, sum(episodes) AS n FROM alert_tally GROUP BY 1, 2, 3 HAVING sum(episodes) <> 0`)))
	}
	same()
	h.MustExec(`SET dealbox.retention = 'on'; DELETE FROM alert WHERE id % 5 = 0; RESET dealbox.retention`) // as retention does
	same()
	h.review()
	same()
	s, err := alerting.Summarize(t.Context(), h.Pool)
	require.NoError(t, err)
	require.Equal(t, h.MustText(`SELECT count(*)::text FROM alert`), fmt.Sprint(s.Total))
	require.Equal(t, s.Total, s.ByRule["r0"]+s.ByRule["r1"]+s.ByRule["r2"])
	require.Equal(t, "true", h.MustText(`SELECT (count(*) = count(DISTINCT (rule, level, status)))::text FROM alert_tally`), "folded")
}

func TestReviewWindow(t *testing.T) {
	t.Parallel()
	h := newEnv(t, alerting.Config{})
	id := h.raise(unusable(level.Error, "m"))
	h.raise(unusable(level.Error, "m"))
	h.MustExec(`UPDATE alert SET first_seen = first_seen - interval '90 s'`)
	h.resolve(alerting.RuleStrapiUnusable, "billings")
	h.raise(alerting.Alert{Rule: "other", Level: level.Critical})
	h.silence(alerting.NewSilence{Rule: alerting.EveryRule, ExpiresAt: in(time.Hour)})
	for _, kind := range []string{"notified", "notified", "notification_failed"} {
		h.MustExec(`INSERT INTO alert_event (alert_id, kind, level, actor) VALUES ($1, $2, 'error', 'dealbox')`, id, kind)
	}
	for range 2 { // folding changes nothing
		r, err := alerting.ReviewWindow(t.Context(), h.Pool, time.Time{}, time.Time{})
		require.NoError(t, err)
		require.Equal(t, alerting.Outcomes{Sent: 2, Failed: 1, Suppressed: 1}, r.Notifications)
		require.Equal(t, int64(1), r.TimeToResolve.Resolved)
		require.GreaterOrEqual(t, *r.TimeToResolve.MeanSeconds, 90.0)
		require.InDelta(t, *r.TimeToResolve.MeanSeconds, *r.TimeToResolve.LongestSeconds, 0.001)
		var raised int64
		for _, h := range r.ByHour {
			raised += h.Raised
		}
		require.Equal(t, int64(2), raised)
		h.review()
	}
	r, err := alerting.ReviewWindow(t.Context(), h.Pool, time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour))
	require.NoError(t, err)
	require.Empty(t, r.ByHour)
	require.Nil(t, r.TimeToResolve.MeanSeconds)
	for _, span := range [][2]time.Time{{time.Now(), time.Now().Add(-time.Hour)}, {time.Now().Add(-32 * 24 * time.Hour), {}}} {
		_, err := alerting.ReviewWindow(t.Context(), h.Pool, span[0], span[1])
		var wrong *alerting.FieldError
		require.ErrorAs(t, err, &wrong)
		require.Equal(t, "since", wrong.Field)
	}
}
