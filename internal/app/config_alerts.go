package app

import (
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"dealbox/internal/notify/email"
	"dealbox/internal/text"
)

// AlertsConfig is where notifications go.
type AlertsConfig struct {
	WebhookURL    Secret // empty when unset; such URLs often carry a key in their path
	WebhookSecret Secret
	WebhookFormat string // standard, slack or teams
	WebhookLevel  string // lowest level sent there: info, warning, error or critical
	// Email is nil when alerts are not sent by e-mail.
	Email *EmailConfig
	// Instance tells this Dealbox from others; never empty where there is a PUBLIC_URL or
	// a STRAPI_URL.
	Instance string
	// StrapiAdminURL is where people reach Strapi's admin panel; "" when not known.
	StrapiAdminURL string
	// RemindEvery is the time between reminders of an alert that nobody acknowledged.
	RemindEvery time.Duration
}

// EmailConfig is for alerts by e-mail.
type EmailConfig struct {
	Host     string
	Port     int
	Security email.Security
	User     string
	Password Secret
	Helo     string // the name that Dealbox gives the server; "" for the sender's domain
	From     string
	To       []string
	Level    string // lowest level sent
}

// levels, from the lowest.
var levels = []string{"info", "warning", "error", "critical"}

// NeedAlerts reads the channels of notifications.
func NeedAlerts(s *settings, c *Config) {
	lowest := s.choice("ALERT_NOTIFY_LEVEL", "error", levels...)
	c.Alerts.WebhookLevel = s.choice("ALERT_WEBHOOK_LEVEL", lowest, levels...)
	c.Alerts.WebhookFormat = s.choice("ALERT_WEBHOOK_FORMAT", "standard", "standard", "slack", "teams")
	c.Alerts.Instance = s.instanceName()
	c.Alerts.StrapiAdminURL = s.strapiAdminURL()
	c.Alerts.RemindEvery = s.duration("ALERT_REPEAT_INTERVAL", 4*time.Hour, time.Minute, 30*24*time.Hour)
	if v := s.text("ALERT_WEBHOOK_URL"); v != "" {
		if _, wrong := ParseWebURL(v); wrong != "" {
			s.wrong("ALERT_WEBHOOK_URL", wrong, "Give the http or https URL that accepts alerts, without user and fragment.")
		} else {
			c.Alerts.WebhookURL = Secret(v)
		}
	}
	if v := s.text("ALERT_WEBHOOK_SECRET"); v != "" {
		s.signingSecret("ALERT_WEBHOOK_SECRET", v)
		c.Alerts.WebhookSecret = Secret(v)
	}
	email := s.email(s.choice("ALERT_EMAIL_LEVEL", lowest, levels...))
	if s.boolean("ALERT_EMAIL_ENABLED", false) {
		c.Alerts.Email = email
		s.required("SMTP_URL", "Give the mail server, such as "+smtpExample+".")
		s.required("ALERT_EMAIL_FROM", "Give the address that alerts come from.")
		if len(email.To) == 0 {
			s.wrong("ALERT_EMAIL_TO", "names nobody", "Give the addresses that alerts go to, comma-separated.")
		}
	}
}

// maxInstanceName bounds INSTANCE_NAME, in characters: it stands in each subject.
const maxInstanceName = 60

// instanceName reads INSTANCE_NAME; its default is the host of PUBLIC_URL, else of STRAPI_URL.
func (s *settings) instanceName() string {
	name := s.text("INSTANCE_NAME")
	if utf8.RuneCountInString(name) > maxInstanceName || text.Line(name, len(name)) != name {
		s.wrong("INSTANCE_NAME", "is "+shown(name), fmt.Sprintf("Give a name of at most %d characters on one line, such as crm.example.com or 'Sales, Bangkok'.", maxInstanceName))
		name = ""
	}
	if name != "" {
		return name
	}
	for _, setting := range []string{"PUBLIC_URL", "STRAPI_URL"} {
		if u, wrong := ParseWebURL(s.text(setting)); wrong == "" {
			return u.Host
		}
	}
	return ""
}

