package app

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/notify"
)

// recordingChannel keeps what it is given.
type recordingChannel struct {
	mu  sync.Mutex
	got []string // "first firing clock_skew"
}

func (c *recordingChannel) notify(_ context.Context, m notify.Message) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, string(m.Reason)+" "+m.Alert.Status+" "+m.Alert.Rule)
	return false, nil
}

func TestDirectNotifier(t *testing.T) {
	t.Parallel()
	loud, calm := &recordingChannel{}, &recordingChannel{}
	d := newDirectNotifier(notify.Config{Channels: []notify.Channel{
		{Name: notify.ChannelWebhook, Floor: level.Critical, Notify: loud.notify},
		{Name: notify.ChannelEmail, Floor: level.Error, Receivers: []string{"a@example.com", "b@example.com"}, Notify: calm.notify},
	}}, time.Hour, slog.New(slog.DiscardHandler))
	alert := alerting.Alert{Rule: alerting.RuleClockSkew, Subject: "host-1", Level: level.Critical, Message: "an hour off"}
	d.resolve(t.Context(), alert)
	require.Empty(t, loud.got, "nobody was notified that it began")
	for range 3 {
		d.fire(t.Context(), alert)
	}
	require.Equal(t, []string{"first firing clock_skew"}, loud.got, "once in the interval")
	require.Len(t, calm.got, 2, "each mailbox")
	d.resolve(t.Context(), alert)
	require.Equal(t, "resolved resolved clock_skew", loud.got[1])
	alert.Level = level.Error
	d.fire(t.Context(), alert)
	require.Len(t, loud.got, 2, "the channel's level is critical")
	require.Len(t, calm.got, 6)
}
