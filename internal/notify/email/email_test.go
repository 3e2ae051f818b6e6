package email_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/notify"
	"dealbox/internal/notify/email"
	"dealbox/internal/notify/email/smtptest"
)

// message returns a notification to the receiver of smtptest's client.
func message(a notify.Alert) notify.Message {
	return notify.Message{ID: 1, Receiver: "ops@example.com", Reason: notify.First, At: time.Now(), Alert: a}
}

func TestNotify_Attempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*email.Config)
		retry  bool
		says   string
	}{
		"WrongPassword": {func(c *email.Config) { c.Password = "wrong-" + smtptest.Password }, false, "answered 535: it refuses user or password. Correct them in SMTP_URL"},
		"NobodyThere":   {func(c *email.Config) { c.Port = 1 }, true, "connection refused"},
		"UnknownRoot":   {func(c *email.Config) { c.TLS = nil }, true, "its certificate is signed by nobody whom this machine trusts"},
		"OtherName":     {func(c *email.Config) { c.Host = "localhost" }, true, "its certificate is for another name"},
		"TLSTooSoon":    {func(c *email.Config) { c.Security = email.ImplicitTLS }, true, "does not speak TLS on that port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := smtptest.New(t, false).Client(t, c.change)
			retry, err := e.Notify(t.Context(), message(notify.Alert{Level: "error"}))
			require.ErrorContains(t, err, c.says)
			require.Equal(t, c.retry, retry)
			require.NotContains(t, err.Error(), smtptest.Password)
			retry, err = e.Check(t.Context())
			require.ErrorContains(t, err, c.says)
			require.Equal(t, c.retry, retry)
		})
	}
	_, err := smtptest.New(t, false).Client(t).Check(t.Context())
	require.NoError(t, err)
	_, err = smtptest.New(t, true).Client(t, func(c *email.Config) { c.Security = email.ImplicitTLS }).Check(t.Context())
	require.NoError(t, err)
}

// A server without STARTTLS gets neither password nor alert.
func TestNotify_NeverInTheClear(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	p := smtptest.Listen(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "220 plain.example ESMTP\r\n")
		var all strings.Builder
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			_, _ = io.WriteString(conn, "250-plain.example\r\n250 AUTH PLAIN\r\n")
		}
		heard <- all.String()
	})
	retry, err := p.Client(t).Notify(t.Context(), message(notify.Alert{Level: "error"}))
	require.ErrorContains(t, err, "does not support STARTTLS")
	require.False(t, retry)
	require.NotContains(t, <-heard, "AUTH")
}

// An SMTP server that answers a line at a time, for ever, costs the limit of an attempt.
func TestNotify_Tarpit(t *testing.T) {
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
	e := p.Client(t, func(c *email.Config) { c.Timeout = 300 * time.Millisecond })
	retry, err := e.Notify(t.Context(), message(notify.Alert{Level: "error"}))
	require.True(t, retry)
	require.ErrorContains(t, err, "within 300ms, the limit for one attempt")
}

// A stopping worker does not wait for the server.
func TestNotify_Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := smtptest.Listen(t, func(conn net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, conn)
	})
	_, err := p.Client(t, func(c *email.Config) { c.Timeout = time.Hour }).Notify(ctx, message(notify.Alert{Level: "error"}))
	require.ErrorIs(t, err, context.Canceled)
}

func TestNew_Mistakes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*email.Config){
		"NoHost":          func(c *email.Config) { c.Host = "" },
		"NoPort":          func(c *email.Config) { c.Port = 0 },
		"UnknownSecurity": func(c *email.Config) { c.Security = "ssl" },
		"PasswordInClear": func(c *email.Config) { c.Security = email.NoTLS },
		"NoReceiver":      func(c *email.Config) { c.To = nil },
		"BadSender":       func(c *email.Config) { c.From = "x@y\r\nBcc: a@b" },
		"BadReceiver":     func(c *email.Config) { c.To = []string{"ops"} },
	} {
		c := email.Config{Host: "mail.example", Port: 587, Password: smtptest.Password, From: "a@b.example", To: []string{"c@d.example"}}
		change(&c)
		_, err := email.New(c)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), smtptest.Password)
	}
}

// An address that stands twice in the settings gets one mail.
func TestReceivers_EachOnce(t *testing.T) {
	t.Parallel()
	e := smtptest.New(t, false).Client(t, func(c *email.Config) {
		c.To = []string{"ops@example.com", "Ann <ann@example.com>", "Ops <ops@example.com>"}
	})
	require.Equal(t, []string{"ops@example.com", "ann@example.com"}, e.Receivers())
}

