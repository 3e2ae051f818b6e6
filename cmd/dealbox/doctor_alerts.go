package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"dealbox/internal/app"
)

// dialTimeout is for resolving, connecting and the TLS handshake together.
const dialTimeout = 5 * time.Second

// alertWebhook sees whether the host can be resolved and connected to. It sends
// nothing, so it cannot tell whether the receiver takes alerts.
func (d doctor) alertWebhook(ctx context.Context) []finding {
	const check = "alert webhook"
	if name, isWrong := d.wrong("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET"); isWrong {
		return []finding{skipped(check, name+" is wrong")}
	}
	a := d.config.Alerts
	if a.WebhookURL == "" && a.Email != nil {
		return []finding{ok(check, "not set; alerts go by e-mail")}
	}
	if a.WebhookURL == "" {
		return []finding{warn(check, "not set: alerts are kept, but nobody is told", "Set ALERT_WEBHOOK_URL, or ALERT_EMAIL_ENABLED with its settings.")}
	}
	host := app.HostOf(a.WebhookURL)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := dial(ctx, a.WebhookURL); err != nil {
		return []finding{failed(check, host+": "+err.Error(), fixDial(err))}
	}
	if a.WebhookFormat == "standard" && a.WebhookSecret == "" {
		return []finding{warn(check, host+" can be reached; alerts are sent unsigned", "Set ALERT_WEBHOOK_SECRET so that the receiver can tell that they are genuine.")}
	}
	return []finding{ok(check, host+" can be reached")}
}

// alertEmail lets itself in at the mail server and leaves again. It sends no
// mail, so it cannot tell whether the server takes the addresses.
func (d doctor) alertEmail(ctx context.Context) []finding {
	const check = "alert e-mail"
	if name, isWrong := d.wrong("SMTP_URL", "ALERT_EMAIL_ENABLED", "ALERT_EMAIL_FROM", "ALERT_EMAIL_TO"); isWrong {
		return []finding{skipped(check, name+" is wrong")}
	}
	settings := d.config.Alerts.Email
	if settings == nil {
		return []finding{ok(check, "not used: ALERT_EMAIL_ENABLED is not true")}
	}
	email, err := app.NewEmail(*settings, d.version)
	if err != nil {
		return []finding{failed(check, err.Error(), "Correct SMTP_URL, ALERT_EMAIL_FROM or ALERT_EMAIL_TO.")}
	}
	if err := email.Check(ctx); err != nil {
		return []finding{failed(check, err.Error(), "Check host, port, user and password in SMTP_URL; smtp:// is for STARTTLS, smtps:// for TLS from the start.")}
	}
	return []finding{ok(check, settings.Host+" lets Dealbox in; 'dealbox alerts test' sends one")}
}

// dial connects and, for https, shakes hands. Behind a proxy only the proxy can
// be seen.
func dial(ctx context.Context, target app.Secret) error {
	u, err := url.Parse(target.Reveal())
	if err != nil {
		// The error holds the URL, which may hold a key.
		return errors.New("the URL cannot be read")
	}
	// The channel sends by the same rule (HTTPS_PROXY, NO_PROXY, …).
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
		u = proxy
	}
	address := net.JoinHostPort(u.Hostname(), portOf(u))
	var conn net.Conn
	if u.Scheme == "https" {
		conn, err = (&tls.Dialer{}).DialContext(ctx, "tcp", address)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}
	if err != nil {
		return err //nolint:wrapcheck // it names the address already
	}
	_ = conn.Close()
	return nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

func fixDial(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns):
		return "Check the host's name in ALERT_WEBHOOK_URL and this machine's DNS."
	case errors.As(err, &certificate):
		return "Give the receiver a certificate that this machine trusts, or install its CA here."
	}
	return "Check that the receiver runs and that this machine may connect to it."
}
