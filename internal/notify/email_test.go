package notify_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/dbsqlc"
	"dealbox/internal/jobs"
	"dealbox/internal/level"
	"dealbox/internal/notify"
	"dealbox/internal/notify/email"
	"dealbox/internal/notify/webhook"
)

const mailPassword = "a-mail-password-that-nobody-may-see"

// post is a real SMTP server that answers MAIL FROM with the errors it was given,
// and RCPT TO as rcpt says.
type post struct {
	host  string
	port  int
	roots *tls.Config // trusts it

	rcpt func(to string) error // nil takes all

	mu      sync.Mutex
	answers []error
	got     []string
}

func newPost(t *testing.T, implicit bool, answers ...error) *post {
	t.Helper()
	certified := httptest.NewUnstartedServer(http.NotFoundHandler())
	certified.StartTLS()
	t.Cleanup(certified.Close)
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	p := &post{roots: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, answers: answers}
	server := smtp.NewServer(p)
	server.TLSConfig = &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.host, p.port = "127.0.0.1", listener.Addr().(*net.TCPAddr).Port
	if implicit {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return &visit{post: p}, nil }

func (p *post) letters() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.got...)
}

func (p *post) email(t *testing.T, change ...func(*email.Config)) *email.Client {
	t.Helper()
	c := email.Config{
		Host: p.host, Port: p.port, User: "dealbox", Password: mailPassword, TLS: p.roots,
		From: "Dealbox <alerts@box.example>", To: []string{"ops@example.com"},
	}
	for _, f := range change {
		f(&c)
	}
	e, err := email.New(c)
	require.NoError(t, err)
	return e
}

type visit struct {
	post *post
	to   []string
}

func (v *visit) AuthMechanisms() []string { return []string{sasl.Plain} }

func (v *visit) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "dealbox" || password != mailPassword {
			return &smtp.SMTPError{Code: 535, Message: "no: " + password}
		}
		return nil
	}), nil
}

func (v *visit) Mail(string, *smtp.MailOptions) error {
	v.post.mu.Lock()
	defer v.post.mu.Unlock()
	if len(v.post.answers) == 0 {
		return nil
	}
	err := v.post.answers[0]
	v.post.answers = v.post.answers[1:]
	return err
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if v.post.rcpt != nil {
		if err := v.post.rcpt(to); err != nil {
			return err
		}
	}
	v.to = append(v.to, to)
	return nil
}

func (v *visit) Data(r io.Reader) error {
	letter, err := io.ReadAll(r)
	v.post.mu.Lock()
	defer v.post.mu.Unlock()
	v.post.got = append(v.post.got, "Envelope-To: "+strings.Join(v.to, ",")+"\r\n"+string(letter))
	return err
}

func (v *visit) Reset()        { v.to = nil }
func (v *visit) Logout() error { return nil }

func mailChannel(e *email.Client) notify.Config {
	return notify.Config{Channels: []notify.Channel{{Name: "email", Floor: level.Info, Receivers: e.Receivers(), Notify: e.Notify}}, PublicURL: "https://box.example"}
}

// bodies are the two parts of a mail, decoded.
func bodies(t *testing.T, letter string) (header mail.Header, text, html string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(letter))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, into := range []*string{&text, &html} {
		part, err := parts.NextRawPart()
		require.NoError(t, err)
		var body io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(part)
		}
		content, err := io.ReadAll(body)
		require.NoError(t, err)
		*into = string(content)
	}
	_, err = parts.NextRawPart()
	require.ErrorIs(t, err, io.EOF)
	return m.Header, text, html
}

