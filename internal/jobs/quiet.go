package jobs

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// repeatAfter is how long a repeated warning of River's is left out of the log.
const repeatAfter = 30 * time.Second

// quieten returns a logger for River that leaves out repeated warnings and
// errors. While Postgres is away each of River's queues logs one five times a
// second. The next line that is logged has how many were left out.
func quieten(logger *slog.Logger) *slog.Logger {
	return slog.New(&quietHandler{next: logger.Handler(), seen: &seen{at: map[string]*repeats{}}})
}

type quietHandler struct {
	next slog.Handler
	seen *seen
}

// seen is shared by the handlers that With and WithGroup return.
type seen struct {
	mu sync.Mutex
	at map[string]*repeats // by the text of the line; River's texts are a fixed set
}

type repeats struct {
	last    time.Time
	skipped int
}

// Enabled implements slog.Handler.
func (h *quietHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *quietHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		skipped, skip := h.seen.skip(r.Message, r.Time)
		if skip {
			return nil
		}
		if skipped > 0 {
			r = r.Clone()
			r.AddAttrs(slog.Int("repeats_left_out", skipped))
		}
	}
	return h.next.Handle(ctx, r)
}

// skip reports whether a line is to be left out, and else how many were since
// the last one.
func (s *seen) skip(text string, now time.Time) (skipped int, skip bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.at[text]
	if !ok {
		s.at[text] = &repeats{last: now}
		return 0, false
	}
	if now.Sub(r.last) < repeatAfter {
		r.skipped++
		return 0, true
	}
	skipped = r.skipped
	*r = repeats{last: now}
	return skipped, false
}

// WithAttrs implements slog.Handler.
func (h *quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quietHandler{h.next.WithAttrs(attrs), h.seen}
}

// WithGroup implements slog.Handler.
func (h *quietHandler) WithGroup(name string) slog.Handler {
	return &quietHandler{h.next.WithGroup(name), h.seen}
}