// strapiAdminURL reads STRAPI_ADMIN_URL. Its default is /admin beside the /api of STRAPI_URL,
// else at its host: any other path is api.rest.prefix, which the panel does not have.
func (s *settings) strapiAdminURL() string {
	if u := s.webURL("STRAPI_ADMIN_URL"); u != nil {
		return strings.TrimRight(u.String(), "/")
	}
	u, wrong := ParseWebURL(s.text("STRAPI_URL"))
	if wrong != "" {
		return ""
	}
	beside, isAPI := strings.CutSuffix(strings.TrimRight(u.EscapedPath(), "/"), "/api")
	if !isAPI {
		beside = ""
	}
	return u.Scheme + "://" + u.Host + beside + "/admin"
}

const smtpExample = "smtp://user:password@mail.example.com:587 (STARTTLS) or smtps://…:465"

// email checks the settings also while ALERT_EMAIL_ENABLED is false: whoever enables
// it at night should not find a mistake.
func (s *settings) email(level string) *EmailConfig {
	e := &EmailConfig{Level: level, From: s.text("ALERT_EMAIL_FROM"), To: s.list("ALERT_EMAIL_TO")}
	if v := s.text("SMTP_URL"); v != "" {
		if wrong := e.parseServer(v); wrong != "" {
			s.wrong("SMTP_URL", wrong, "Give "+smtpExample+"; percent-encode @ : / in the password.")
		}
	}
	e.Helo = s.helo()
	if _, err := mail.ParseAddress(e.From); e.From != "" && err != nil {
		s.wrong("ALERT_EMAIL_FROM", "is "+shown(e.From), "Give one address, such as alerts@example.com or Dealbox <alerts@example.com>.")
	}
	for _, to := range e.To {
		if _, err := mail.ParseAddress(to); err != nil {
			s.wrong("ALERT_EMAIL_TO", "has the entry "+shown(to), "Give addresses, comma-separated.")
		}
	}
	return e
}

// helloShape is a full host name, or an address literal such as [192.0.2.1] (RFC 5321, 4.1.1.1).
var helloShape = regexp.MustCompile(`^([A-Za-z0-9-]+\.)+[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*$|^\[[0-9A-Fa-f.:]+\]$|^\[IPv6:[0-9A-Fa-f.:]+\]$`)

// helo reads SMTP_HELO; its default is the host of PUBLIC_URL where that is a full name,
// else "", which is the sender's domain.
func (s *settings) helo() string {
	name := s.text("SMTP_HELO")
	if name != "" && !helloShape.MatchString(name) {
		s.wrong("SMTP_HELO", "is "+shown(name), "Give the full host name of this machine, such as crm.example.com: mail servers refuse localhost and names without a dot.")
		return ""
	}
	if name != "" {
		return name
	}
	if u, wrong := ParseWebURL(s.text("PUBLIC_URL")); wrong == "" && helloShape.MatchString(u.Hostname()) {
		return u.Hostname()
	}
	return ""
}

// parseServer reads SMTP_URL and returns what is wrong with it, in words that follow
// the name. It never shows the value, which holds a password.
func (e *EmailConfig) parseServer(v string) (wrong string) {
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return "is not a URL"
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return "does not start with smtp:// or smtps://"
	case u.Hostname() == "":
		return "names no host"
	case !validPort(u.Port()):
		return "has a port outside 1 to 65535"
	case u.Fragment != "" || (u.Path != "" && u.Path != "/"):
		return "has a path or a fragment"
	}
	e.Host, e.User = u.Hostname(), u.User.Username()
	password, _ := u.User.Password()
	e.Password = Secret(password)
	e.Security, e.Port = email.StartTLS, 587
	if u.Scheme == "smtps" {
		e.Security, e.Port = email.ImplicitTLS, 465
	}
	if u.Port() != "" {
		e.Port, _ = strconv.Atoi(u.Port())
	}
	return e.parseOptions(u)
}

// parseOptions reads ?tls=none, the only option there is.
func (e *EmailConfig) parseOptions(u *url.URL) (wrong string) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || len(query) > 1 || (len(query) == 1 && query.Get("tls") != "none") {
		return "has an option other than tls=none"
	}
	if len(query) == 0 {
		return ""
	}
	if u.Scheme == "smtps" {
		return "has smtps:// and tls=none, which contradict each other"
	}
	if e.Password != "" {
		return "has a password and tls=none: a password is never sent without TLS"
	}
	e.Security = email.NoTLS
	return ""
}
