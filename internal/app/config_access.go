package app

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"dealbox/internal/text"
	"dealbox/internal/webhooksig"
)

// minSecret is the least length of secrets and tokens, in bytes. Standard
// Webhooks asks for 24 to 64 random bytes.
const minSecret = 24

const (
	// MakeSecret is the advice for a secret that must be replaced.
	MakeSecret = "Make one with: openssl rand -hex 32."
	makeToken  = "Make one with: openssl rand -hex 32. Give the token alone, without 'Bearer '."
)

func needAccess(s *settings, c *Config) {
	if v := s.text("API_TOKEN"); v != "" {
		c.Access.APIToken = s.token("API_TOKEN", v)
	}
	c.Access.AdminTokens = s.adminTokens("ADMIN_TOKEN")
	c.Access.PublicReads = s.boolean("PUBLIC_READS", false)
	c.Access.TrustedProxies = s.prefixes("TRUSTED_PROXIES")
	c.Access.CORSOrigins = s.origins("CORS_ORIGINS")
}

// actorName is what stands before = in ADMIN_TOKEN.
var actorName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

// adminTokens reads `token` or `name=token,…`.
func (s *settings) adminTokens(name string) []AdminToken {
	var tokens []AdminToken
	for _, item := range s.list(name) {
		who, token := splitActor(item)
		if !actorName.MatchString(who) {
			s.wrong(name, "has an entry whose name is not 1 to 64 letters, digits or . _ @ -", "Give name=token,… or one token.")
			continue
		}
		if slices.ContainsFunc(tokens, func(t AdminToken) bool { return t.Name == who }) {
			s.wrong(name, "has two entries of one name", "Give each token its own name: name=token,… .")
		}
		tokens = append(tokens, AdminToken{Name: who, Token: s.token(name, token)})
	}
	return tokens
}

// splitActor returns the name and the token of one entry. The padding of a base64
// token is no separator: a bare token may end in "=" or "==".
func splitActor(item string) (name, token string) {
	name, token, found := strings.Cut(item, "=")
	if !found || strings.Trim(token, "=") == "" {
		return "admin", item
	}
	return strings.TrimSpace(name), strings.TrimSpace(token)
}

// prefixes reads addresses and networks.
func (s *settings) prefixes(name string) []netip.Prefix {
	var all []netip.Prefix
	for _, item := range s.list(name) {
		p, err := parsePrefix(item)
		if err != nil {
			s.wrong(name, "has the entry "+shown(item), "Give addresses or networks, such as 10.0.0.7 or 10.0.0.0/8.")
			continue
		}
		all = append(all, p)
	}
	return all
}

