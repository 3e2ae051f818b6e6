package notify_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/level"
	"dealbox/internal/notify"
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

func (p *post) email(t *testing.T, change ...func(*notify.EmailConfig)) *notify.Email {
	t.Helper()
	c := notify.EmailConfig{
		Host: p.host, Port: p.port, User: "dealbox", Password: mailPassword, TLS: p.roots,
		From: "Dealbox <alerts@box.example>", To: []string{"ops@example.com", "Ann <ann@example.com>"},
	}
	for _, f := range change {
		f(&c)
	}
	e, err := notify.NewEmail(c)
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

func mailChannel(e *notify.Email) notify.Config {
	return notify.Config{Channels: []notify.Channel{{Name: "email", Floor: level.Info, Notify: e.Notify}}, PublicURL: "https://box.example"}
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
			h := newEnv(t, mailChannel(p.email(t, func(c *notify.EmailConfig) {
				if implicit {
					c.Security = notify.ImplicitTLS
				}
			})))
			h.raise(breakerOpened(level.Critical))
			h.settled(1)
			h.resolve("over")
			require.Equal(t, "sent", h.settled(2)[1].Status)
			got := p.letters()
			require.Len(t, got, 2)
			header, text, html := bodies(t, got[0])
			require.Equal(t, "ops@example.com,ann@example.com", header.Get("Envelope-To"))
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

func TestEmail_PutOffThenTaken(t *testing.T) {
	t.Parallel()
	p := newPost(t, false, &smtp.SMTPError{Code: 451, Message: "greylisted"}, &smtp.SMTPError{Code: 421, Message: "busy"})
	h := newEnv(t, mailChannel(p.email(t)))
	h.raise(breakerOpened(level.Critical))
	row := h.settled(1)[0]
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
	row := h.settled(1)[0]
	require.Equal(t, "failed", row.Status)
	require.Equal(t, 1, row.Attempts)
	require.Contains(t, *row.LastError, "550")
	require.Contains(t, *row.LastError, "we do not want it")
	require.Equal(t, *row.LastError, h.text(`SELECT details->>'error' FROM alert_event WHERE kind = 'notification_failed'`))
}

// mailbox answers for one address, and takes all others.
func mailbox(address string, answer func() error) func(string) error {
	return func(to string) error {
		if to != address {
			return nil
		}
		return answer()
	}
}

func noSuchUser() error { return &smtp.SMTPError{Code: 550, Message: "no such user"} }
func greylisted() error { return &smtp.SMTPError{Code: 450, Message: "greylisted"} }

// envelopes are the receivers of each letter that p took, and that it is one letter.
func (p *post) envelopes(t *testing.T) (to []string) {
	t.Helper()
	ids := map[string]bool{}
	for _, letter := range p.letters() {
		header, _, _ := bodies(t, letter)
		to = append(to, header.Get("Envelope-To"))
		ids[header.Get("Message-Id")] = true
	}
	require.LessOrEqual(t, len(ids), 1, "whoever gets it twice sees it once")
	return to
}

// A dead mailbox keeps nobody else from the mail, and the row says whose it is.
func TestEmail_OneReceiverRefused(t *testing.T) {
	t.Parallel()
	p := newPost(t, false)
	p.rcpt = mailbox("ann@example.com", noSuchUser)
	h := newEnv(t, mailChannel(p.email(t)))
	id := h.raise(breakerOpened(level.Critical))
	h.settled(1)
	require.Equal(t, []string{"ops@example.com"}, p.envelopes(t))
	all, err := notify.ListByAlert(t.Context(), h.pool, id, 10)
	require.NoError(t, err)
	require.Equal(t, "sent", all[0].Status)
	require.Equal(t, 1, all[0].Attempts)
	require.Contains(t, *all[0].LastError, "sent, but refused for ann@example.com: 550 ")
	require.Contains(t, *all[0].LastError, "no such user")
	require.Equal(t, *all[0].LastError, h.text(`SELECT details->>'error' FROM alert_event WHERE kind = 'notified'`))
	require.Contains(t, h.log.String(), "a notification was sent, but not to everybody")
	require.Equal(t, "1", h.text(`SELECT count(*)::text FROM river.river_job WHERE kind = 'notification_send'`), "nobody is left to try again")
}

func TestEmail_AllReceiversRefused(t *testing.T) {
	t.Parallel()
	p := newPost(t, false)
	p.rcpt = func(string) error { return noSuchUser() }
	h := newEnv(t, mailChannel(p.email(t)))
	h.raise(breakerOpened(level.Critical))
	row := h.settled(1)[0]
	require.Equal(t, "failed", row.Status)
	require.Equal(t, 1, row.Attempts)
	require.Contains(t, *row.LastError, "refused for ops@example.com: 550 ")
	require.Contains(t, *row.LastError, "refused for ann@example.com: 550 ")
	require.Empty(t, p.letters())
}

// Who puts a mail off gets it later, alone. It is sent meanwhile: what the others
// are told next does not wait for it.
func TestEmail_OneReceiverPutsOff(t *testing.T) {
	t.Parallel()
	p := newPost(t, false)
	var ready atomic.Bool
	var asked atomic.Int32
	p.rcpt = mailbox("ann@example.com", func() error {
		asked.Add(1)
		if ready.Load() {
			return nil
		}
		return greylisted()
	})
	h := newEnv(t, mailChannel(p.email(t)))
	h.raise(breakerOpened(level.Critical))
	h.settled(1)
	require.Eventually(t, func() bool { return asked.Load() >= 3 }, patience, 5*time.Millisecond)
	require.Equal(t, []string{"ops@example.com"}, p.envelopes(t))
	require.Contains(t, *h.rows()[0].LastError, "sent, but put off for ann@example.com: 450 ")

	ready.Store(true)
	h.eventually(`SELECT last_error IS NULL FROM notification`)
	require.Equal(t, []string{"ops@example.com", "ann@example.com"}, p.envelopes(t))
	require.Equal(t, "1", h.text(`SELECT count(*)::text FROM alert_event WHERE kind = 'notified'`))
	h.eventually(`SELECT bool_and(state = 'completed') FROM river.river_job WHERE kind = 'notification_send'`)
}

func TestEmail_OneReceiverPutsOffForEver(t *testing.T) {
	t.Parallel()
	p := newPost(t, false)
	p.rcpt = mailbox("ann@example.com", greylisted)
	c := mailChannel(p.email(t))
	c.GiveUpAfter = 200 * time.Millisecond
	h := newEnv(t, c)
	h.raise(breakerOpened(level.Critical))
	h.settled(1)
	h.eventually(`SELECT count(*) > 1 AND bool_and(state = 'completed') FROM river.river_job WHERE kind = 'notification_send'`)
	require.Contains(t, *h.rows()[0].LastError, "sent, but refused for ann@example.com: 450 ")
	require.Equal(t, []string{"ops@example.com"}, p.envelopes(t))
}

func TestEmail_Attempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*notify.EmailConfig)
		retry  bool
		says   string
	}{
		"WrongPassword": {func(c *notify.EmailConfig) { c.Password = "wrong-" + mailPassword }, false, "answered 535: it refuses user or password"},
		"NobodyThere":   {func(c *notify.EmailConfig) { c.Port = 1 }, true, "connection refused"},
		"UnknownRoot":   {func(c *notify.EmailConfig) { c.TLS = nil }, true, "certificate"},
		"TLSTooSoon":    {func(c *notify.EmailConfig) { c.Security = notify.ImplicitTLS }, true, "does not speak TLS on that port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newPost(t, false).email(t, c.change)
			retry, err := e.Notify(t.Context(), notify.Message{ID: 1, At: time.Now(), Alert: notify.Alert{Level: "error"}})
			require.ErrorContains(t, err, c.says)
			require.Equal(t, c.retry, retry)
			require.NotContains(t, err.Error(), mailPassword)
			require.ErrorContains(t, e.Check(t.Context()), c.says)
		})
	}
	require.NoError(t, newPost(t, false).email(t).Check(t.Context()))
	require.NoError(t, newPost(t, true).email(t, func(c *notify.EmailConfig) { c.Security = notify.ImplicitTLS }).Check(t.Context()))
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
	retry, err := p.email(t).Notify(t.Context(), notify.Message{ID: 1, At: time.Now(), Alert: notify.Alert{Level: "error"}})
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
	e := p.email(t, func(c *notify.EmailConfig) { c.Timeout = 300 * time.Millisecond })
	retry, err := e.Notify(t.Context(), notify.Message{ID: 1, At: time.Now(), Alert: notify.Alert{Level: "error"}})
	require.True(t, retry)
	require.ErrorContains(t, err, "within 300ms, the limit for one attempt")

	// Eight mails hang at once, more than any queue has workers.
	s := newSink(t)
	held := p.email(t, func(c *notify.EmailConfig) { c.Timeout = time.Minute })
	h := newEnv(t, notify.Config{Channels: []notify.Channel{
		{Name: "email", Floor: level.Info, Notify: held.Notify},
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
	_, err := p.email(t, func(c *notify.EmailConfig) { c.Timeout = time.Hour }).Notify(ctx, notify.Message{At: time.Now()})
	require.ErrorIs(t, err, context.Canceled)
}

func TestNewEmail_Mistakes(t *testing.T) {
	t.Parallel()
	p := &post{host: "mail.example", port: 587}
	for name, change := range map[string]func(*notify.EmailConfig){
		"NoHost":          func(c *notify.EmailConfig) { c.Host = "" },
		"NoPort":          func(c *notify.EmailConfig) { c.Port = 0 },
		"UnknownSecurity": func(c *notify.EmailConfig) { c.Security = "ssl" },
		"PasswordInClear": func(c *notify.EmailConfig) { c.Security = notify.NoTLS },
		"NobodyToTell":    func(c *notify.EmailConfig) { c.To = nil },
		"BadSender":       func(c *notify.EmailConfig) { c.From = "x@y\r\nBcc: a@b" },
		"BadReceiver":     func(c *notify.EmailConfig) { c.To = []string{"ops"} },
	} {
		c := notify.EmailConfig{Host: p.host, Port: p.port, Password: mailPassword, From: "a@b.example", To: []string{"c@d.example"}}
		change(&c)
		_, err := notify.NewEmail(c)
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
	h.settled(1)
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
	_, err = p.email(t).Notify(t.Context(), notify.Message{ID: 1, At: time.Now(), Alert: notify.Alert{
		Level: "error\r\nBcc: a@b", Rule: hostile, Subject: hostile, Message: hostile, Status: hostile,
	}})
	require.NoError(t, err)
	header, _, _ = bodies(t, p.letters()[0])
	require.Empty(t, header.Get("Bcc"))
}
