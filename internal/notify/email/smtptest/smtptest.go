// Package smtptest is a mail server for tests, and what reads the mails that it took.
package smtptest

import (
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
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"dealbox/internal/notify/email"
)

// Password is what the server lets its one user, dealbox, in with.
const Password = "a-mail-password-that-nobody-may-see"

// Server is a real SMTP server. It answers MAIL FROM with the errors that New was
// given, one after the other, and RCPT TO with what Rcpt returns. Its fields may be
// set until the first connection.
type Server struct {
	Rcpt func(to string) error // nil takes all
	// Hello answers EHLO and HELO by the name that the client gives; nil takes all.
	Hello func(name string) error
	// Mechanisms are the logins that it offers; nil is PLAIN.
	Mechanisms []string
	// Login is its answer to a login, nil checks the password.
	Login error
	// Content is its answer to the mail itself; nil takes it.
	Content error

	host  string
	port  int
	roots *tls.Config // trusts it

	mu      sync.Mutex
	answers []error
	got     []string
	names   []string
}

// New starts a Server, with STARTTLS or, when implicit, with TLS from the first byte.
func New(t *testing.T, implicit bool, answers ...error) *Server {
	t.Helper()
	certified := httptest.NewUnstartedServer(http.NotFoundHandler())
	certified.StartTLS()
	t.Cleanup(certified.Close)
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	p := &Server{roots: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, answers: answers}
	server := smtp.NewServer(p)
	server.TLSConfig = &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.host, p.port = "127.0.0.1", listener.Addr().(*net.TCPAddr).Port
	if implicit {
		listener = tls.NewListener(listener, server.TLSConfig)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

// NewSession implements smtp.Backend.
func (p *Server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	p.mu.Lock()
	p.names = append(p.names, c.Hostname())
	p.mu.Unlock()
	if p.Hello != nil {
		if err := p.Hello(c.Hostname()); err != nil {
			return nil, err
		}
	}
	return &session{server: p}, nil
}

// Names returns the names that clients gave at EHLO and HELO.
func (p *Server) Names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.names...)
}

// Letters returns the mails that the server took, each behind a header Envelope-To.
func (p *Server) Letters() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.got...)
}

// Client returns a client of the server with one receiver, ops@example.com.
func (p *Server) Client(t *testing.T, change ...func(*email.Config)) *email.Client {
	t.Helper()
	c := email.Config{
		Host: p.host, Port: p.port, User: "dealbox", Password: Password, TLS: p.roots,
		From: "Dealbox <alerts@box.example>", To: []string{"ops@example.com"},
	}
	for _, f := range change {
		f(&c)
	}
	e, err := email.New(c)
	require.NoError(t, err)
	return e
}

type session struct {
	server *Server
	to     []string
}

func (s *session) AuthMechanisms() []string {
	if s.server.Mechanisms != nil {
		return s.server.Mechanisms
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.server.Login != nil {
			return s.server.Login
		}
		if user != "dealbox" || password != Password {
			return &smtp.SMTPError{Code: 535, Message: "no: " + password}
		}
		return nil
	}), nil
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if len(s.server.answers) == 0 {
		return nil
	}
	err := s.server.answers[0]
	s.server.answers = s.server.answers[1:]
	return err
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.server.Rcpt != nil {
		if err := s.server.Rcpt(to); err != nil {
			return err
		}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	letter, err := io.ReadAll(r)
	if s.server.Content != nil {
		return s.server.Content
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.got = append(s.server.got, "Envelope-To: "+strings.Join(s.to, ",")+"\r\n"+string(letter))
	return err
}

func (s *session) Reset()        { s.to = nil }
func (s *session) Logout() error { return nil }

// Listen returns a Server that hands each connection to treat.
func Listen(t *testing.T, treat func(net.Conn)) *Server {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
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
	return &Server{host: "127.0.0.1", port: listener.Addr().(*net.TCPAddr).Port}
}

// Bodies returns the header and the two parts of a mail, decoded.
func Bodies(t *testing.T, letter string) (header mail.Header, text, html string) {
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
