package app

import (
	"context"
	"errors"
	"time"

	"dealbox/internal/notify"
	"dealbox/internal/operator"
)

// ChannelTest is the result of a test of one receiver of a channel.
type ChannelTest struct {
	Channel string `json:"channel"`
	// Receiver is the address of the mailbox; "" for the webhook.
	Receiver string  `json:"receiver"`
	OK       bool    `json:"ok"`
	Error    *string `json:"error"` // nil when OK
	// Retry reports whether the service would try again.
	Retry   bool    `json:"retry"`
	Seconds float64 `json:"seconds"`
}

// TestChannels sends one notification of rule 'test' to each receiver that the
// settings name, whatever the channel's level. It needs no database. Where
// DATABASE_URL is set and can be reached, it records who did it.
func TestChannels(ctx context.Context, getenv func(string) string, version string) ([]ChannelTest, error) {
	config, err := LoadConfig(getenv, NeedListen, NeedAlerts)
	if err != nil {
		return nil, err
	}
	channels, err := NotifyConfig(config, version)
	if err != nil {
		return nil, err
	}
	if len(channels.Channels) == 0 {
		return nil, errors.New("there is no channel: set ALERT_WEBHOOK_URL, or ALERT_EMAIL_ENABLED with its settings")
	}
	tests := make([]ChannelTest, 0, len(channels.Channels))
	for _, channel := range channels.Channels {
		for _, receiver := range channel.AllReceivers() {
			tests = append(tests, testChannel(ctx, channel, receiver, channels))
		}
	}
	recordTest(ctx, getenv, tests)
	return tests, nil
}

// recordTest records a test.
//
// Failure policy: open. The channels must be testable while the database is away, and
// the notification itself names the operator.
func recordTest(ctx context.Context, getenv func(string) string, tests []ChannelTest) {
	if getenv("DATABASE_URL") == "" {
		return
	}
	o, err := OpenOperations(ctx, getenv)
	if err != nil {
		return
	}
	defer o.Close()
	_ = operator.Record(ctx, o.Pool, Operator(), operator.TestAlert, map[string]any{"channels": tests})
}

func testChannel(ctx context.Context, channel notify.Channel, receiver string, config notify.Config) ChannelTest {
	begun := time.Now()
	now := begun.UTC().Truncate(time.Second)
	retry, err := channel.Notify(ctx, notify.Message{
		// Ids of real notifications count from 1, so a time in microseconds is none of them.
		ID: begun.UnixMicro(), Channel: channel.Name, Receiver: receiver, Reason: notify.First, Sequence: 1, Notice: 1, At: now, URL: config.PublicURL, Instance: config.Instance,
		Alert: notify.Alert{
			Rule: "test", Level: "info", Status: "firing", Occurrences: 1, FirstSeen: now, LastSeen: now, Details: []byte("{}"),
			Message: "This is a test of the channel " + channel.Name + ", sent by " + Operator() + ". Nothing is wrong, and nothing is to be done",
		},
	})
	test := ChannelTest{Channel: channel.Name, Receiver: receiver, OK: err == nil, Retry: retry, Seconds: time.Since(begun).Seconds()}
	if err != nil {
		text := err.Error()
		test.Error = &text
	}
	return test
}
