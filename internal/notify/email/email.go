// Package email sends notifications by SMTP, one mail to one mailbox.
package email

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	gomail "github.com/wneessen/go-mail"

	"dealbox/internal/notify"
	"dealbox/internal/text"
)

// defaultTimeout bounds one attempt, from the look-up of the name to QUIT.
// An SMTP server that greets slowly to shake off spammers takes some seconds.
const defaultTimeout = 20 * time.Second

// Security is how the connection to an SMTP server is protected.
type Security string

// The kinds of protection.
const (
	// StartTLS begins in the clear and must then turn to TLS (RFC 3207).
	StartTLS Security = "starttls"
	// ImplicitTLS is TLS from the first byte (RFC 8314).
	ImplicitTLS Security = "tls"
	// NoTLS is for a catcher on the same machine or network. It takes no password.
	NoTLS Security = "none"
)

// Config of a Client.
type Config struct {
	Host     string
	Port     int
	Security Security // "" means StartTLS
	// User and Password may be empty: then the server is not asked to authenticate.
	User, Password string
	// Helo is the name that this machine gives the server; "" means the sender's
	// domain. It is never localhost, which many servers refuse.
	Helo string
	From string   // an address, with or without a name
	To   []string // at least one
	// Timeout bounds one attempt. 0 means 20 s.
	Timeout time.Duration
	// TLS is for another root than the system's; nil for those.
	TLS *tls.Config
	// UserAgent of the mails. "" means Dealbox.
	UserAgent string
}

// Client sends each notification to one mailbox of a fixed list, as text and as HTML.
type Client struct {
	config Config
	from   *mail.Address
	to     []*mail.Address // each address once
	server string          // host:port: what may be shown of it
}

// New returns a Client, or what is wrong with the settings. Its errors never hold
// the password.
func New(c Config) (*Client, error) {
	c.Security = cmp.Or(c.Security, StartTLS)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.UserAgent = cmp.Or(c.UserAgent, "Dealbox")
	switch {
	case c.Host == "" || c.Port < 1 || c.Port > 65535:
		return nil, errors.New("the SMTP server needs a host and a port")
	case c.Security != StartTLS && c.Security != ImplicitTLS && c.Security != NoTLS:
		return nil, fmt.Errorf("the SMTP security %q is unknown; known are %s, %s and %s", c.Security, StartTLS, ImplicitTLS, NoTLS)
	case c.Security == NoTLS && c.Password != "":
		return nil, errors.New("a password is never sent without TLS")
	case len(c.To) == 0:
		return nil, errors.New("alerts by e-mail need somebody to send them to")
	}
	client := &Client{config: c, server: net.JoinHostPort(c.Host, strconv.Itoa(c.Port))}
	var err error
	if client.from, err = mail.ParseAddress(c.From); err != nil {
		return nil, fmt.Errorf("the sender of alerts: %w", err)
	}
	client.config.Helo = heloName(c.Helo, client.domain())
	for _, to := range c.To {
		address, err := mail.ParseAddress(to)
		if err != nil {
			return nil, fmt.Errorf("a receiver of alerts: %w", err)
		}
		if client.receiver(address.Address) == nil {
			client.to = append(client.to, address)
		}
	}
	return client, nil
}

// Receivers returns the addresses of the mailboxes, without names, each once.
func (c *Client) Receivers() []string {
	all := make([]string, len(c.to))
	for i, to := range c.to {
		all[i] = to.Address
	}
	return all
}

// Notify sends the message to its receiver; see notify.Channel. What the server
// answers with 4xx (greylisting) and a network that fails are worth another attempt;
// 5xx is final.
func (c *Client) Notify(ctx context.Context, m notify.Message) (retry bool, err error) {
	ctx, cancel := c.withLimit(ctx)
	defer cancel()
	to := c.receiver(m.Receiver)
	if to == nil {
		return false, fmt.Errorf("%s is not a receiver of alerts in the settings", text.Line(m.Receiver, maxWords))
	}
	letter, err := c.letter(m, to)
	if err != nil {
		return false, fmt.Errorf("write the mail of notification %d: %w", m.ID, err)
	}
	t := &attempt{Client: c}
	client, err := t.smtp(ctx)
	if err != nil {
		return false, err
	}
	// After the server has taken the mail, how the connection ends changes nothing.
	if err := client.DialAndSendWithContext(ctx, letter); err != nil && !letter.IsDelivered() {
		return t.classify(ctx, err, to.Address)
	}
	return false, nil
}

