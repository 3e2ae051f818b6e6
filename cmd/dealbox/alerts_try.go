package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dealbox/internal/notify"
)

// AlertsTestCmd is `dealbox alerts test`.
type AlertsTestCmd struct {
	JSON bool `help:"Print JSON."`
}

// Help is shown by `dealbox alerts test --help`.
func (AlertsTestCmd) Help() string {
	return "Sends one notification of rule 'test' to each receiver that the settings name, whatever its channel's level. " +
		"It needs no database and leaves no row. It fails if any receiver does not take it."
}

// channelTried is the result of the test of one receiver.
type channelTried struct {
	Channel string `json:"channel"`
	// Receiver is the address of the mailbox; "" for the webhook.
	Receiver string  `json:"receiver"`
	OK       bool    `json:"ok"`
	Error    *string `json:"error"`
	// Retry: the service would try again.
	Retry   bool    `json:"retry"`
	Seconds float64 `json:"seconds"`
}

// Run sends one notification to every receiver.
func (c *AlertsTestCmd) Run(ctx context.Context, a *app) error {
	config, err := loadConfig(a.getenv, needListen, needAlerts)
	if err != nil {
		return err
	}
	channels, err := notifyConfig(config, a.version)
	if err != nil {
		return err
	}
	if len(channels.Channels) == 0 {
		return errors.New("there is no channel: set ALERT_WEBHOOK_URL, or ALERT_EMAIL_ENABLED with its settings")
	}
	results := []channelTried{}
	failures := 0
	for _, channel := range channels.Channels {
		for _, receiver := range channel.AllReceivers() {
			result := try(ctx, channel, receiver, channels.PublicURL)
			if !result.OK {
				failures++
			}
			results = append(results, result)
		}
	}
	if c.JSON {
		err = printJSON(a.stdout, map[string][]channelTried{"channels": results})
	} else {
		a.printTried(results)
	}
	if err == nil && failures > 0 {
		return fmt.Errorf("%d of %d receivers failed", failures, len(results))
	}
	return err
}

func try(ctx context.Context, channel notify.Channel, receiver, publicURL string) channelTried {
	begun := time.Now()
	now := begun.UTC().Truncate(time.Second)
	retry, err := channel.Notify(ctx, notify.Message{
		// Ids of real notifications count from 1, so a time in microseconds is none of them.
		ID: begun.UnixMicro(), Channel: channel.Name, Receiver: receiver, Reason: notify.First, Sequence: 1, Notice: 1, At: now, URL: publicURL,
		Alert: notify.Alert{
			Rule: "test", Level: "info", Status: "firing", Occurrences: 1, FirstSeen: now, LastSeen: now, Details: []byte("{}"),
			Message: "This is a test, sent by " + operator() + ". Nothing is wrong.",
		},
	})
	result := channelTried{Channel: channel.Name, Receiver: receiver, OK: err == nil, Retry: retry, Seconds: time.Since(begun).Seconds()}
	if err != nil {
		text := printable(err.Error())
		result.Error = &text
	}
	return result
}

func (a *app) printTried(results []channelTried) {
	for _, r := range results {
		who := strings.TrimSpace(r.Channel + " " + r.Receiver)
		switch {
		case r.OK:
			fmt.Fprintf(a.stdout, "ok    %s took it\n", who)
		case r.Retry:
			fmt.Fprintf(a.stdout, "fail  %s: %s (the service would try again)\n", who, *r.Error)
		default:
			fmt.Fprintf(a.stdout, "fail  %s: %s\n", who, *r.Error)
		}
	}
}
