package health

import (
	"context"
	"errors"
	"sync"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/pgerr"
)

const (
	// maxCommitAge is how long a commit proves that the next one will succeed. After
	// it, whoever asks starts a probe. serve itself asks as often (app/direct.go), so an
	// idle process writes one row in this time or a little more.
	maxCommitAge = 10 * time.Second
	// probeInterval is the least time between two probes while they fail: webhooks are
	// accepted again about a second after the database takes them.
	probeInterval = time.Second
)

// Commits knows whether this process can commit a webhook now. Real deliveries say so;
// where none came lately, or the last one failed, a probe does. It is safe for
// concurrent use.
type Commits struct {
	probe func(context.Context) error

	probing sync.Mutex // held while a probe runs

	mu   sync.Mutex
	last outcome
}

// outcome is that of a commit or a probe.
type outcome struct {
	at     time.Time // zero: there was none yet
	err    error
	probed bool
}

// NewCommits makes it. Probe commits as a delivery does and leaves nothing behind.
func NewCommits(probe func(context.Context) error) *Commits { return &Commits{probe: probe} }

// Note records the outcome of a delivery's commit. A caller that went away says
// nothing about the database.
func (c *Commits) Note(err error) {
	if !errors.Is(err, context.Canceled) {
		c.note(outcome{at: time.Now(), err: err})
	}
}

func (c *Commits) note(o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = o
}

// Check returns a *NotReadyError when the last commit failed and a probe fails, too.
// It waits for a probe only then; else a probe that is due runs behind it.
func (c *Commits) Check(ctx context.Context) error {
	last := c.state()
	switch {
	case !last.at.IsZero() && last.err == nil:
		if time.Since(last.at) > maxCommitAge && c.probing.TryLock() {
			go func() {
				defer c.probing.Unlock()
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ProbeTimeout)
				defer cancel()
				c.runProbe(ctx)
			}()
		}
		return nil
	case last.probed && time.Since(last.at) < probeInterval:
		return notReady(last.err)
	}
	c.probing.Lock()
	defer c.probing.Unlock()
	if !c.state().at.After(last.at) { // else another caller has probed meanwhile
		c.runProbe(ctx)
	}
	return notReady(c.state().err)
}

func (c *Commits) state() outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// runProbe notes the outcome of one probe. The caller holds probing.
func (c *Commits) runProbe(ctx context.Context) {
	begun := time.Now()
	err := c.probe(ctx)
	last := c.state()
	if err != nil && last.err == nil && last.at.After(begun) {
		return // a delivery was committed while the probe failed
	}
	if err == nil && !last.probed && isDiskFull(last.err) && begun.Sub(last.at) < maxCommitAge {
		return // the probe is small: it fits where webhooks do not any more
	}
	c.note(outcome{at: time.Now(), err: err, probed: true})
}

// CheckReady returns a *NotReadyError when a webhook cannot be committed now. It
// does not ask Strapi: while Strapi is away, webhooks are still accepted. Nil commits
// checks what one statement shows.
func CheckReady(ctx context.Context, db dbsqlc.DBTX, commits *Commits) error {
	ready, err := dbsqlc.New().HealthReady(ctx, db)
	switch {
	case err != nil:
		return notReady(err)
	case ready.ReadOnly:
		return errReadOnly(nil)
	case !ready.PartitionExists:
		return errNoPartition()
	case commits == nil:
		return nil
	}
	return commits.Check(ctx)
}

func isDiskFull(err error) bool { return pgerr.Code(err) == "53100" }

// notReady returns what a failed commit or statement means; nil for nil.
func notReady(err error) error {
	switch code := pgerr.Code(err); {
	case err == nil:
		return nil
	case pgerr.IsReadOnly(err):
		return errReadOnly(err)
	case isDiskFull(err):
		return &NotReadyError{Code: "disk_full", Message: "Postgres has no disk space left", First: "free disk space on the database's machine, or make its disk larger", Err: err}
	case code == "53300": // too_many_connections
		return &NotReadyError{Code: "too_many_connections", Message: "Postgres accepts no more connections", First: "raise max_connections of Postgres, or lower DATABASE_MAX_CONNS", Err: err}
	case code == "55P03": // lock_not_available
		return &NotReadyError{Code: "database_locked", Message: "another session holds a lock on the tables that a webhook is stored in",
			First: "find the session: select pid, query from pg_stat_activity where pid = any(pg_blocking_pids(…)); end it with pg_terminate_backend", Err: err}
	case code == "23514": // check_violation: no partition takes the row
		return errNoPartition()
	case code == "" || pgerr.IsUnavailable(err):
		return errUnavailable(err)
	}
	return &NotReadyError{Code: "not_committed", Message: "Postgres refuses to store a webhook", First: "read the error in the log", Err: err}
}

func errUnavailable(err error) *NotReadyError {
	return &NotReadyError{Code: "database_unavailable", Message: "Postgres does not answer",
		First: "check that Postgres runs, that this machine reaches it, and what blocks it", Err: err}
}

func errReadOnly(err error) *NotReadyError {
	return &NotReadyError{Code: "database_read_only", Message: "Postgres is read-only",
		First: "after a failover, point DATABASE_URL at the new primary, or name all hosts in it; else find out why this one is read-only (SHOW transaction_read_only, pg_is_in_recovery())", Err: err}
}

func errNoPartition() *NotReadyError {
	return &NotReadyError{Code: "no_partition", Message: "the inbox has no partition for today", First: "run a worker, which makes it; its log says why it cannot"}
}
