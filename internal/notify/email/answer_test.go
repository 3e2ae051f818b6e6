package email_test

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"dealbox/internal/notify"
	"dealbox/internal/notify/email"
	"dealbox/internal/notify/email/smtptest"
)

func answered(code int, enhanced smtp.EnhancedCode, words string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: words}
}

// What real mail servers answer is said in words, with what to do; sending and doctor
// say the same of all that is refused before the mail itself.
func TestAnswers(t *testing.T) {
	t.Parallel()
	rcpt := func(err error) func(*smtptest.Server) {
		return func(p *smtptest.Server) { p.Rcpt = func(string) error { return err } }
	}
	login := func(err error) func(*smtptest.Server) { return func(p *smtptest.Server) { p.Login = err } }
	content := func(err error) func(*smtptest.Server) { return func(p *smtptest.Server) { p.Content = err } }
	hello := func(err error) func(*smtptest.Server) {
		return func(p *smtptest.Server) { p.Hello = func(string) error { return err } }
	}
	for name, c := range map[string]struct {
		server func(*smtptest.Server)
		mail   error // the answer to MAIL FROM
		retry  bool
		says   []string
	}{
		"HelloRefused":       {hello(answered(550, smtp.EnhancedCode{5, 7, 1}, "bad name")), nil, true, []string{"does not accept the name box.example that Dealbox gives at HELO", "Set SMTP_HELO to the full host name"}},
		"HelloRefusedAtRcpt": {rcpt(answered(504, smtp.EnhancedCode{5, 5, 2}, "<localhost>: Helo command rejected: need fully-qualified hostname")), nil, true, []string{"does not accept the name box.example", "Set SMTP_HELO"}},
		"HelloUnknownAtRcpt": {rcpt(answered(450, smtp.EnhancedCode{4, 7, 1}, "Helo command rejected: Host not found")), nil, true, []string{"Set SMTP_HELO"}},
		"HelloSyntaxAtMail":  {nil, answered(501, smtp.EnhancedCode{5, 5, 2}, "invalid domain name"), true, []string{"Set SMTP_HELO"}},
		"NoPasswords":        {login(answered(535, smtp.EnhancedCode{5, 7, 139}, "Authentication unsuccessful, basic authentication is disabled.")), nil, false, []string{"takes no passwords (535)", "relay or connector", "ALERT_WEBHOOK_FORMAT=teams"}},
		"NoPasswordsTenant":  {login(answered(535, smtp.EnhancedCode{5, 7, 139}, "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant")), nil, false, []string{"takes no passwords"}},
		"NoPasswordsOlder":   {login(answered(535, smtp.EnhancedCode{5, 7, 3}, "Authentication unsuccessful")), nil, false, []string{"takes no passwords"}},
		"AppPassword":        {login(answered(534, smtp.EnhancedCode{5, 7, 9}, "Application-specific password required")), nil, false, []string{"wants an app password"}},
		"WrongPassword":      {login(answered(535, smtp.EnhancedCode{5, 7, 8}, "canary")), nil, false, []string{"it refuses user or password"}},
		"LoginLater":         {login(answered(454, smtp.EnhancedCode{4, 7, 0}, "temporary failure")), nil, true, []string{"cannot check the login at the moment (454)"}},
		"OnlyOAuth":          {func(p *smtptest.Server) { p.Mechanisms = []string{"XOAUTH2", "OAUTHBEARER"} }, nil, false, []string{"takes no passwords", "OAuth", "relay or connector"}},
		"NoLogin":            {func(p *smtptest.Server) { p.Mechanisms = []string{} }, nil, false, []string{"offers no login", "take user and password out of SMTP_URL"}},
		"LoginWanted":        {nil, answered(530, smtp.EnhancedCode{5, 7, 57}, "Client not authenticated to send mail"), false, []string{"wants a login first", "Put user and password"}},
		"Greylisted":         {rcpt(answered(451, smtp.EnhancedCode{4, 7, 1}, "Greylisting in action")), nil, true, []string{"puts the mail off", "Greylisting in action", "tries again by itself"}},
		"ServerFull":         {nil, answered(452, smtp.EnhancedCode{4, 3, 1}, "Insufficient system storage"), true, []string{"puts the mail off"}},
		"MailboxFull":        {rcpt(answered(452, smtp.EnhancedCode{4, 2, 2}, "over quota")), nil, true, []string{"the mailbox ops@example.com is full"}},
		"MailboxFullForGood": {rcpt(answered(552, smtp.EnhancedCode{5, 2, 2}, "mailbox full")), nil, false, []string{"the mailbox ops@example.com is full", "ALERT_EMAIL_TO"}},
		"NotAvailable":       {rcpt(answered(421, smtp.EnhancedCode{4, 3, 2}, "shutting down")), nil, true, []string{"is not available at the moment"}},
		"NoSuchMailbox":      {rcpt(answered(550, smtp.EnhancedCode{5, 1, 1}, "no such user")), nil, false, []string{"refuses the mailbox ops@example.com", "no such user", "Correct it in ALERT_EMAIL_TO"}},
		"RelayDenied":        {rcpt(answered(550, smtp.EnhancedCode{5, 7, 54}, "Unable to relay recipient in non-accepted domain")), nil, false, []string{"does not pass mail on to ops@example.com", "allow this machine's address to relay"}},
		"RelayDeniedPostfix": {rcpt(answered(554, smtp.EnhancedCode{5, 7, 1}, "<ops@example.com>: Relay access denied")), nil, false, []string{"does not pass mail on to ops@example.com"}},
		"SenderRefused":      {nil, answered(553, smtp.EnhancedCode{5, 7, 1}, "<alerts@box.example>: Sender address rejected: not owned by user dealbox"), false, []string{"does not let this login send as alerts@box.example", "ALERT_EMAIL_FROM"}},
		"SendAsDenied":       {content(answered(554, smtp.EnhancedCode{5, 2, 252}, "SendAsDenied; dealbox not allowed to send as alerts")), nil, false, []string{"does not let this login send as alerts@box.example"}},
		"NotProven":          {content(answered(550, smtp.EnhancedCode{5, 7, 26}, "This mail has been blocked because the sender is unauthenticated: SPF did not pass")), nil, false, []string{"does not believe that the mail is from box.example", "SPF, DKIM, DMARC"}},
		"TooLarge":           {nil, answered(552, smtp.EnhancedCode{5, 3, 4}, "Message size exceeds fixed limit"), false, []string{"too large"}},
		"Spam":               {content(answered(554, smtp.EnhancedCode{5, 7, 1}, "rejected by policy")), nil, false, []string{"refuses the mail itself"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := func() *email.Client {
				var answers []error
				if c.mail != nil {
					answers = []error{c.mail}
				}
				p := smtptest.New(t, false, answers...)
				if c.server != nil {
					c.server(p)
				}
				return p.Client(t)
			}
			retry, err := open().Notify(t.Context(), message(notify.Alert{Level: "error"}))
			require.Error(t, err)
			t.Log(err)
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
			require.Equal(t, c.retry, retry)
			require.NotContains(t, err.Error(), "canary", "a server's words at the login may repeat the password")
			if name == "SendAsDenied" || name == "NotProven" || name == "Spam" {
				return // no mail, no answer to it
			}
			again, checked := open().Check(t.Context())
			require.EqualError(t, withoutPort(checked), withoutPort(err).Error(), "doctor goes as far as RCPT TO")
			require.Equal(t, retry, again)
		})
	}
}