func TestEmail_Letter(t *testing.T) {
	t.Parallel()
	for name, implicit := range map[string]bool{"StartTLS": false, "ImplicitTLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, implicit)
			h := newEnv(t, mailChannel(p.email(t, func(c *email.Config) {
				if implicit {
					c.Security = email.ImplicitTLS
				}
			})))
			h.raise(breakerOpened(level.Critical))
			h.finished(1)
			h.resolve("over")
			require.Equal(t, "sent", h.finished(2)[1].Status)
			got := p.letters()
			require.Len(t, got, 2)
			header, text, html := bodies(t, got[0])
			require.Equal(t, "ops@example.com", header.Get("Envelope-To"))
			require.Equal(t, "[CRITICAL] firing: calls to Strapi fail", header.Get("Subject"))
			require.Equal(t, "auto-generated", header.Get("Auto-Submitted"))
			require.Equal(t, h.text(`SELECT '<ntf-' || id || '-' || (extract(epoch FROM created_at) * 1000000)::bigint || '@box.example>'
				FROM notification ORDER BY id LIMIT 1`), header.Get("Message-Id"))
			for _, body := range []string{text, html} {
				require.Contains(t, body, "calls to Strapi fail")
				require.Contains(t, body, "breaker_opened")
				require.Contains(t, body, "https://box.example/#alert-1")
				require.Contains(t, body, "https://box.example/docs/operations.md#breaker_opened")
			}
			later, text, _ := bodies(t, got[1])
			require.Equal(t, header.Get("References"), later.Get("References"), "one thread an episode")
			require.NotEqual(t, header.Get("Message-Id"), later.Get("Message-Id"))
			require.Contains(t, text, "[CRITICAL] resolved after ")
		})
	}
}

func TestEmail_SentAfter4xx(t *testing.T) {
	t.Parallel()
	p := newPost(t, false, &smtp.SMTPError{Code: 451, Message: "greylisted"}, &smtp.SMTPError{Code: 421, Message: "busy"})
	h := newEnv(t, mailChannel(p.email(t)))
	h.raise(breakerOpened(level.Critical))
	row := h.finished(1)[0]
	require.Equal(t, "sent", row.Status)
	require.Equal(t, 3, row.Attempts)
	require.Len(t, p.letters(), 1)
	require.Contains(t, h.log.String(), "greylisted")
}

