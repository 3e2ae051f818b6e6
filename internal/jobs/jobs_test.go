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
	due := func(at *time.Time) time.Duration {
		p := &rivertype.JobInsertParams{ScheduledAt: at}
		require.NoError(t, backdate{clock}.InsertBegin(t.Context(), p))
		return time.Until(*p.ScheduledAt)
	}
	require.InDelta(t, -1, due(nil).Seconds(), 0.1, "due now is due a little earlier")
	clock.Set(5 * time.Second)
	require.InDelta(t, -6, due(nil).Seconds(), 0.1, "and by as much as this clock is ahead of the database's")
	clock.Set(-5 * time.Second)
	require.InDelta(t, -1, due(nil).Seconds(), 0.1)
	later := time.Now().Add(time.Hour)
	require.InDelta(t, 3600, due(&later).Seconds(), 0.1, "what is due later stays")
}
