package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"dealbox/internal/dbsqlc"
)

const (
	heartbeatEvery = time.Minute
	// heartbeatTimeout bounds one ping, from the look-up of the name to the answer.
	heartbeatTimeout = 10 * time.Second
	// heartbeatRead bounds what is read of an answer, in bytes: only so that the
	// connection can be used again.
	heartbeatRead = 4 << 10
)

// heartbeat asks a URL each minute while this process works. Dealbox cannot tell
// anybody that it is gone itself; who misses the heartbeat can.
type heartbeat struct {
	url    Secret
	every  time.Duration
	pool   *pgxpool.Pool // of the workers: when none of its connections works, nothing does
	client *http.Client
	log    *slog.Logger
}

func newHeartbeat(url Secret, pool *pgxpool.Pool, log *slog.Logger) *heartbeat {
	return &heartbeat{
		url: url, every: heartbeatEvery, pool: pool, log: log,
		client: &http.Client{
			Timeout: heartbeatTimeout,
			// It goes where the operator said, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// run beats until ctx ends. A failure is logged when it begins and when it ends.
//
// Failure policy: nothing else follows from it. The outside notices by itself,
// and that is what a heartbeat is for.
func (h *heartbeat) run(ctx context.Context) {
	tick := time.NewTicker(h.every)
	defer tick.Stop()
	for failing := false; ; {
		err := h.beat(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			h.log.WarnContext(ctx, "no heartbeat: what waits for it will say that Dealbox is gone", "error", err)
		case err == nil && failing:
			h.log.InfoContext(ctx, "the heartbeat is back")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beat pings if this process could take and work a webhook now. Its errors never
// hold more of the URL than its host.
func (h *heartbeat) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatTimeout)
	defer cancel()
	partition, err := dbsqlc.New().HealthReady(ctx, h.pool)
	if err != nil {
		return fmt.Errorf("the database does not answer: %w", err)
	}
	if !partition {
		return errors.New("inbox_event has no partition for today")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url.Reveal(), nil)
	if err != nil {
		return errors.New("HEARTBEAT_URL cannot be used") // theirs would show it
	}
	resp, err := h.client.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %s", req.URL.Host, withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, heartbeatRead))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s answered %d", req.URL.Host, resp.StatusCode)
	}
	return nil
}

// withoutURL says what net/http met. Only errors that hold addresses at most are
// quoted: others may repeat the URL or what a stranger sent.
func withoutURL(err error) string {
	var network *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &network):
		return network.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer within " + heartbeatTimeout.String()
	}
	return "no answer that could be read"
}
