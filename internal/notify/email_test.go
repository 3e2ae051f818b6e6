package notify_test

import (
	"fmt"
	"io"
	"mime"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/notify/email"
	"dealbox/internal/notify/email/smtptest"
	"dealbox/internal/notify/webhook"
)

func mailChannel(e *email.Client) notify.Config {
	return notify.Config{Channels: []notify.Channel{{Name: "email", Floor: level.Info, Receivers: e.Receivers(), Notify: e.Notify}}, PublicURL: "https://box.example"}
}

func TestEmail_Letter(t *testing.T) {
	t.Parallel()
	for name, implicit := range map[string]bool{"StartTLS": false, "ImplicitTLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := smtptest.New(t, implicit)
			h := newEnv(t, mailChannel(p.Client(t, func(c *email.Config) {
				if implicit {
					c.Security = email.ImplicitTLS
				}
			})))
			h.raise(breakerOpened(level.Critical))
			h.finished(1)
			h.resolve("over")
			require.Equal(t, "sent", h.finished(2)[1].Status)
			got := p.Letters()
			require.Len(t, got, 2)
			header, text, html := smtptest.Bodies(t, got[0])
			require.Equal(t, "ops@example.com", header.Get("Envelope-To"))
			require.Equal(t, "[CRITICAL] firing: calls to Strapi fail", header.Get("Subject"))
			require.Equal(t, "auto-generated", header.Get("Auto-Submitted"))
			require.Equal(t, h.MustText(`SELECT '<ntf-' || id || '-' || (extract(epoch FROM created_at) * 1000000)::bigint || '@box.example>'
				FROM notification ORDER BY id LIMIT 1`), header.Get("Message-Id"))
			for _, body := range []string{text, html} {
				require.Contains(t, body, "calls to Strapi fail")
				require.Contains(t, body, "breaker_opened")
				require.Contains(t, body, "https://box.example/#alert-1")
				require.Contains(t, body, "https://box.example/docs/operations.md#breaker_opened")
			}
			later, text, _ := smtptest.Bodies(t, got[1])
			require.Equal(t, header.Get("References"), later.Get("References"), "one thread an episode")
			require.NotEqual(t, header.Get("Message-Id"), later.Get("Message-Id"))
			require.Contains(t, text, "[CRITICAL] resolved after ")
		})
	}
}

func TestEmail_SentAfter4xx(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false, &smtp.SMTPError{Code: 451, Message: "greylisted"}, &smtp.SMTPError{Code: 421, Message: "busy"})
	h := newEnv(t, mailChannel(p.Client(t)))
	h.raise(breakerOpened(level.Critical))
	row := h.finished(1)[0]
	require.Equal(t, "sent", row.Status)
	require.Equal(t, 3, row.Attempts)
	require.Len(t, p.Letters(), 1)
	require.Contains(t, h.log.String(), "greylisted")
}

func TestEmail_Refused(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false, &smtp.SMTPError{Code: 550, Message: "we do not want it"})
	h := newEnv(t, mailChannel(p.Client(t)))
	h.raise(breakerOpened(level.Critical))
	row := h.finished(1)[0]
	require.Equal(t, "failed", row.Status)
	require.Equal(t, 1, row.Attempts)
	require.Contains(t, *row.LastError, "550")
	require.Contains(t, *row.LastError, "we do not want it")
	require.Equal(t, *row.LastError, h.MustText(`SELECT details->>'error' FROM alert_event WHERE kind = 'notification_failed'`))
}

func two(c *email.Config) { c.To = []string{"ops@example.com", "Ann <ann@example.com>"} }

// annOnly makes the answer to RCPT TO for Ann's mailbox; all others are taken.
func annOnly(answer func() error) func(string) error {
	return func(to string) error {
		if to != "ann@example.com" {
			return nil
		}
		return answer()
	}
}

func noSuchUser() error { return &smtp.SMTPError{Code: 550, Message: "no such user"} }
func greylisted() error { return &smtp.SMTPError{Code: 450, Message: "greylisted"} }

// envelopes returns the receivers of each letter that p took, sorted.
func envelopes(t *testing.T, p *smtptest.Server) (to []string) {
	t.Helper()
	for _, letter := range p.Letters() {
		header, _, _ := smtptest.Bodies(t, letter)
		require.Contains(t, header.Get("To"), header.Get("Envelope-To"))
		to = append(to, header.Get("Envelope-To"))
	}
	slices.Sort(to)
	return to
}