// A text that did not pass the tables adds no header either.
func TestNotify_HostileText(t *testing.T) {
	t.Parallel()
	hostile := "x\r\nBcc: a@b </script><svg onload=alert(1)> \x00\u2028é {{.Level}}"
	p := smtptest.New(t, false)
	_, err := p.Client(t).Notify(t.Context(), message(notify.Alert{
		Level: "error\r\nBcc: a@b", Rule: hostile, Subject: hostile, Message: hostile, Status: hostile,
	}))
	require.NoError(t, err)
	header, _, _ := smtptest.Bodies(t, p.Letters()[0])
	require.Empty(t, header.Get("Bcc"))
}

// A mail says first what it is, what to do and where to look.
func TestNotify_Letter(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false)
	began := time.Date(2026, 11, 24, 22, 10, 0, 0, time.UTC)
	m := message(notify.Alert{
		ID: 7, Rule: "breaker_opened", Subject: "strapi", Level: "critical", Status: "firing", Message: "Strapi does not answer",
		Occurrences: 3, FirstSeen: began, LastSeen: began.Add(4 * time.Hour), Details: []byte(`{"failures":5}`),
	})
	m.Reason, m.Notice = notify.Reminder, 2
	m.Instance, m.Document = "crm.example.com", "https://cms.example/admin/x"
	m.URL, m.Runbook = "https://box.example/#alert-7", "https://box.example/docs/operations.md#breaker_opened"
	_, err := p.Client(t).Notify(t.Context(), m)
	require.NoError(t, err)
	header, plain, _ := smtptest.Bodies(t, p.Letters()[0])
	require.Equal(t, "[dealbox crm.example.com] [CRITICAL] still firing: Strapi does not answer", header.Get("Subject"))
	require.Equal(t, `[CRITICAL] still firing, second notice, since 2026-11-24 22:10:00 UTC

Strapi does not answer

What it means and what to do: https://box.example/docs/operations.md#breaker_opened
Open in Dealbox: https://box.example/#alert-7
Open in Strapi: https://cms.example/admin/x

Dealbox    crm.example.com
Rule       breaker_opened
Subject    strapi
Since      2026-11-24 22:10:00 UTC
Last seen  2026-11-25 02:10:00 UTC
Times      3
Status     firing

{
  "failures": 5
}
`, strings.ReplaceAll(plain, "\r\n", "\n"))
}

// A sender without a name gets that of this Dealbox.
func TestNotify_SenderHasAName(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{"alerts@box.example": `"Dealbox crm.example.com" <alerts@box.example>`, "Ops <alerts@box.example>": `"Ops" <alerts@box.example>`} {
		p := smtptest.New(t, false)
		m := message(notify.Alert{Level: "error"})
		m.Instance = "crm.example.com"
		_, err := p.Client(t, func(c *email.Config) { c.From = from }).Notify(t.Context(), m)
		require.NoError(t, err)
		header, _, _ := smtptest.Bodies(t, p.Letters()[0])
		require.Equal(t, want, header.Get("From"))
	}
}

// A mailbox that the settings do not name gets nothing.
func TestNotify_UnknownReceiver(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false)
	m := message(notify.Alert{Level: "error"})
	m.Receiver = "gone@example.com"
	retry, err := p.Client(t).Notify(t.Context(), m)
	require.EqualError(t, err, "gone@example.com is not a receiver of alerts in the settings")
	require.False(t, retry)
	require.Empty(t, p.Letters())
}

// The server's answer to the mail decides: once it has taken the mail, a connection
// that breaks changes nothing; without an answer the mail goes out again.
func TestNotify_ConnectionBreaksAfterTheMail(t *testing.T) {
	t.Parallel()
	for name, taken := range map[string]bool{"Taken": true, "NoAnswer": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := smtptest.Listen(t, func(conn net.Conn) { talk(conn, taken) })
			retry, err := p.Client(t, func(c *email.Config) { c.Security, c.User, c.Password = email.NoTLS, "", "" }).
				Notify(t.Context(), message(notify.Alert{Level: "error"}))
			if taken {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.True(t, retry)
		})
	}
}

// talk takes a mail, answers it or not, and hangs up.
func talk(conn net.Conn, answer bool) {
	_, _ = io.WriteString(conn, "220 plain.example ESMTP\r\n")
	inMail := false
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch line := lines.Text(); {
		case inMail && line == ".":
			if answer {
				_, _ = io.WriteString(conn, "250 taken\r\n")
			}
			return
		case inMail:
		case line == "DATA":
			inMail = true
			_, _ = io.WriteString(conn, "354 go on\r\n")
		default:
			_, _ = io.WriteString(conn, "250 plain.example\r\n")
		}
	}
}