func TestEmail_Refused(t *testing.T) {
	t.Parallel()
	p := newPost(t, false, &smtp.SMTPError{Code: 550, Message: "we do not want it"})
	h := newEnv(t, mailChannel(p.email(t)))
	h.raise(breakerOpened(level.Critical))
	row := h.finished(1)[0]
	require.Equal(t, "failed", row.Status)
	require.Equal(t, 1, row.Attempts)
	require.Contains(t, *row.LastError, "550")
	require.Contains(t, *row.LastError, "we do not want it")
	require.Equal(t, *row.LastError, h.text(`SELECT details->>'error' FROM alert_event WHERE kind = 'notification_failed'`))
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
func (p *post) envelopes(t *testing.T) (to []string) {
	t.Helper()
	for _, letter := range p.letters() {
		header, _, _ := bodies(t, letter)
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
	p := newPost(t, false)
	p.rcpt = annOnly(noSuchUser)
	h := newEnv(t, mailChannel(p.email(t, two)))
	h.raise(breakerOpened(level.Critical))
	h.finished(2)
	h.resolve("over")
	h.finished(3)
	require.Equal(t, []string{"1 ann@example.com first failed", "1 ops@example.com first sent", "2 ops@example.com resolved sent"}, h.fates())
	require.Equal(t, []string{"ops@example.com", "ops@example.com"}, p.envelopes(t))
	reason := h.text(`SELECT last_error FROM notification WHERE receiver = 'ann@example.com'`)
	require.Contains(t, reason, "550 ")
	require.Contains(t, reason, "no such user")
	require.Equal(t, reason, h.text(`SELECT details->>'error' FROM alert_event WHERE kind = 'notification_failed'`))
	require.Equal(t, "ann@example.com", h.text(`SELECT details->>'receiver' FROM alert_event WHERE kind = 'notification_failed'`))
	require.Contains(t, h.log.String(), `"receiver":"ann@example.com"`)

	failing, err := dbsqlc.New().SampleChannels(t.Context(), h.pool, dbsqlc.SampleChannelsParams{
		Rule: alerting.RuleNotificationFailing, Configured: []string{"email"},
	})
	require.NoError(t, err)
	require.Empty(t, failing, "the channel works: the others get their mail")
}

func TestEmail_AllMailboxesDead(t *testing.T) {
	t.Parallel()
	p := newPost(t, false)
	p.rcpt = func(string) error { return noSuchUser() }
	h := newEnv(t, mailChannel(p.email(t, two)))
	h.raise(breakerOpened(level.Critical))
	h.finished(2)
	require.Equal(t, []string{"1 ann@example.com first failed", "1 ops@example.com first failed"}, h.fates())
	require.Empty(t, p.letters())
	failing, err := dbsqlc.New().SampleChannels(t.Context(), h.pool, dbsqlc.SampleChannelsParams{
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
	p := newPost(t, false)
	var ready atomic.Bool
	p.rcpt = annOnly(func() error {
		if ready.Load() {
			return nil
		}
		return greylisted()
	})
	h := newEnv(t, mailChannel(p.email(t, two)))
	h.raise(breakerOpened(level.Critical))
	h.eventually(`SELECT status = 'sent' FROM notification WHERE receiver = 'ops@example.com'`)
	h.resolve("over")
	h.eventually(`SELECT count(*) = 2 FROM notification WHERE receiver = 'ops@example.com' AND status = 'sent'`)
	h.eventually(`SELECT max(attempts) >= 3 FROM notification WHERE receiver = 'ann@example.com'`)
	require.Equal(t, []string{"ops@example.com", "ops@example.com"}, p.envelopes(t))
	require.Contains(t, h.text(`SELECT last_error FROM notification WHERE receiver = 'ann@example.com' AND sequence = 1`), "greylisted")

	ready.Store(true)
	h.finished(4)
	require.Equal(t, []string{
		"1 ann@example.com first sent", "1 ops@example.com first sent", "2 ann@example.com resolved sent", "2 ops@example.com resolved sent",
	}, h.fates())
	require.Equal(t, []string{"ann@example.com", "ann@example.com", "ops@example.com", "ops@example.com"}, p.envelopes(t))
	require.Equal(t, "first resolved", h.text(`SELECT string_agg(reason, ' ' ORDER BY sent_at) FROM notification WHERE receiver = 'ann@example.com'`))
}

func TestEmail_GreylistedForEver(t *testing.T) {
	t.Parallel()
	p := newPost(t, false)
	p.rcpt = annOnly(greylisted)
	c := mailChannel(p.email(t, two))
	c.GiveUpAfter = 200 * time.Millisecond
	h := newEnv(t, c)
	h.raise(breakerOpened(level.Critical))
	h.finished(2)
	require.Equal(t, []string{"1 ann@example.com first failed", "1 ops@example.com first sent"}, h.fates())
	require.Contains(t, h.text(`SELECT last_error FROM notification WHERE status = 'failed'`), "greylisted")
}

// Whoever takes a mailbox out of the settings does not want its notifications. A
// process that has the old settings leaves a new mailbox to those that know it.
func TestEmail_MailboxOutOfTheSettings(t *testing.T) {
	t.Parallel()
	p := newPost(t, false)
	p.rcpt = annOnly(greylisted)
	h := newEnv(t, mailChannel(p.email(t)))
	inserter, err := jobs.NewInserter(h.pool, nil, nil)
	require.NoError(t, err)
	before := mailChannel(p.email(t, two))
	before.FirstNoticeDelay = time.Nanosecond
	elsewhere := &env{t: t, pool: h.pool, alerts: alerting.New(alerting.Config{}, notify.New(before, inserter))}
	elsewhere.raise(breakerOpened(level.Critical))
	h.eventually(`SELECT status = 'sent' FROM notification WHERE receiver = 'ops@example.com'`)
	h.eventually(`SELECT state IN ('scheduled', 'available') AND (metadata->>'snoozes')::int > 2 FROM river.river_job
		WHERE (args->>'notification_id')::bigint = (SELECT id FROM notification WHERE receiver = 'ann@example.com')`)
	require.Equal(t, "pending 0", h.text(`SELECT status || ' ' || attempts FROM notification WHERE receiver = 'ann@example.com'`))

	_, err = h.pool.Exec(t.Context(), `UPDATE notification SET created_at = created_at - interval '10 minutes' WHERE receiver = 'ann@example.com'`)
	require.NoError(t, err)
	h.finished(2)
	require.Equal(t, "suppressed unconfigured", h.text(`SELECT status || ' ' || suppressed_by FROM notification WHERE receiver = 'ann@example.com'`))
	require.Equal(t, "unconfigured", h.text(`SELECT reason FROM alert_event WHERE kind = 'suppressed'`))
	require.Equal(t, []string{"ops@example.com"}, p.envelopes(t))
}

// An address that stands twice in the settings gets one mail.
func TestEmail_ReceiversAreListedOnce(t *testing.T) {
	t.Parallel()
	e := (&post{host: "mail.example", port: 587}).email(t, func(c *email.Config) {
		c.To = []string{"ops@example.com", "Ann <ann@example.com>", "Ops <ops@example.com>"}
	})
	require.Equal(t, []string{"ops@example.com", "ann@example.com"}, e.Receivers())
}

func TestEmail_Attempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*email.Config)
		retry  bool
		says   string
	}{
		"WrongPassword": {func(c *email.Config) { c.Password = "wrong-" + mailPassword }, false, "answered 535: it refuses user or password"},
		"NobodyThere":   {func(c *email.Config) { c.Port = 1 }, true, "connection refused"},
		"UnknownRoot":   {func(c *email.Config) { c.TLS = nil }, true, "certificate"},
		"TLSTooSoon":    {func(c *email.Config) { c.Security = email.ImplicitTLS }, true, "does not speak TLS on that port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newPost(t, false).email(t, c.change)
			retry, err := e.Notify(t.Context(), notify.Message{ID: 1, Receiver: "ops@example.com", At: time.Now(), Alert: notify.Alert{Level: "error"}})
			require.ErrorContains(t, err, c.says)
			require.Equal(t, c.retry, retry)
			require.NotContains(t, err.Error(), mailPassword)
			require.ErrorContains(t, e.Check(t.Context()), c.says)
		})
	}
	require.NoError(t, newPost(t, false).email(t).Check(t.Context()))
	require.NoError(t, newPost(t, true).email(t, func(c *email.Config) { c.Security = email.ImplicitTLS }).Check(t.Context()))
}