// fates returns what became of the notifications, such as "1 ann@example.com first failed".
func (h *env) fates() (all []string) {
	for _, r := range h.rows() {
		all = append(all, fmt.Sprintf("%d %s %s %s", r.Sequence, r.Receiver, r.Reason, r.Status))
	}
	slices.Sort(all)
	return all
}

// A dead mailbox keeps nobody else from the mail, and its own row says why. The end
// goes to those who know of the beginning.
func TestEmail_DeadMailboxKeepsNobodyFromTheMail(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false)
	p.Rcpt = annOnly(noSuchUser)
	h := newEnv(t, mailChannel(p.Client(t, two)))
	h.raise(breakerOpened(level.Critical))
	h.finished(2)
	h.resolve("over")
	h.finished(3)
	require.Equal(t, []string{"1 ann@example.com first failed", "1 ops@example.com first sent", "2 ops@example.com resolved sent"}, h.fates())
	require.Equal(t, []string{"ops@example.com", "ops@example.com"}, envelopes(t, p))
	reason := h.MustText(`SELECT last_error FROM notification WHERE receiver = 'ann@example.com'`)
	require.Contains(t, reason, "550 ")
	require.Contains(t, reason, "no such user")
	require.Equal(t, reason, h.MustText(`SELECT details->>'error' FROM alert_event WHERE kind = 'notification_failed'`))
	require.Equal(t, "ann@example.com", h.MustText(`SELECT details->>'receiver' FROM alert_event WHERE kind = 'notification_failed'`))
	require.Contains(t, h.log.String(), `"receiver":"ann@example.com"`)

	failing, err := dbsqlc.New().SampleChannels(t.Context(), h.Pool, dbsqlc.SampleChannelsParams{
		Rule: alerting.RuleNotificationFailing, Configured: []string{"email"},
	})
	require.NoError(t, err)
	require.Empty(t, failing, "the channel works: the others get their mail")
}

func TestEmail_AllMailboxesDead(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false)
	p.Rcpt = func(string) error { return noSuchUser() }
	h := newEnv(t, mailChannel(p.Client(t, two)))
	h.raise(breakerOpened(level.Critical))
	h.finished(2)
	require.Equal(t, []string{"1 ann@example.com first failed", "1 ops@example.com first failed"}, h.fates())
	require.Empty(t, p.Letters())
	failing, err := dbsqlc.New().SampleChannels(t.Context(), h.Pool, dbsqlc.SampleChannelsParams{
		Rule: alerting.RuleNotificationFailing, Configured: []string{"email"},
	})
	require.NoError(t, err)
	require.Len(t, failing, 1)
	require.Equal(t, "email", failing[0].Channel)
}

// A mailbox that is greylisted is tried again alone, and gets its mails later in
// their order. The others wait for nothing.
func TestEmail_GreylistedMailboxIsTriedAgainAlone(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false)
	var ready atomic.Bool
	p.Rcpt = annOnly(func() error {
		if ready.Load() {
			return nil
		}
		return greylisted()
	})
	h := newEnv(t, mailChannel(p.Client(t, two)))
	h.raise(breakerOpened(level.Critical))
	h.MustEventually(`SELECT status = 'sent' FROM notification WHERE receiver = 'ops@example.com'`)
	h.resolve("over")
	h.MustEventually(`SELECT count(*) = 2 FROM notification WHERE receiver = 'ops@example.com' AND status = 'sent'`)
	h.MustEventually(`SELECT max(attempts) >= 3 FROM notification WHERE receiver = 'ann@example.com'`)
	require.Equal(t, []string{"ops@example.com", "ops@example.com"}, envelopes(t, p))
	require.Contains(t, h.MustText(`SELECT last_error FROM notification WHERE receiver = 'ann@example.com' AND sequence = 1`), "greylisted")

	ready.Store(true)
	h.finished(4)
	require.Equal(t, []string{
		"1 ann@example.com first sent", "1 ops@example.com first sent", "2 ann@example.com resolved sent", "2 ops@example.com resolved sent",
	}, h.fates())
	require.Equal(t, []string{"ann@example.com", "ann@example.com", "ops@example.com", "ops@example.com"}, envelopes(t, p))
	require.Equal(t, "first resolved", h.MustText(`SELECT string_agg(reason, ' ' ORDER BY sent_at) FROM notification WHERE receiver = 'ann@example.com'`))
}

