package jobs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riverqueue/river/rivertype"
	"github.com/stretchr/testify/require"
)

func TestQuieten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := quieten(slog.New(slog.NewTextHandler(&out, nil))).With("queue", "sync")
		for range 100 {
			log.Error("cannot fetch jobs")
			log.Info("job done")
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the clock is simulated
		}
		require.Equal(t, 1, strings.Count(out.String(), "cannot fetch jobs"))
		require.Equal(t, 100, strings.Count(out.String(), "job done"), "only warnings and errors are left out")
		time.Sleep(repeatAfter) //nolint:forbidigo // the clock is simulated
		log.Error("cannot fetch jobs")
		require.Contains(t, out.String(), "queue=sync repeats_left_out=99")
	})
}

func TestBackdate(t *testing.T) {
	t.Parallel()
	clock := &Clock{}
	insert := func(at *time.Time) time.Time {
		p := &rivertype.JobInsertParams{ScheduledAt: at}
		require.NoError(t, backdate{clock}.InsertBegin(t.Context(), p))
		return *p.ScheduledAt
	}
	requireEarlier := func(by time.Duration, why string) {
		before := time.Now()
		require.WithinRange(t, insert(nil), before.Add(-by), time.Now().Add(-by), why)
	}
	requireEarlier(time.Second, "due now is due a little earlier")
	clock.Set(5 * time.Second)
	requireEarlier(6*time.Second, "and by as much as this clock is ahead of the database's")
	clock.Set(-5 * time.Second)
	requireEarlier(time.Second, "")
	later := time.Now().Add(time.Hour)
	require.Equal(t, later, insert(&later), "what is due later stays")
	clock.Set(time.Hour)
	theirs := time.Now().Add(-time.Hour + 30*time.Second)
	require.Equal(t, theirs, insert(&theirs), "also what is due later by the database's clock alone, as a first notice is")
}
