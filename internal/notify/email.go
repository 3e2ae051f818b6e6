package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"dealbox/internal/text"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// defaultEmailTimeout bounds one attempt, from the look-up of the name to QUIT.
// An SMTP server that greets slowly to shake off spammers takes some seconds.
const defaultEmailTimeout = 20 * time.Second

// maxAnswerLine bounds what is kept of an answer about one receiver, in bytes.
const maxAnswerLine = 120

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

// EmailConfig of an Email.
type EmailConfig struct {
	Host     string
	Port     int
	Security Security // "" means StartTLS
	// User and Password may be empty: then the server is not asked to authenticate.
	User, Password string
	From           string   // an address, with or without a name
	To             []string // at least one
	// Timeout bounds one attempt. 0 means 20 s.
	Timeout time.Duration
	// TLS is for another root than the system's; nil for those.
	TLS *tls.Config
	// UserAgent of the messages. "" means Dealbox.
	UserAgent string
}

// Email sends each message to a fixed list of people, as text and as HTML.
type Email struct {
	config EmailConfig
	from   *mail.Address
	to     []*mail.Address
	server string // host:port: what may be shown of it
}

// NewEmail checks the settings. Its errors never hold the password.
func NewEmail(c EmailConfig) (*Email, error) {
	c.Security = cmp.Or(c.Security, StartTLS)
	c.Timeout = cmp.Or(c.Timeout, defaultEmailTimeout)
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
	e := &Email{config: c, server: net.JoinHostPort(c.Host, strconv.Itoa(c.Port))}
	var err error
	if e.from, err = mail.ParseAddress(c.From); err != nil {
		return nil, fmt.Errorf("the sender of alerts: %w", err)
	}
	for _, to := range c.To {
		address, err := mail.ParseAddress(to)
		if err != nil {
			return nil, fmt.Errorf("a receiver of alerts: %w", err)
		}
		e.to = append(e.to, address)
	}
	return e, nil
}

// Notify sends the message; see Channel.Notify. What the server puts off (4xx)
// and a network that fails are worth another attempt; what it refuses (5xx) is
// final. One receiver that it does not take keeps no other from the mail: then the
// error is an Undelivered, and retry tells whether any of them is put off.
func (e *Email) Notify(ctx context.Context, m Message) (retry bool, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.config.Timeout, e.timedOut())
	defer cancel()
	letter, err := e.written(m)
	if err != nil {
		return false, fmt.Errorf("write the mail of notification %d: %w", m.ID, err)
	}
	client, err := e.client(ctx)
	if err != nil {
		return false, err
	}
	server, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return e.judge(ctx, err)
	}
	defer func() { _ = server.Quit() }() // How the farewell goes changes nothing.
	undelivered, err := e.hand(server, letter, e.receivers(m.To))
	if err != nil {
		return e.judge(ctx, err)
	}
	if len(undelivered.Refused)+len(undelivered.PutOff) > 0 {
		return len(undelivered.PutOff) > 0, undelivered
	}
	return false, nil
}

// written is the letter as it goes over the wire. It is whole before the server
// is asked: one that broke off could be taken as it stands.
func (e *Email) written(m Message) ([]byte, error) {
	letter, err := e.letter(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = letter.WriteTo(&b)
	return b.Bytes(), err
}

// receivers are those of the settings, or of some addresses those that still are.
func (e *Email) receivers(only []string) []*mail.Address {
	if len(only) == 0 {
		return e.to
	}
	var some []*mail.Address
	for _, to := range e.to {
		if slices.Contains(only, to.Address) {
			some = append(some, to)
		}
	}
	return some
}

// hand gives the server the letter for those receivers that it takes it for.
// go-mail itself sends nothing when one of them is refused.
func (e *Email) hand(server *smtp.Client, letter []byte, to []*mail.Address) (*Undelivered, error) {
	if err := server.Mail((&mail.Address{Address: e.from.Address}).String()); err != nil {
		return nil, &stepError{"MAIL FROM", err}
	}
	u := &Undelivered{}
	for _, receiver := range to {
		err := server.Rcpt((&mail.Address{Address: receiver.Address}).String())
		var answer *textproto.Error
		switch {
		case err == nil:
			u.Taken = true
		case !errors.As(err, &answer):
			return nil, &stepError{"RCPT TO", err}
		case answer.Code >= 500:
			u.Refused = append(u.Refused, Refusal{receiver.Address, text.Line(err.Error(), maxAnswerLine)})
		default:
			u.PutOff = append(u.PutOff, Refusal{receiver.Address, text.Line(err.Error(), maxAnswerLine)})
		}
	}
	if !u.Taken {
		return u, nil
	}
	body, err := server.Data()
	if err != nil {
		return nil, &stepError{"DATA", err}
	}
	if _, err := body.Write(letter); err != nil {
		return nil, &stepError{"the mail", err}
	}
	if err := body.Close(); err != nil {
		return nil, &stepError{"the mail", err}
	}
	return u, nil
}

// Check connects, turns to TLS, authenticates and leaves, without a mail.
func (e *Email) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, e.config.Timeout, e.timedOut())
	defer cancel()
	client, err := e.client(ctx)
	if err != nil {
		return err
	}
	if err := client.DialWithContext(ctx); err != nil {
		_, err = e.judge(ctx, err)
		return err
	}
	_ = client.Close() // It let us in, which was the question.
	return nil
}

func (e *Email) client(ctx context.Context) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(e.config.Port), gomail.WithTimeout(e.config.Timeout), gomail.WithDialContextFunc(e.dial(ctx)),
		gomail.WithTLSConfig(e.tls()), gomail.WithTLSPolicy(gomail.TLSMandatory),
	}
	switch e.config.Security {
	case ImplicitTLS:
		// dial has turned to TLS already. A server must not offer STARTTLS then (RFC
		// 3207 §4.2), so this only tells go-mail that the connection is protected.
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	case NoTLS:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	}
	if e.config.Password != "" {
		options = append(options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover),
			gomail.WithUsername(e.config.User), gomail.WithPassword(e.config.Password))
	}
	client, err := gomail.NewClient(e.config.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("prepare to send through %s: %w", e.server, err)
	}
	return client, nil
}

func (e *Email) tls() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.config.TLS != nil {
		c = e.config.TLS.Clone()
	}
	c.ServerName = e.config.Host
	return c
}

// dial opens a connection that ends with ctx. go-mail moves the deadline with
// each step, so a server that answers slowly enough could hold it for hours.
func (e *Email) dial(ctx context.Context) gomail.DialContextFunc {
	return func(dialing context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(dialing, network, address)
		if err != nil {
			return nil, err //nolint:wrapcheck // judge names the server
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		if e.config.Security != ImplicitTLS {
			return conn, nil
		}
		secured := tls.Client(conn, e.tls())
		if err := secured.HandshakeContext(dialing); err != nil {
			_ = conn.Close()
			return nil, err //nolint:wrapcheck // judge names the server
		}
		return secured, nil
	}
}

// domain is what stands behind the @ of the sender.
func (e *Email) domain() string {
	return e.from.Address[strings.LastIndexByte(e.from.Address, '@')+1:]
}
