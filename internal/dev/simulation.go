package dev

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

const (
	seedDeals    = 200
	seedBillings = 300
	// drainTimeout is how long the last webhooks of the simulated Strapi may take.
	drainTimeout = 3 * time.Second
	heldName     = "Held-back deal"
)

// secrets are made once and kept, so that a printed curl works after a restart.
type secrets struct {
	WebhookSecret string `json:"webhook_secret"`
	StrapiToken   string `json:"strapi_token"`
	AdminToken    string `json:"admin_token"`
}

// loadSecrets reads the file, or makes it, readable by its owner alone.
func loadSecrets(path string) (secrets, error) {
	var s secrets
	raw, err := os.ReadFile(path)
	if err == nil {
		if err = json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("read %s (remove it to make new secrets): %w", path, err)
		}
		return s, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return s, fmt.Errorf("read dev's secrets: %w", err)
	}
	s = secrets{WebhookSecret: randomHex(), StrapiToken: randomHex(), AdminToken: randomHex()}
	if raw, err = json.Marshal(s); err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		return s, fmt.Errorf("keep dev's secrets: %w", err)
	}
	return s, nil
}

func randomHex() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// simulation is a simulated Strapi with live traffic.
type simulation struct {
	fake    *fakestrapi.Strapi
	server  *fakestrapi.Server
	traffic *fakestrapi.Traffic
	secrets secrets
}

func startSimulation(d *dev) (*simulation, error) {
	fake, err := fakestrapi.New(fakestrapi.Config{
		Types: fakestrapi.PipelineTypes(false, false),
		Token: d.secrets.StrapiToken,
		Dir:   filepath.Join(d.dir, "strapi"),
		// About what a real one takes.
		Latency: fakestrapi.Latency{Request: 5 * time.Millisecond, Document: 100 * time.Microsecond},
		Webhooks: []fakestrapi.Webhook{{
			URL: d.address() + "/api/v1/webhooks/strapi", Secret: d.secrets.WebhookSecret,
			Schemes: []webhooksig.Scheme{webhooksig.SchemeStandard},
		}},
		Logger: d.log,
	})
	if err != nil {
		return nil, err
	}
	s := &simulation{fake: fake, secrets: d.secrets}
	if s.server, err = fake.Listen("127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, fake.Close())
	}
	s.traffic, err = fakestrapi.NewTraffic(fake, fakestrapi.TrafficConfig{
		Announce: func(text string) { d.say("%s  %s", time.Now().Format(time.TimeOnly), text) },
	})
	return s, err
}

// settings are those that point Dealbox at the simulated Strapi.
func (s *simulation) settings() map[string]string {
	return map[string]string{
		"STRAPI_URL": s.server.URL, "STRAPI_API_TOKEN": s.secrets.StrapiToken,
		"STRAPI_WEBHOOK_SECRET": s.secrets.WebhookSecret, "STRAPI_WEBHOOK_TOKEN": "", "STRAPI_WEBHOOK_SCHEMES": "",
		"STRAPI_DEAL_TYPES": "", "STRAPI_BILLING_TYPES": "", "STRAPI_DEAL_FIELDS": "", "STRAPI_BILLING_FIELDS": "",
	}
}

// seed makes the documents that are missing. Strapi sends each as a webhook, so people
// watch Dealbox fill.
func (s *simulation) seed(ctx context.Context, say func(string, ...any)) error {
	if n := len(s.fake.List(fakestrapi.DealUID, strapi.Published)); n < seedDeals/2 {
		say("Filling the simulated Strapi with %d deals and %d billings; each is sent as a signed webhook …", seedDeals, seedBillings)
	}
	if err := s.traffic.Seed(ctx, seedDeals, seedBillings); err != nil {
		return err
	}
	return s.fake.Webhooks.Drain(ctx)
}

// held is the webhook that the simulated Strapi did not send.
type held struct {
	documentID, name string
	now, before      string // deal_value in Strapi, and in Dealbox
	curl             string
}

