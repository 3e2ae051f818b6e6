package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dealbox/internal/app"
	"dealbox/internal/notify"
)

// dialTimeout is for resolving, connecting and the TLS handshake together.
const dialTimeout = 5 * time.Second

// alertWebhook connects to the host. It sends nothing, so it does not show whether
// the receiver accepts alerts.
func (d doctor) alertWebhook(ctx context.Context) []Finding {
	const check = "alert webhook"
	if name, isWrong := d.wrong("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET"); isWrong {
		return []Finding{skipped(check, "it needs a correct "+name+", see above")}
	}
	a := d.config.Alerts
	if a.WebhookURL == "" && a.Email != nil {
		return []Finding{ok(check, "not set; alerts go by e-mail")}
	}
	if a.WebhookURL == "" {
		return []Finding{warn(check, "not set: alerts are stored, but nobody is notified", "Set ALERT_WEBHOOK_URL, or ALERT_EMAIL_ENABLED with its settings.")}
	}
	host := app.HostOf(a.WebhookURL)
	if format, product := formatOf(host); format != "" && format != a.WebhookFormat {
		return []Finding{failed(check, fmt.Sprintf("%s is %s, and ALERT_WEBHOOK_FORMAT is %s, which it does not take", host, product, a.WebhookFormat),
			"Set ALERT_WEBHOOK_FORMAT="+format+".")}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := dial(ctx, a.WebhookURL); err != nil {
		return []Finding{failed(check, host+": "+err.Error(), fixDial(err))}
	}
	if a.WebhookFormat == "standard" && a.WebhookSecret == "" {
		return []Finding{warn(check, host+" can be reached; alerts are sent unsigned", "Set ALERT_WEBHOOK_SECRET so that the receiver can verify them.")}
	}
	return []Finding{ok(check, host+" can be reached")}
}

// formatOf returns the format that the receiver at a well-known host takes; "" for others.
func formatOf(origin string) (format, product string) {
	u, err := url.Parse(origin)
	if err != nil {
		return "", ""
	}
	host := strings.ToLower(u.Hostname())
	for _, domain := range []string{".logic.azure.com", ".powerplatform.com", ".webhook.office.com"} {
		if strings.HasSuffix(host, domain) {
			return "teams", "Microsoft Teams"
		}
	}
	if host == "hooks.slack.com" {
		return "slack", "Slack"
	}
	return "", ""
}

// alertEmail logs in at the mail server, names the sender and each mailbox, and leaves
// again. It sends no mail, so it does not show what the server says of the mail itself.
func (d doctor) alertEmail(ctx context.Context) []Finding {
	const check = "alert e-mail"
	if name, isWrong := d.wrong("SMTP_URL", "ALERT_EMAIL_ENABLED", "ALERT_EMAIL_FROM", "ALERT_EMAIL_TO"); isWrong {
		return []Finding{skipped(check, "it needs a correct "+name+", see above")}
	}
	settings := d.config.Alerts.Email
	if settings == nil {
		return []Finding{ok(check, "not used: ALERT_EMAIL_ENABLED is not true")}
	}
	email, err := app.NewEmail(*settings, d.version)
	if err != nil {
		return []Finding{failed(check, err.Error(), "Correct SMTP_URL, ALERT_EMAIL_FROM or ALERT_EMAIL_TO.")}
	}
	if _, err := email.Check(ctx); err != nil {
		return []Finding{mailFinding(check, err)}
	}
	return []Finding{ok(check, fmt.Sprintf("%s takes mail from %s to %s; 'dealbox alerts test' sends one",
		settings.Host, settings.From, strings.Join(settings.To, ", ")))}
}

// mailFinding tells what is to be corrected from what passes by itself, as greylisting does.
func mailFinding(check string, err error) Finding {
	refused, isAnswer := errors.AsType[*notify.SendError](err)
	switch {
	case isAnswer && refused.Passing:
		return warn(check, refused.Text, refused.Do+".")
	case isAnswer && refused.Do != "":
		return failed(check, refused.Text, refused.Do+".")
	}
	return failed(check, err.Error(), "Check host, port, user and password in SMTP_URL; smtp:// is for STARTTLS, smtps:// for TLS from the start.")
}

// dial connects and, for https, shakes hands. Behind a proxy it reaches only the proxy.
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
