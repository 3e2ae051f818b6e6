package health

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

// prober is a database that takes commits or does not.
type prober struct {
	err    error
	probes int
}

func (p *prober) probe(context.Context) error {
	p.probes++
	return p.err
}

func TestCommits_Check(t *testing.T) {
	t.Parallel()
	full := &pgconn.PgError{Code: "53100"}
	synctest.Test(t, func(t *testing.T) {
		db := &prober{}
		c := NewCommits(db.probe)
		require.NoError(t, c.Check(t.Context()), "nothing was committed yet: a probe decides")
		require.Equal(t, 1, db.probes)

		c.Note(nil)
		db.err = full
		require.NoError(t, c.Check(t.Context()))
		require.Equal(t, 1, db.probes, "a fresh commit needs no probe")

		time.Sleep(maxCommitAge + time.Second) //nolint:forbidigo // the bubble's clock
		require.NoError(t, c.Check(t.Context()), "an old one starts a probe and does not wait for it")
		synctest.Wait()
		require.Equal(t, 2, db.probes)
		var notReady *NotReadyError
		require.ErrorAs(t, c.Check(t.Context()), &notReady)
		require.Equal(t, "disk_full", notReady.Code)
		require.Equal(t, 2, db.probes, "at most one probe a second while they fail")

		time.Sleep(probeInterval) //nolint:forbidigo // the bubble's clock
		require.Error(t, c.Check(t.Context()))
		time.Sleep(probeInterval) //nolint:forbidigo // the bubble's clock
		db.err = nil
		require.NoError(t, c.Check(t.Context()), "it works again within a second")

		c.Note(full)
		require.Error(t, c.Check(t.Context()), "a probe fits where webhooks do not any more")
		time.Sleep(maxCommitAge) //nolint:forbidigo // the bubble's clock
		require.NoError(t, c.Check(t.Context()), "no webhook has failed for long")

		c.Note(errors.New("lock timeout"))
		require.NoError(t, c.Check(t.Context()), "one delivery failed, and a probe does not")
		c.Note(full)
		c.Note(context.Canceled)
		db.err = full
		require.Error(t, c.Check(t.Context()), "a caller that went away says nothing")
		c.Note(nil)
		require.NoError(t, c.Check(t.Context()), "a delivery was committed")
	})
}

func TestNotReady_SaysWhatIsWrongAndWhatToDo(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"25006": "database_read_only", "53100": "disk_full", "53300": "too_many_connections", "55P03": "database_locked", "23514": "no_partition",
		"57014": "database_unavailable", "57P01": "database_unavailable", "42501": "not_committed",
	} {
		var e *NotReadyError
		require.ErrorAs(t, notReady(&pgconn.PgError{Code: code}), &e)
		require.Equal(t, want, e.Code)
		require.NotEmpty(t, e.First)
	}
	var e *NotReadyError
	require.ErrorAs(t, notReady(context.DeadlineExceeded), &e)
	require.Equal(t, "database_unavailable", e.Code)
	require.NoError(t, notReady(nil))
}