// attempt is one conversation with the server.
type attempt struct {
	*Client

	// connected and heard are how far it came; heard is the first byte of the server, 0
	// while it has said nothing.
	connected atomic.Bool
	heard     atomic.Int32
}

// localNames are names that say nothing of who is speaking.
var localNames = regexp.MustCompile(`(?i)^$|^localhost(\.|$)|[^a-z0-9.:\[\]-]`)

// heloName returns the first of the names that a server may accept.
func heloName(names ...string) string {
	for _, name := range names {
		if !localNames.MatchString(name) {
			return name
		}
	}
	return "dealbox.invalid" // for a catcher on the same machine, which takes anything
}

// withLimit bounds one attempt, and names the limit when it is met.
func (c *Client) withLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.config.Timeout, &notify.SendError{
		Text: c.server + " did not take the mail within " + c.config.Timeout.String() + ", the limit for one attempt",
	})
}

// receiver returns the configured mailbox of an address; nil when there is none.
func (c *Client) receiver(address string) *mail.Address {
	for _, to := range c.to {
		if to.Address == address {
			return to
		}
	}
	return nil
}

// Check connects, turns to TLS, authenticates, names the sender and each mailbox, and
// leaves without a mail. retry reports whether the service would try again, as with
// greylisting.
func (c *Client) Check(ctx context.Context) (retry bool, err error) {
	ctx, cancel := c.withLimit(ctx)
	defer cancel()
	t := &attempt{Client: c}
	client, err := t.smtp(ctx)
	if err != nil {
		return false, err
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return t.classify(ctx, err, "")
	}
	defer func() { _ = client.CloseWithSMTPClient(session) }()
	if err := session.Mail("<" + c.from.Address + ">"); err != nil {
		return t.classify(ctx, &stagedError{err, sender}, "")
	}
	for _, to := range c.to {
		if err := session.Rcpt("<" + to.Address + ">"); err != nil {
			return t.classify(ctx, &stagedError{err, recipient}, to.Address)
		}
	}
	_ = session.Reset() // It would take the mail, which was the question.
	return false, nil
}

// smtp returns a client of go-mail for one attempt.
func (t *attempt) smtp(ctx context.Context) (*gomail.Client, error) {
	c := t.Client
	options := []gomail.Option{
		gomail.WithPort(c.config.Port), gomail.WithTimeout(c.config.Timeout), gomail.WithDialContextFunc(t.dial(ctx)),
		gomail.WithHELO(c.config.Helo),
		gomail.WithTLSConfig(c.tls()), gomail.WithTLSPolicy(gomail.TLSMandatory),
	}
	switch c.config.Security {
	case ImplicitTLS:
		// dial has turned to TLS already. A server must not offer STARTTLS then (RFC
		// 3207 §4.2), so this only tells go-mail that the connection is protected.
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	case NoTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if c.config.Password != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(c.config.User), gomail.WithPassword(c.config.Password))
	}
	client, err := gomail.NewClient(c.config.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("prepare to send through %s: %w", c.server, err)
	}
	return client, nil
}

func (c *Client) tls() *tls.Config {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.config.TLS != nil {
		settings = c.config.TLS.Clone()
	}
	settings.ServerName = c.config.Host
	return settings
}

// dial opens a connection that ends with ctx. go-mail moves the deadline with
// each step, so a server that answers slowly enough could hold it for hours.
func (t *attempt) dial(ctx context.Context) gomail.DialContextFunc {
	c := t.Client
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(dialing, network, address)
		if err != nil {
			return nil, err //nolint:wrapcheck // classify names the server
		}
		t.connected.Store(true)
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		conn = &listener{Conn: conn, heard: &t.heard}
		if c.config.Security != ImplicitTLS {
			return conn, nil
		}
		secured := tls.Client(conn, c.tls())
		if err := secured.HandshakeContext(dialing); err != nil {
			_ = conn.Close()
			return nil, err //nolint:wrapcheck // classify names the server
		}
		return secured, nil
	}
}

// listener is a connection that notes the first byte of the other side.
type listener struct {
	net.Conn

	heard *atomic.Int32
}

func (l *listener) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 {
		l.heard.CompareAndSwap(0, int32(b[0]))
	}
	return n, err //nolint:wrapcheck // the connection's own error
}
