package health

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
)

const (
	clockInterval = 30 * time.Second // between two measurements
	// clockStreak is how many measurements in a row raise the alert, or resolve it: one
	// slow answer of the database looks like skew.
	clockStreak = 2
)

// ClockConfig is what a ClockWatch needs.
type ClockConfig struct {
	// Host is this machine's name. An alert names it, because another machine's clock
	// may be right.
	Host string
	Pool *pgxpool.Pool
	// Clock is corrected after each measurement; River's schedules use it.
	Clock *jobs.Clock
	// Raise and Resolve change the alert about this machine's clock.
	Raise   func(ctx context.Context, tx pgx.Tx, alert SkewAlert) error
	Resolve func(ctx context.Context, tx pgx.Tx, host, reason string) error
	// Stopped is called at each measurement that keeps workers from starting, once the
	// alert is raised: a notification is a job, and no worker may be there to send it.
	Stopped func(ctx context.Context, alert SkewAlert)
	// Interval is the time between two measurements (default 30 s).
	Interval time.Duration
	Logger   *slog.Logger
}

// SkewAlert is an alert about the clock of one machine.
type SkewAlert struct {
	Host  string
	Level level.Level
	Ahead time.Duration // negative: behind the database's
}

// ClockWatch measures how far this machine's clock is from the database's.
type ClockWatch struct {
	config    ClockConfig
	bad, good int // measurements in a row; one of the two is 0
}

// NewClockWatch measures nothing yet.
func NewClockWatch(config ClockConfig) *ClockWatch {
	config.Interval = cmp.Or(config.Interval, clockInterval)
	return &ClockWatch{config: config}
}

// WaitForWorkers returns once the clocks are close enough to start workers.
func (w *ClockWatch) WaitForWorkers(ctx context.Context) error {
	for {
		skew, err := w.measure(ctx)
		switch {
		case err != nil:
			w.config.Logger.WarnContext(ctx, "workers do not start yet: the clock skew could not be measured", "error", err)
		case skew.abs() > MaxWorkerClockSkew:
			w.config.Logger.ErrorContext(ctx, "workers do not start: this machine's clock and the database's differ too much; set both by NTP",
				"skew", skew.String(), "limit", MaxWorkerClockSkew.String())
			if w.bad >= clockStreak {
				w.config.Stopped(ctx, skewAlert(w.config.Host, skew))
			}
		default:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the clocks to agree: %w", ctx.Err())
		case <-time.After(w.config.Interval):
		}
	}
}

// Run measures until ctx ends.
func (w *ClockWatch) Run(ctx context.Context) {
	tick := time.NewTicker(w.config.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// A database that is away shows in readiness; nothing is measured meanwhile.
			if _, err := w.measure(ctx); err != nil {
				w.config.Logger.DebugContext(ctx, "the clock skew could not be measured", "error", err)
			}
		}
	}
}

// measure corrects the clock of the jobs, and raises or resolves the alert.
func (w *ClockWatch) measure(ctx context.Context) (Skew, error) {
	skew, _, err := MeasureClock(ctx, w.config.Pool)
	if err != nil {
		return 0, err
	}
	w.config.Clock.Set(time.Duration(skew))
	if skew.abs() > MaxClockSkew {
		w.bad, w.good = w.bad+1, 0
	} else {
		w.bad, w.good = 0, w.good+1
	}
	switch {
	case w.bad >= clockStreak:
		err = pgx.BeginFunc(ctx, w.config.Pool, func(tx pgx.Tx) error { return w.config.Raise(ctx, tx, skewAlert(w.config.Host, skew)) })
	case w.good >= clockStreak:
		err = pgx.BeginFunc(ctx, w.config.Pool, func(tx pgx.Tx) error {
			return w.config.Resolve(ctx, tx, w.config.Host, "the clocks agree again")
		})
	}
	return skew, err
}

// MeasureClock returns how far this machine's clock is ahead of the database's, and
// how long a round trip took. The skew is right to half a round trip; the shortest
// of three counts.
func MeasureClock(ctx context.Context, db dbsqlc.DBTX) (skew Skew, roundTrip time.Duration, err error) {
	for i := range 3 {
		before := time.Now()
		theirs, err := dbsqlc.New().HealthClock(ctx, db)
		if err != nil {
			return 0, 0, fmt.Errorf("read the database's clock: %w", err)
		}
		took := time.Since(before)
		if i == 0 || took < roundTrip {
			// Round(0) leaves the monotonic clock out: this is about wall clocks.
			skew, roundTrip = Skew(before.Round(0).Add(took/2).Sub(theirs)), took
		}
	}
	return skew, roundTrip, nil
}

func skewAlert(host string, skew Skew) SkewAlert {
	alert := SkewAlert{Host: host, Level: level.Warning, Ahead: time.Duration(skew)}
	if skew.abs() > MaxWorkerClockSkew {
		alert.Level = level.Critical
	}
	return alert
}

// Skew is how far one clock is ahead of another; negative when it is behind.
type Skew time.Duration

// String returns text such as "3 s ahead" or "1m30s behind".
func (s Skew) String() string {
	d := s.abs().Round(time.Millisecond)
	text := d.String()
	if d < time.Minute {
		text = strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + " s"
	}
	if s < 0 {
		return text + " behind"
	}
	return text + " ahead"
}

func (s Skew) abs() time.Duration { return time.Duration(s).Abs() }