func TestEmail_GreylistedForEver(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false)
	p.Rcpt = annOnly(greylisted)
	c := mailChannel(p.Client(t, two))
	c.GiveUpAfter = 200 * time.Millisecond
	h := newEnv(t, c)
	h.raise(breakerOpened(level.Critical))
	h.finished(2)
	require.Equal(t, []string{"1 ann@example.com first failed", "1 ops@example.com first sent"}, h.fates())
	require.Contains(t, h.MustText(`SELECT last_error FROM notification WHERE status = 'failed'`), "greylisted")
}

// Whoever takes a mailbox out of the settings does not want its notifications. A
// process that has the old settings leaves a new mailbox to those that know it.
func TestEmail_MailboxOutOfTheSettings(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false)
	p.Rcpt = annOnly(greylisted)
	h := newEnv(t, mailChannel(p.Client(t)))
	inserter, err := jobs.NewInserter(h.Pool, nil, nil)
	require.NoError(t, err)
	before := mailChannel(p.Client(t, two))
	before.FirstNoticeDelay = time.Nanosecond
	elsewhere := &env{DB: h.DB, alerts: alerting.New(alerting.Config{}, notify.New(before, inserter))}
	elsewhere.raise(breakerOpened(level.Critical))
	h.MustEventually(`SELECT status = 'sent' FROM notification WHERE receiver = 'ops@example.com'`)
	h.MustEventually(`SELECT state IN ('scheduled', 'available') AND (metadata->>'snoozes')::int > 2 FROM river.river_job
		WHERE (args->>'notification_id')::bigint = (SELECT id FROM notification WHERE receiver = 'ann@example.com')`)
	require.Equal(t, "pending 0", h.MustText(`SELECT status || ' ' || attempts FROM notification WHERE receiver = 'ann@example.com'`))

	h.MustExec(`UPDATE notification SET created_at = created_at - interval '10 minutes' WHERE receiver = 'ann@example.com'`)
	h.finished(2)
	require.Equal(t, "suppressed unconfigured", h.MustText(`SELECT status || ' ' || suppressed_by FROM notification WHERE receiver = 'ann@example.com'`))
	require.Equal(t, "unconfigured", h.MustText(`SELECT reason FROM alert_event WHERE kind = 'suppressed'`))
	require.Equal(t, []string{"ops@example.com"}, envelopes(t, p))
}

// An SMTP server that answers a line at a time, for ever, costs the other channels
// nothing.
func TestEmail_TarpitHoldsNoOtherChannelUp(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	defer close(stop)
	p := smtptest.Listen(t, func(conn net.Conn) {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				if _, err := io.WriteString(conn, "220-wait\r\n"); err != nil {
					return
				}
			}
		}
	})
	// Eight mails hang at once, more than any queue has workers.
	s := newSink(t)
	held := p.Client(t, func(c *email.Config) { c.Timeout = time.Minute })
	h := newEnv(t, notify.Config{Channels: []notify.Channel{
		{Name: "email", Floor: level.Info, Receivers: held.Receivers(), Notify: held.Notify},
		webhookChannel(t, level.Info, webhook.Config{URL: s.url}),
	}})
	for _, subject := range strings.Split("abcdefgh", "") {
		h.raise(alerting.Alert{Rule: "r", Subject: subject, Level: level.Critical})
	}
	h.MustEventually(`SELECT count(*) = 8 FROM notification WHERE channel = 'webhook' AND status = 'sent'`)
}

// What comes from outside adds no header and no markup, and stays one line.
func TestEmail_HostileTextIsInert(t *testing.T) {
	t.Parallel()
	hostile := "x\r\nBcc: a@b </script><svg onload=alert(1)> \x00\u2028é {{.Level}}"
	p := smtptest.New(t, false)
	h := newEnv(t, mailChannel(p.Client(t)))
	h.raise(alerting.Alert{
		Rule: alerting.RuleBodyQuarantined, Subject: hostile, Level: level.Warning, Message: hostile, Details: map[string]any{"name": hostile},
	})
	h.finished(1)
	header, text, html := smtptest.Bodies(t, p.Letters()[0])
	require.Empty(t, header.Get("Bcc"))
	decoded, err := (&mime.WordDecoder{}).DecodeHeader(header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "[WARNING] firing: x Bcc: a@b </script><svg onload=alert(1)>  é {{.Level}}", decoded)
	require.Contains(t, text, "\r\nx Bcc: a@b </script>")
	require.NotContains(t, html, "<svg")
	require.NotContains(t, html, "</script>")
	require.Contains(t, html, "&lt;svg onload=alert(1)&gt;")
}