func parsePrefix(v string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(v); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("neither an address nor a network: %w", err)
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// origins reads exact origins, as browsers send them.
func (s *settings) origins(name string) []string {
	var all []string
	for _, item := range s.list(name) {
		origin, ok := parseOrigin(item)
		if !ok {
			s.wrong(name, "has the entry "+shown(redactUser(item)),
				"Give exact origins, such as https://app.example.com or http://localhost:3000: no path, no '*', no default port.")
			continue
		}
		all = append(all, origin)
	}
	return all
}

// parseOrigin accepts what RFC 6454 serializes: scheme, host and a port that is not
// the scheme's own. A slash at the end is allowed.
func parseOrigin(v string) (string, bool) {
	u, wrong := ParseWebURL(strings.TrimSuffix(v, "/"))
	if wrong != "" || u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(u.Host, "*") {
		return "", false
	}
	if (u.Scheme == "https" && u.Port() == "443") || (u.Scheme == "http" && u.Port() == "80") {
		return "", false
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), true
}

// redactUser hides the password of a URL that should not have had one.
func redactUser(v string) string {
	if _, host, ok := strings.Cut(v, "@"); ok {
		return redacted + "@" + host
	}
	return v
}

func needWebhook(s *settings, c *Config) {
	c.Webhook.Tolerance = s.duration("STRAPI_WEBHOOK_TOLERANCE", 300*time.Second, time.Second, 24*time.Hour)
	// Larger ones are verified up to 16 MiB, and not stored.
	c.Webhook.MaxBytes = s.bytes("WEBHOOK_MAX_BYTES", 1<<20, 1<<10, 16<<20)
	c.Webhook.Token = s.tokens("STRAPI_WEBHOOK_TOKEN")
	c.Webhook.Secrets = s.webhookSecrets()
	schemes := s.schemes("STRAPI_WEBHOOK_SCHEMES")
	switch {
	case len(c.Webhook.Secrets) > 0:
		c.Webhook.Schemes = schemes
	case c.Webhook.Token == "":
		s.wrong(webhookSecret, "is not set",
			"Give the secret that Strapi signs webhooks with, or STRAPI_WEBHOOK_TOKEN for a Strapi that cannot sign. "+MakeSecret)
	}
}

// tokens checks a comma-separated list and returns it without spaces and empty items.
func (s *settings) tokens(name string) Secret {
	items := s.list(name)
	for _, v := range items {
		s.token(name, v)
	}
	return Secret(strings.Join(items, ","))
}

// token checks one of our tokens and notes it for eachSecretOnce.
func (s *settings) token(name, v string) Secret {
	s.secrets = append(s.secrets, namedSecret{name, Secret(v)})
	switch {
	case !visible(v):
		s.wrong(name, "holds a space or a character that no header can carry", makeToken)
	case len(v) < minSecret:
		s.wrong(name, fmt.Sprintf("is %s long, less than %d", text.Count(int64(len(v)), "byte", "bytes"), minSecret), makeToken)
	}
	return Secret(v)
}

// visible reports whether v is printable ASCII without spaces: what a Bearer token can be.
func visible(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' })
}

// NeedSigning reads the secret that `sign` uses.
func NeedSigning(s *settings, c *Config) {
	c.Webhook.Secrets = s.webhookSecrets()
	if len(c.Webhook.Secrets) == 0 {
		s.wrong(webhookSecret, "is not set", "Give the secret that the service verifies webhooks with.")
	}
}

const webhookSecret = "STRAPI_WEBHOOK_SECRET"

func (s *settings) webhookSecrets() []Secret {
	var all []Secret
	for _, v := range s.list(webhookSecret) {
		s.signingSecret(webhookSecret, v)
		all = append(all, Secret(v))
	}
	return all
}

// signingSecret checks one secret that signs, and notes it for eachSecretOnce. The
// length of a whsec_ secret is that of its decoded bytes.
func (s *settings) signingSecret(name, v string) {
	s.secrets = append(s.secrets, namedSecret{name, Secret(v)})
	key, err := webhooksig.ParseSecret(v)
	switch {
	case err != nil:
		s.wrong(name, "starts with whsec_ but is not base64 after it", "Copy it whole, or make one with: echo whsec_$(openssl rand -base64 32).")
	case len(key) < minSecret:
		s.wrong(name, fmt.Sprintf("has a secret of %s, less than %d", text.Count(int64(len(key)), "byte", "bytes"), minSecret), MakeSecret)
	}
}

// schemes reads the accepted signature schemes.
func (s *settings) schemes(name string) []webhooksig.Scheme {
	known := []webhooksig.Scheme{webhooksig.SchemeStandard, webhooksig.SchemeTimestamped, webhooksig.SchemeStrapi}
	items := splitList(s.textOr(name, "standard,timestamped,strapi"))
	if len(items) == 0 {
		s.wrong(name, "names no scheme", "Give one or more of: standard, timestamped, strapi; or unset it for all of them.")
	}
	var all []webhooksig.Scheme
	for _, item := range items {
		scheme := webhooksig.Scheme(strings.ToLower(item))
		switch {
		case !slices.Contains(known, scheme):
			s.wrong(name, "has the entry "+shown(item), "Give one or more of: standard, timestamped, strapi.")
		case !slices.Contains(all, scheme):
			all = append(all, scheme)
		}
	}
	return all
}

// HostOf returns the part of a secret URL that may be shown: scheme and host.
func HostOf(u Secret) string {
	parsed, err := url.Parse(u.Reveal())
	if err != nil {
		return redacted
	}
	return parsed.Scheme + "://" + parsed.Host
}