// A server without STARTTLS gets neither password nor alert.
func TestEmail_NeverInTheClear(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	host, port := tarpit(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "220 plain.example ESMTP\r\n")
		var all strings.Builder
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
			_, _ = io.WriteString(conn, "250-plain.example\r\n250 AUTH PLAIN\r\n")
		}
		heard <- all.String()
	})
	p := &post{host: host, port: port}
	retry, err := p.email(t).Notify(t.Context(), notify.Message{ID: 1, Receiver: "ops@example.com", At: time.Now(), Alert: notify.Alert{Level: "error"}})
	require.ErrorContains(t, err, "does not support STARTTLS")
	require.False(t, retry)
	require.NotContains(t, <-heard, "AUTH")
}

// tarpit listens and treats each connection as told.
func tarpit(t *testing.T, treat func(net.Conn)) (host string, port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				treat(conn)
			}()
		}
	}()
	return "127.0.0.1", listener.Addr().(*net.TCPAddr).Port
}

// An SMTP server that answers a byte at a time, for ever, costs its channel the
// attempt's limit, and the other channels nothing.
func TestEmail_TarpitHoldsNothingUp(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	defer close(stop)
	host, port := tarpit(t, func(conn net.Conn) {
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
	p := &post{host: host, port: port}
	e := p.email(t, func(c *email.Config) { c.Timeout = 300 * time.Millisecond })
	retry, err := e.Notify(t.Context(), notify.Message{ID: 1, Receiver: "ops@example.com", At: time.Now(), Alert: notify.Alert{Level: "error"}})
	require.True(t, retry)
	require.ErrorContains(t, err, "within 300ms, the limit for one attempt")

	// Eight mails hang at once, more than any queue has workers.
	s := newSink(t)
	held := p.email(t, func(c *email.Config) { c.Timeout = time.Minute })
	h := newEnv(t, notify.Config{Channels: []notify.Channel{
		{Name: "email", Floor: level.Info, Receivers: held.Receivers(), Notify: held.Notify},
		webhookChannel(t, level.Info, webhook.Config{URL: s.url}),
	}})
	for _, subject := range strings.Split("abcdefgh", "") {
		h.raise(alerting.Alert{Rule: "r", Subject: subject, Level: level.Critical})
	}
	h.eventually(`SELECT count(*) = 8 FROM notification WHERE channel = 'webhook' AND status = 'sent'`)
}

// A stopping worker does not wait for the server.
func TestEmail_Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	host, port := tarpit(t, func(conn net.Conn) {
		cancel()
		_, _ = io.Copy(io.Discard, conn)
	})
	p := &post{host: host, port: port}
	_, err := p.email(t, func(c *email.Config) { c.Timeout = time.Hour }).Notify(ctx, notify.Message{Receiver: "ops@example.com", At: time.Now()})
	require.ErrorIs(t, err, context.Canceled)
}

func TestNewEmail_Mistakes(t *testing.T) {
	t.Parallel()
	p := &post{host: "mail.example", port: 587}
	for name, change := range map[string]func(*email.Config){
		"NoHost":          func(c *email.Config) { c.Host = "" },
		"NoPort":          func(c *email.Config) { c.Port = 0 },
		"UnknownSecurity": func(c *email.Config) { c.Security = "ssl" },
		"PasswordInClear": func(c *email.Config) { c.Security = email.NoTLS },
		"NobodyToTell":    func(c *email.Config) { c.To = nil },
		"BadSender":       func(c *email.Config) { c.From = "x@y\r\nBcc: a@b" },
		"BadReceiver":     func(c *email.Config) { c.To = []string{"ops"} },
	} {
		c := email.Config{Host: p.host, Port: p.port, Password: mailPassword, From: "a@b.example", To: []string{"c@d.example"}}
		change(&c)
		_, err := email.New(c)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), mailPassword)
	}
}

