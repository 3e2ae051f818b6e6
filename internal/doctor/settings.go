package doctor

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"dealbox/internal/app"
	"dealbox/internal/webhooksig"
)

// settings reports each wrong setting as a failed check of its own.
func (d doctor) settings(context.Context) []Finding {
	if len(d.problems) == 0 {
		return []Finding{ok("settings", "all are right")}
	}
	findings := make([]Finding, 0, len(d.problems))
	for _, p := range d.problems {
		findings = append(findings, failed(p.Setting, p.Wrong, p.Fix))
	}
	return findings
}

// access reports who will be able to read and to act.
func (d doctor) access(context.Context) []Finding {
	const check = "access"
	if name, isWrong := d.wrong("API_TOKEN", "ADMIN_TOKEN", "PUBLIC_READS", "LISTEN_ADDR", "PORT"); isWrong {
		return []Finding{skipped(check, "it needs a correct "+name+", see above")}
	}
	a := d.config.Access
	switch {
	case a.PublicReads:
		return []Finding{warn(check, "anybody who can reach the service can read alerts, detailed health and the forecast",
			"Unset PUBLIC_READS and set API_TOKEN, unless a frontend really cannot keep a token.")}
	case a.APIToken == "" && !isLoopback(d.config.Listen.Addr):
		return []Finding{warn(check, "without API_TOKEN reads are refused from other machines and through proxies", "Set API_TOKEN. "+app.MakeSecret)}
	case len(a.AdminTokens) == 0:
		return []Finding{ok(check, "reads as configured; without ADMIN_TOKEN operator actions are refused")}
	}
	return []Finding{ok(check, fmt.Sprintf("reads as configured; ADMIN_TOKEN has %d for operator actions", len(a.AdminTokens)))}
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && a.Unmap().IsLoopback())
}

// webhookSecrets reports secrets that are easy to guess. Their length was checked
// with the settings.
func (d doctor) webhookSecrets(context.Context) []Finding {
	const check = "webhook secret"
	if name, isWrong := d.wrong("STRAPI_WEBHOOK_SECRET", "STRAPI_WEBHOOK_TOKEN", "STRAPI_WEBHOOK_SCHEMES"); isWrong {
		return []Finding{skipped(check, "it needs a correct "+name+", see above")}
	}
	w := d.config.Webhook
	for i, s := range w.Secrets {
		if why := weakness(s); why != "" {
			return []Finding{warn(check, fmt.Sprintf("secret %d of %d %s", i+1, len(w.Secrets), why), "Take a random one. "+app.MakeSecret)}
		}
	}
	for _, t := range strings.FieldsFunc(w.Token.Reveal(), func(r rune) bool { return r == ',' }) {
		if why := weakness(app.Secret(t)); why != "" {
			return []Finding{warn(check, "STRAPI_WEBHOOK_TOKEN "+why, "Take a random one. "+app.MakeSecret)}
		}
	}
	if w.Token != "" {
		return []Finding{warn(check, "STRAPI_WEBHOOK_TOKEN is accepted: it proves who sent a webhook, not that its content is unchanged",
			"Let Strapi sign its webhooks and unset STRAPI_WEBHOOK_TOKEN when you can.")}
	}
	return []Finding{ok(check, fmt.Sprintf("STRAPI_WEBHOOK_SECRET has %d, long enough and not easy to guess", len(w.Secrets)))}
}

// commonWords are in secrets that people made up.
var commonWords = []string{"changeme", "change-me", "change_me", "secret", "password", "dealbox", "strapi", "webhook", "example", "12345678", "qwerty"}

// weakness returns why a secret may be guessed, "" when there is no sign of it. It
// finds what people type, not what a bad generator makes.
func weakness(s app.Secret) string {
	key, err := webhooksig.ParseSecret(s.Reveal())
	if err != nil {
		return "cannot be read"
	}
	lower := bytes.ToLower(key)
	for _, word := range commonWords {
		if bytes.Contains(lower, []byte(word)) {
			return "has a common word in it"
		}
	}
	// 24 random hex digits have fewer than 8 different ones about once in 10,000.
	if distinct(key) < 8 {
		return "has few different characters"
	}
	if strings.Contains(strings.Repeat(string(key), 2)[1:2*len(key)-1], string(key)) {
		return "repeats itself"
	}
	return ""
}

func distinct(key []byte) int {
	seen := map[byte]bool{}
	for _, b := range key {
		seen[b] = true
	}
	return len(seen)
}
