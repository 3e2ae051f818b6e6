package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/app"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
)

func (d *desk) raise(a alerting.Alert) {
	d.T.Helper()
	inserter, err := jobs.NewInserter(d.Pool, nil, nil)
	require.NoError(d.T, err)
	alerts := alerting.New(alerting.Config{}, notify.New(notify.Config{}, inserter))
	d.MustCommit(func(ctx context.Context, tx pgx.Tx) error {
		_, err := alerts.Raise(ctx, tx, a)
		return err
	})
}

func TestAlerts_Commands(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	require.Equal(t, "no alerts\n", d.done("alerts list"))
	require.Equal(t, "no silences\n", d.done("alerts silences"))
	d.raise(alerting.Alert{Rule: alerting.RuleClockSkew, Subject: "host-1", Level: level.Warning, Message: "clocks \x1b[31mdiffer"})
	d.raise(alerting.Alert{Rule: alerting.RuleBreakerOpened, Subject: "strapi", Level: level.Critical, Message: "Strapi is away"})

	require.Contains(t, d.done("alerts list"), "Strapi is away")
	require.NotContains(t, d.done("alerts list"), "\x1b")
	require.NotContains(t, d.done("alerts list --min-level ERROR"), "clock_skew")
	var list alertsListed
	require.NoError(t, json.Unmarshal([]byte(d.done("alerts list --json --limit 1")), &list))
	require.Len(t, list.Alerts, 1)
	require.NotNil(t, list.NextCursor)

	require.Equal(t, "alert 1 (clock_skew) is acknowledged\n", d.done("alerts ack 1 --comment mine"))
	require.Equal(t, "alert 1 (clock_skew) is resolved\n", d.done("alerts resolve 1"))
	shown := d.done("alerts show 1")
	require.Contains(t, shown, "acknowledged")
	require.Contains(t, shown, app.Operator())
	require.Contains(t, shown, "mine")
	var story alerting.Detail
	require.NoError(t, json.Unmarshal([]byte(d.done("alerts show 1 --json")), &story))
	require.Len(t, story.History, 3)
	require.Equal(t, app.Operator(), story.History[2].Actor)

	require.Contains(t, d.done("alerts silence breaker_opened --for 2h --comment planned"), "silence 1: no notifications of breaker_opened until")
	require.Contains(t, d.done("alerts list --status suppressed"), "breaker_opened")
	require.Contains(t, d.done("alerts silences"), "planned")
	require.Contains(t, d.done("alerts unsilence 1"), "silence 1 ended")
}

func TestAlerts_CommandsWrongUsage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for commandLine, code := range map[string]int{
		"alerts list --level loud":              exitUsage,
		"alerts list --status open":             exitUsage,
		"alerts list --limit 0":                 exitUsage,
		"alerts list --cursor x":                exitUsage,
		"alerts ack":                            exitUsage,
		"alerts ack x":                          exitUsage,
		"alerts ack 1":                          exitFailed,
		"alerts silence clock_skew --comment c": exitUsage,
		"alerts silence clock_skew --for 2h":    exitUsage,
		"alerts silence clock_skew --for 2h --until 2099-01-01 --comment c": exitUsage,
		"alerts silence clock_skw --for 2h --comment c":                     exitUsage,
		"alerts unsilence 1": exitFailed,
	} {
		require.Equal(t, code, d.run(commandLine).code, commandLine)
	}
}

func TestAlertsTest_ReachesEachChannelWhateverItsLevel(t *testing.T) {
	t.Parallel()
	sink, sinkURL := newSink(t)
	works := environ{"ALERT_WEBHOOK_URL": sinkURL, "ALERT_WEBHOOK_SECRET": sinkSecret, "ALERT_WEBHOOK_LEVEL": "critical"}
	out := dealbox(t, works, "", "alerts test")
	require.Equal(t, exitDone, out.code, out.stderr)
	require.Equal(t, "ok    webhook accepted the test\n", out.stdout)
	require.Equal(t, []string{"alert.firing test info"}, sink.all(), "whatever the channel's level")

	both := works.with("ALERT_EMAIL_ENABLED", "true", "SMTP_URL", "smtp://ann:"+canary+"@127.0.0.1:1", "ALERT_EMAIL_FROM", "a@b.example", "ALERT_EMAIL_TO", "c@d.example")
	out = dealbox(t, both, "", "alerts test --json")
	require.Equal(t, exitFailed, out.code)
	require.NotContains(t, out.stdout+out.stderr, canary)
	var answer struct{ Channels []app.ChannelTest }
	require.NoError(t, json.Unmarshal([]byte(out.stdout), &answer))
	require.True(t, answer.Channels[0].OK)
	require.Equal(t, "email", answer.Channels[1].Channel)
	require.Equal(t, "c@d.example", answer.Channels[1].Receiver)
	require.Contains(t, *answer.Channels[1].Error, "connection refused")
	require.True(t, answer.Channels[1].Retry)

	require.Contains(t, dealbox(t, environ{}, "", "alerts test").stderr, "there is no channel")
}

// oneMailbox is a mail server that knows c@d.example and nobody else.
type oneMailbox struct{}

func (oneMailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return oneMailbox{}, nil }
func (oneMailbox) Mail(string, *smtp.MailOptions) error        { return nil }
func (oneMailbox) Data(io.Reader) error                        { return nil }
func (oneMailbox) Reset()                                      {}
func (oneMailbox) Logout() error                               { return nil }
func (oneMailbox) Rcpt(to string, _ *smtp.RcptOptions) error {
	if to == "c@d.example" {
		return nil
	}
	return &smtp.SMTPError{Code: 550, Message: "no such user"}
}

func TestAlerts_TestOfADeadMailbox(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := smtp.NewServer(oneMailbox{})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	out := dealbox(t, environ{
		"ALERT_EMAIL_ENABLED": "true", "SMTP_URL": "smtp://" + listener.Addr().String() + "?tls=none",
		"ALERT_EMAIL_FROM": "a@b.example", "ALERT_EMAIL_TO": "c@d.example,gone@d.example",
	}, "", "alerts test")
	require.Equal(t, exitFailed, out.code)
	require.Contains(t, out.stdout, "ok    email c@d.example accepted the test\n")
	require.Contains(t, out.stdout, "fail  email gone@d.example: ")
	require.Contains(t, out.stdout, "550 ")
	require.Contains(t, out.stdout, "no such user")
}