// What comes from outside adds no header and no markup, and stays one line.
func TestEmail_HostileTextIsInert(t *testing.T) {
	t.Parallel()
	hostile := "x\r\nBcc: a@b </script><svg onload=alert(1)> \x00\u2028é {{.Level}}"
	p := newPost(t, false)
	h := newEnv(t, mailChannel(p.email(t)))
	h.raise(alerting.Alert{
		Rule: alerting.RuleBodyQuarantined, Subject: hostile, Level: level.Warning, Message: hostile, Details: map[string]any{"name": hostile},
	})
	h.finished(1)
	header, text, html := bodies(t, p.letters()[0])
	require.Empty(t, header.Get("Bcc"))
	decoded, err := (&mime.WordDecoder{}).DecodeHeader(header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "[WARNING] firing: x Bcc: a@b </script><svg onload=alert(1)>  é {{.Level}}", decoded)
	require.Contains(t, text, "\r\nx Bcc: a@b </script>")
	require.NotContains(t, html, "<svg")
	require.NotContains(t, html, "</script>")
	require.Contains(t, html, "&lt;svg onload=alert(1)&gt;")

	// Nor do texts that did not come by way of the table.
	p = newPost(t, false)
	_, err = p.email(t).Notify(t.Context(), notify.Message{ID: 1, Receiver: "ops@example.com", At: time.Now(), Alert: notify.Alert{
		Level: "error\r\nBcc: a@b", Rule: hostile, Subject: hostile, Message: hostile, Status: hostile,
	}})
	require.NoError(t, err)
	header, _, _ = bodies(t, p.letters()[0])
	require.Empty(t, header.Get("Bcc"))
}
