package main

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
func (d doctor) settings(context.Context) []finding {
	if len(d.broken) == 0 {
		return []finding{ok("settings", "all are right")}
	}
	findings := make([]finding, 0, len(d.broken))
	for _, p := range d.broken {
		findings = append(findings, failed(p.Setting, p.Wrong, p.Fix))
	}
	return findings
}

// access tells who will be able to read and to act.
func (d doctor) access(context.Context) []finding {
	const check = "access"
	if name, isWrong := d.wrong("API_TOKEN", "ADMIN_TOKEN", "PUBLIC_READS", "LISTEN_ADDR", "PORT"); isWrong {
		return []finding{skipped(check, name+" is wrong")}
	}
	a := d.config.Access
	switch {
	case a.PublicReads:
		return []finding{warn(check, "anybody who reaches the service can read alerts, detailed health and the forecast",
			"Unset PUBLIC_READS and set API_TOKEN, unless a frontend really cannot keep a token.")}
	case a.APIToken == "" && !isLoopback(d.config.Listen.Addr):
		return []finding{warn(check, "without API_TOKEN reads are refused from other machines and through proxies", "Set API_TOKEN. "+app.MakeSecret)}
	case len(a.AdminTokens) == 0:
		return []finding{ok(check, "reads as configured; without ADMIN_TOKEN operator actions are refused")}
	}
	return []finding{ok(check, fmt.Sprintf("reads as configured; %d may act", len(a.AdminTokens)))}
}

func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && a.Unmap().IsLoopback())
}

// webhookSecrets judges how hard the secrets are to guess. Their length was
// checked with the settings.
func (d doctor) webhookSecrets(context.Context) []finding {
	const check = "webhook secret"
	if name, isWrong := d.wrong("STRAPI_WEBHOOK_SECRET", "STRAPI_WEBHOOK_TOKEN", "STRAPI_WEBHOOK_SCHEMES"); isWrong {
		return []finding{skipped(check, name+" is wrong")}
	}
	w := d.config.Webhook
	for i, s := range w.Secrets {
		if why := weakness(s); why != "" {
			return []finding{warn(check, fmt.Sprintf("secret %d of %d %s", i+1, len(w.Secrets), why), "Take a random one. "+app.MakeSecret)}
		}
	}
	for _, t := range strings.FieldsFunc(w.Token.Reveal(), func(r rune) bool { return r == ',' }) {
		if why := weakness(app.Secret(t)); why != "" {
			return []finding{warn(check, "STRAPI_WEBHOOK_TOKEN "+why, "Take a random one. "+app.MakeSecret)}
		}
	}
	if w.Token != "" {
		return []finding{warn(check, "STRAPI_WEBHOOK_TOKEN is accepted: it proves who sends, not what is sent",
			"Let Strapi sign its webhooks and unset STRAPI_WEBHOOK_TOKEN when you can.")}
	}
	return []finding{ok(check, fmt.Sprintf("%d, long enough and not guessable by its look", len(w.Secrets)))}
}

// commonWords are in secrets that people made up.
var commonWords = []string{"changeme", "change-me", "change_me", "secret", "password", "dealbox", "strapi", "webhook", "example", "12345678", "qwerty"}

// weakness says why a secret may be guessed, "" when nothing tells so. It sees
// what people type, not what a bad generator makes.
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
