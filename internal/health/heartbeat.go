package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"dealbox/internal/dbsqlc"
	"dealbox/internal/httpclient"
)

const (
	defaultHeartbeatInterval = time.Minute
	defaultHeartbeatTimeout  = 10 * time.Second
	// maxHeartbeatAnswer bounds what is read of an answer, in bytes. It is read only so
	// that the connection can be used again.
	maxHeartbeatAnswer = 4 << 10
)

// HeartbeatConfig is what a Heartbeat needs.
type HeartbeatConfig struct {
	// URL is HEARTBEAT_URL. Its path is a secret: errors and logs show the host alone.
	URL string
	// DB is the pool of the workers: when none of its connections works, nothing does.
	DB dbsqlc.DBTX
	// Commits knows whether webhooks can be committed.
	Commits *Commits
	// Interval is the time between two requests (default 1 min).
	Interval time.Duration
	// Timeout bounds one heartbeat, from the check of the database to the answer
	// (default 10 s).
	Timeout time.Duration
	Logger  *slog.Logger
}

// Heartbeat requests a URL each minute while this process works. Dealbox cannot
// report that it is down itself; a monitor that misses the heartbeat can.
type Heartbeat struct {
	config HeartbeatConfig
	client *http.Client
}

// NewHeartbeat sends nothing yet.
func NewHeartbeat(config HeartbeatConfig) *Heartbeat {
	config.Interval = cmp.Or(config.Interval, defaultHeartbeatInterval)
	config.Timeout = cmp.Or(config.Timeout, defaultHeartbeatTimeout)
	return &Heartbeat{config: config, client: httpclient.New(nil)}
}

// Run sends heartbeats until ctx ends. It logs a failure when it begins and when
// it ends.
//
// Failure policy: it does nothing else about a failure. The monitor notices the
// silence, and that is what a heartbeat is for.
func (h *Heartbeat) Run(ctx context.Context) {
	tick := time.NewTicker(h.config.Interval)
	defer tick.Stop()
	for failing := false; ; {
		err := h.Send(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			h.config.Logger.WarnContext(ctx, "heartbeat failed; the monitor at HEARTBEAT_URL will report Dealbox as down", "error", err)
		case err == nil && failing:
			h.config.Logger.InfoContext(ctx, "heartbeat works again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Send requests the URL once, if this process could commit a webhook now. Its
// errors hold no more of the URL than its host.
func (h *Heartbeat) Send(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	if err := CheckReady(ctx, h.config.DB, h.config.Commits); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, h.config.URL, nil)
	if err != nil {
		return errors.New("HEARTBEAT_URL cannot be used") // the cause would show the URL
	}
	response, err := h.client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %s", request.URL.Host, h.withoutURL(err))
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxHeartbeatAnswer))
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("%s answered %d", request.URL.Host, response.StatusCode)
	}
	return nil
}

// withoutURL returns the text of an error of net/http. It quotes only errors that
// hold nothing but addresses: others may repeat the URL or what a stranger sent.
func (h *Heartbeat) withoutURL(err error) string {
	var network *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &network):
		return network.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer within " + h.config.Timeout.String()
	}
	return "no answer that could be read"
}
