package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dealbox/internal/app"
	"dealbox/internal/notify"
)

// AlertsTestCmd is `dealbox alerts test`.
type AlertsTestCmd struct {
	JSON bool `help:"Print JSON."`
}

// Help is shown by `dealbox alerts test --help`.
func (AlertsTestCmd) Help() string {
	return "Sends one message of rule 'test' through each channel that the settings name, whatever its level. " +
		"It needs no database and leaves no row. It fails if any channel does."
}

// channelTried is what came of the test of one channel.
type channelTried struct {
	Channel string  `json:"channel"`
	OK      bool    `json:"ok"`
	Error   *string `json:"error"`
	// Retry: the service would try again.
	Retry   bool    `json:"retry"`
	Seconds float64 `json:"seconds"`
}

// Run sends one message through every channel.
func (c *AlertsTestCmd) Run(ctx context.Context, a *program) error {
	config, err := app.LoadConfig(a.getenv, app.NeedListen, app.NeedAlerts)
	if err != nil {
		return err
	}
	channels, err := app.NotifyConfig(config, a.version)
	if err != nil {
		return err
	}
	if len(channels.Channels) == 0 {
		return errors.New("there is no channel: set ALERT_WEBHOOK_URL, or ALERT_EMAIL_ENABLED with its settings")
	}
	results := []channelTried{}
	failures := 0
	for _, channel := range channels.Channels {
		result := try(ctx, channel, channels.PublicURL)
		if !result.OK {
			failures++
		}
		results = append(results, result)
	}
	if c.JSON {
		err = printJSON(a.stdout, map[string][]channelTried{"channels": results})
	} else {
		a.printTried(results)
	}
	if err == nil && failures > 0 {
		return fmt.Errorf("%d of %d channels failed", failures, len(results))
	}
	return err
}

func try(ctx context.Context, channel notify.Channel, publicURL string) channelTried {
	begun := time.Now()
	now := begun.UTC().Truncate(time.Second)
	retry, err := channel.Notify(ctx, notify.Message{
		// Ids of real notifications count from 1, so a time in microseconds is none of them.
		ID: begun.UnixMicro(), Channel: channel.Name, Reason: notify.First, Sequence: 1, Notice: 1, At: now, URL: publicURL,
		Alert: notify.Alert{
			Rule: "test", Level: "info", Status: "firing", Occurrences: 1, FirstSeen: now, LastSeen: now, Details: []byte("{}"),
			Message: "This is a test, sent by " + app.Operator() + ". Nothing is wrong.",
		},
	})
	result := channelTried{Channel: channel.Name, OK: err == nil, Retry: retry, Seconds: time.Since(begun).Seconds()}
	if err != nil {
		text := printable(err.Error())
		result.Error = &text
	}
	return result
}

func (a *program) printTried(results []channelTried) {
	for _, r := range results {
		switch {
		case r.OK:
			fmt.Fprintf(a.stdout, "ok    %s took it\n", r.Channel)
		case r.Retry:
			fmt.Fprintf(a.stdout, "fail  %s: %s (the service would try again)\n", r.Channel, *r.Error)
		default:
			fmt.Fprintf(a.stdout, "fail  %s: %s\n", r.Channel, *r.Error)
		}
	}
}
