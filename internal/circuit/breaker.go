// Package circuit is a circuit breaker over one table row that all replicas
// share. Consecutive failures open it; while it is open nobody calls; after
// the recovery timeout one probe over all replicas decides whether it closes.
//
// Every transition is one conditional UPDATE that raises the generation and
// uses the database's clock. Its history row and Config.OnTransition belong to
// the same transaction. No lock and no transaction is held across a call.
package circuit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/text"
)

// ErrOpen is what a caller returns that made no call because of the breaker.
var ErrOpen = errors.New("circuit breaker is open")

// Config of a Breaker. Zero values take the defaults.
type Config struct {
	// Name of the row in circuit_breaker. Default "strapi".
	Name string
	// FailureThreshold is how many failures in a row open it, over all
	// replicas. Default 5.
	FailureThreshold int
	// RecoveryTimeout is how long it stays open before a probe. Default 60 s.
	RecoveryTimeout time.Duration
	// ProbeLease is how long one replica owns the probe; past it the replica
	// is taken for dead and another probes. The probe itself gets three
	// quarters of it, so make it more than 4/3 of a request's timeout.
	// Default 20 s.
	ProbeLease time.Duration
	// Holder names this replica in the lease. It is only read by people: the
	// generation tells whose result counts. Default "<host>:<pid>".
	Holder string
	// WriteTimeout bounds one transaction, also where the caller's context does
	// not: a half-open connection to Postgres never answers. Default 5 s.
	WriteTimeout time.Duration
	// Logger gets each transition once, from the replica that made it.
	// Default slog.Default().
	Logger *slog.Logger
	// OnTransition runs in the transaction of each transition. Its error rolls
	// the transition back. It may run again when the database asks for the
	// transaction to be repeated. Default: nothing.
	OnTransition func(ctx context.Context, tx pgx.Tx, t Transition) error
}

// store is what a Breaker needs of the database: *pgxpool.Pool has it. The
// simulation puts its own connection here.
type store interface {
	dbsqlc.DBTX
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Breaker is this replica's view of the shared row. It keeps no state of its
// own, so any number of them agree. Safe for concurrent use.
type Breaker struct {
	pool   store
	config Config
}

// Name returns the name of the breaker's row in circuit_breaker.
func (b *Breaker) Name() string { return b.config.Name }

// New makes a Breaker. It does not touch the database.
func New(pool store, config Config) *Breaker {
	if config.Name == "" {
		config.Name = "strapi"
	}
	if config.FailureThreshold <= 0 {
		config.FailureThreshold = 5
	}
	if config.RecoveryTimeout <= 0 {
		config.RecoveryTimeout = time.Minute
	}
	if config.ProbeLease <= 0 {
		config.ProbeLease = 20 * time.Second
	}
	if config.Holder == "" {
		host, _ := os.Hostname()
		config.Holder = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	config.Holder = text.Line(config.Holder, maxText)
	if config.WriteTimeout <= 0 {
		config.WriteTimeout = 5 * time.Second
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return &Breaker{pool: pool, config: config}
}

// Snapshot is the row as it was at one moment.
type Snapshot struct {
	State State
	// Forced: an operator holds the state until a reset.
	Forced bool
	// FailureCount counts the run of failures; while not closed it is the
	// count that opened it.
	FailureCount int
	LastError    string     // empty when there was none since the last success
	OpenedAt     *time.Time // start of the outage; nil when closed
	RetryAt      *time.Time // when a probe is let through; only while open and not forced
	// RetryIn is the time until a probe may be made, by the database's clock:
	// open, until RetryAt; half open, until the prober's lease ends; else 0.
	// Prefer it to RetryAt for waiting: this machine's clock may be off.
	RetryIn time.Duration
	// Generation counts the transitions.
	Generation int64
	// ChangedAt is when this state began, ChangedBy who made it so and Reason why: of
	// a forced state the operator and what he wrote. All are zero before the first
	// transition.
	ChangedAt         time.Time
	ChangedBy, Reason string
}

// Err returns nil when calls may be made, else an error that wraps ErrOpen and
// tells when a probe is due.
func (s Snapshot) Err() error {
	switch {
	case s.State == Closed, s.State == "": // the zero Snapshot lets calls through
		return nil
	case s.Forced:
		return fmt.Errorf("%w: forced by %s", ErrOpen, s.forcedBy())
	case s.State == HalfOpen:
		return fmt.Errorf("%w: a probe is under way", ErrOpen)
	}
	return fmt.Errorf("%w: the next probe is due in %s", ErrOpen, s.RetryIn.Round(time.Second))
}

// forcedBy names the operator; EntityBegin does not read who it is.
func (s Snapshot) forcedBy() string {
	if s.ChangedBy == "" {
		return "an operator"
	}
	return s.ChangedBy
}

// Snapshot reads the row through db: a pool, a connection or a transaction.
func (b *Breaker) Snapshot(ctx context.Context, db dbsqlc.DBTX) (Snapshot, error) {
	got, err := dbsqlc.New().CircuitBreakerGet(ctx, db, b.config.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return Snapshot{}, fmt.Errorf("circuit breaker %q has no row in circuit_breaker", b.config.Name)
	}
	if err != nil {
		return Snapshot{}, fmt.Errorf("read circuit breaker %q: %w", b.config.Name, err)
	}
	row := got.CircuitBreaker
	s := Snapshot{
		State: State(row.State), Forced: row.Forced, Generation: row.Generation,
		FailureCount: int(row.FailureCount), LastError: deref(row.LastError),
		OpenedAt: row.OpenedAt, RetryAt: row.RetryAt,
		RetryIn: time.Duration(got.RetryIn * float64(time.Second)),
	}
	if row.Generation > 0 {
		s.ChangedAt, s.ChangedBy, s.Reason = row.ChangedAt, got.Actor, got.Reason
	}
	return s, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