// withoutPort takes the server's address out of an error: each has its own.
func withoutPort(err error) error {
	if err == nil {
		return nil
	}
	words := strings.Fields(err.Error())
	for i, w := range words {
		if strings.HasPrefix(w, "127.0.0.1:") {
			words[i] = "server"
		}
	}
	return &notify.SendError{Text: strings.Join(words, " ")}
}

// A connection that comes to nothing is said by how far it came.
func TestAnswers_BeforeTheLogin(t *testing.T) {
	t.Parallel()
	says := func(lines ...string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = io.WriteString(conn, lines[0])
			for scanner := bufio.NewScanner(conn); scanner.Scan(); {
				lines = append(lines[1:], lines[len(lines)-1])
				_, _ = io.WriteString(conn, lines[0])
			}
		}
	}
	for name, c := range map[string]struct {
		treat func(net.Conn)
		retry bool
		says  []string
	}{
		"Blocklisted": {says("554 5.7.1 203.0.113.9 is on a blocklist\r\n"), true, []string{"turns this machine away before anything was said (554)", "blocklist"}},
		"Busy":        {says("421 too many connections\r\n"), true, []string{"is not available at the moment"}},
		"NoTLSNow":    {says("220 x ESMTP\r\n", "250-x\r\n250 STARTTLS\r\n", "454 4.7.0 TLS not available\r\n"), true, []string{"does not turn to TLS, although it offers to (454)"}},
		"NoStartTLS":  {says("220 x ESMTP\r\n", "250-x\r\n250 AUTH PLAIN\r\n"), false, []string{"does not support STARTTLS", "smtps://host:465"}},
		"HangsUp":     {func(net.Conn) {}, true, []string{"closed before an answer came"}},
		"Silent":      {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, true, []string{"did not even greet", "write smtps://"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := smtptest.Listen(t, c.treat)
			e := p.Client(t, func(c *email.Config) {
				if name == "Silent" {
					c.Timeout = 200 * time.Millisecond
				}
			})
			retry, err := e.Notify(t.Context(), message(notify.Alert{Level: "error"}))
			require.Error(t, err)
			t.Log(err)
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
			require.Equal(t, c.retry, retry)
		})
	}
}

// Dealbox gives its own name or the sender's domain, and never localhost.
func TestHello(t *testing.T) {
	t.Parallel()
	for helo, want := range map[string]string{"": "box.example", "localhost": "box.example", "crm.example.com": "crm.example.com", "[192.0.2.1]": "[192.0.2.1]"} {
		p := smtptest.New(t, false)
		_, err := p.Client(t, func(c *email.Config) { c.Helo = helo }).Notify(t.Context(), message(notify.Alert{Level: "error"}))
		require.NoError(t, err)
		for _, name := range p.Names() {
			require.Equal(t, want, name)
		}
		require.NotEmpty(t, p.Names())
	}
	p := smtptest.New(t, false)
	_, err := p.Client(t, func(c *email.Config) { c.From = "dealbox@localhost" }).Notify(t.Context(), message(notify.Alert{Level: "error"}))
	require.NoError(t, err)
	require.Equal(t, "dealbox.invalid", p.Names()[0])
}

// doctor names each mailbox, sends no mail, and leaves the server ready.
func TestCheck_SendsNothing(t *testing.T) {
	t.Parallel()
	p := smtptest.New(t, false)
	var named []string
	p.Rcpt = func(to string) error {
		named = append(named, to)
		return nil
	}
	_, err := p.Client(t, func(c *email.Config) { c.To = []string{"ops@example.com", "Ann <ann@example.com>"} }).Check(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"ops@example.com", "ann@example.com"}, named)
	require.Empty(t, p.Letters())
}