// holdBack changes one deal in Strapi, to another value than Dealbox has, and keeps
// its webhook back. Its signature covers the body alone, so it does not expire.
func (s *simulation) holdBack(ctx context.Context, address, documentID, before string) (*held, error) {
	now := "9000000"
	if before == now {
		now = "1000000"
	}
	hold := s.fake.Webhooks.Hold(documentID)
	if _, err := s.fake.Update(fakestrapi.DealUID, documentID, fakestrapi.Values{"deal_value": json.Number(now)}); err != nil {
		return nil, fmt.Errorf("change the held-back deal: %w", err)
	}
	webhook, err := hold.Wait(ctx)
	if err != nil {
		return nil, err
	}
	header, err := webhooksig.Sign(webhooksig.SchemeStrapi, s.secrets.WebhookSecret, "", time.Now(), webhook.Body)
	if err != nil {
		return nil, err
	}
	h := &held{documentID: documentID, name: heldName, before: before, now: now}
	h.curl = "curl -sS -X POST " + address + "/api/v1/webhooks/strapi -H 'Content-Type: application/json'"
	for name := range header {
		h.curl += " \\\n    -H " + shellQuote(name+": "+header.Get(name))
	}
	h.curl += " \\\n    --data-binary " + shellQuote(string(webhook.Body))
	return h, nil
}

// heldDeal returns the documentId of the deal whose webhook is held back, and makes
// the deal when no earlier run did. The traffic does not change it.
func (s *simulation) heldDeal() (documentID string, err error) {
	for _, deal := range s.fake.List(fakestrapi.DealUID, strapi.Published) {
		if deal.Text("name") == heldName {
			s.traffic.Exclude(deal.DocumentID)
			return deal.DocumentID, nil
		}
	}
	month := time.Now().UTC().Format("2006-01") + "-01"
	deal, err := s.fake.Create(fakestrapi.DealUID, fakestrapi.Values{
		"name": heldName, "deal_id": "HELD-1", "deal_value": json.Number("1000000"), "currency": "THB", "status": "active",
		"stage": "closed-won", "probability": json.Number("100"), "owner": "you",
		"recognition_start_month": month, "recognition_end_month": month,
	})
	if err != nil {
		return "", fmt.Errorf("make the held-back deal: %w", err)
	}
	s.traffic.Exclude(deal.DocumentID)
	return deal.DocumentID, nil
}

// drain sends the last webhooks while the service still accepts them.
func (s *simulation) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	_ = s.fake.Webhooks.Drain(ctx) // what does not go out is lost, as with a real Strapi
}

func (s *simulation) stop(ctx context.Context) error {
	return errors.Join(s.server.Close(ctx), s.fake.Close())
}

// shellQuote makes one word for a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// printHelp prints the addresses, the tokens and what to try.
func (d *dev) printHelp(h *held) {
	d.say(`
Dealbox is running. Ctrl-C stops everything.

  Dashboard     %s/
  Database      %s
  DATABASE_URL  %s
  ADMIN_TOKEN   %s
  Data          %s (kept; 'dealbox dev --reset' empties it)
  Strapi        %s`,
		d.address(), d.postgres.PSQL(), d.postgres.URL(), cmp.Or(d.config.Getenv("ADMIN_TOKEN"), d.secrets.AdminToken), d.dir, d.strapiName())
	if h == nil {
		return
	}
	d.say(`
One webhook was held back: "%s" is worth %s THB in Strapi, and still %s in Dealbox.
Deliver it, and watch the deal and this month's forecast change on the dashboard:

  %s

  %s -c "select name, deal_value from deal where document_id = '%s'"
`, h.name, h.now, h.before, h.curl, d.postgres.PSQL(), h.documentID)
}

func (d *dev) strapiName() string {
	if d.strapi == nil {
		return d.config.StrapiURL
	}
	return d.strapi.server.URL + " (simulated; changes about twice a second, an outage now and then)"
}

func (d *dev) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.config.Stdout, format+"\n", args...)
}

func (d *dev) address() string { return "http://127.0.0.1:" + strconv.Itoa(d.config.Port) }
