package fakestrapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"dealbox/internal/webhooksig"
)

// Webhook is a receiver of events.
type Webhook struct {
	URL string
	// Schemes are the signatures to send; none is what a stock Strapi sends.
	// With any, redirects are refused, as by the signing module.
	Schemes []webhooksig.Scheme
	Secret  string
	// StaticHeaders are the webhook's own headers, such as Authorization.
	StaticHeaders map[string]string
	// Events are the events that it gets. Empty: the five of entries, that is
	// all but entry.draft-discard.
	Events []string
}

var entryEvents = []string{entryCreate, entryUpdate, entryDelete, entryPublish, entryUnpublish}

func (w Webhook) wants(event string) bool {
	if len(w.Events) == 0 {
		return slices.Contains(entryEvents, event)
	}
	return slices.Contains(w.Events, event)
}

// Delivery is one POST that was made.
type Delivery struct {
	Event      string
	UID        string
	DocumentID string
	URL        string
	Header     http.Header
	Body       []byte
	SentAt     time.Time
	Duration   time.Duration
	Status     int   // 0: no answer
	Err        error // why there was none
}

// Deliveries returns the last deliveries, in the order in which they ended.
func (r *Runner) Deliveries() []Delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keep < 0 {
		return slices.Clone(r.delivered)
	}
	return slices.Clone(r.delivered[max(0, len(r.delivered)-r.keep):])
}

// ForgetDeliveries starts the record of deliveries again.
func (r *Runner) ForgetDeliveries() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delivered = nil
}

// TriggerTest sends trigger-test to every webhook, at once and not through the
// queue, as the button in Strapi's settings does.
func (r *Runner) TriggerTest(ctx context.Context) []Delivery {
	r.mu.Lock()
	webhooks := r.webhooks
	r.mu.Unlock()
	var all []Delivery
	for _, w := range webhooks {
		d := r.deliver(ctx, w, job{event: triggerTest}, r.now())
		r.record(d)
		all = append(all, d)
	}
	return all
}

// record remembers a delivery. Strapi forgets it at once.
func (r *Runner) record(d Delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Sent++
	if d.Err == nil && d.Status >= 200 && d.Status < 300 {
		r.stats.Succeeded++
	} else {
		r.stats.Failed++
		r.logger.Debug("a webhook of the fake Strapi failed", "event", d.Event, "document_id", d.DocumentID,
			"status", d.Status, "error", d.Err)
	}
	r.delivered = append(r.delivered, d)
	if r.keep > 0 && len(r.delivered) >= 2*r.keep { // not each time: it moves them all
		r.delivered = slices.Delete(r.delivered, 0, len(r.delivered)-r.keep)
	}
}

// deliver makes one POST. at is the envelope's createdAt: the moment of sending.
func (r *Runner) deliver(ctx context.Context, w Webhook, j job, at time.Time) Delivery {
	d := Delivery{
		Event: j.event, UID: j.uid, DocumentID: j.documentID, URL: w.URL,
		Body: j.body(at), SentAt: at,
	}
	d.Header, d.Err = w.headers(j.event, at, d.Body)
	if d.Err != nil {
		return d
	}
	started := time.Now()
	d.Status, d.Err = r.post(ctx, w, d)
	d.Duration = time.Since(started)
	return d
}

// body returns compact JSON in Strapi's order of keys.
func (j job) body(at time.Time) []byte {
	var b bytes.Buffer
	b.WriteString(`{"event":`)
	b.Write(encodeString(j.event))
	b.WriteString(`,"createdAt":"` + at.UTC().Format(timeLayout) + `"`)
	if j.entry != nil {
		writeKey(&b, "model")
		b.Write(encodeString(j.model))
		writeKey(&b, "uid")
		b.Write(encodeString(j.uid))
		writeKey(&b, "entry")
		b.Write(j.entry)
	}
	b.WriteByte('}')
	return b.Bytes()
}

func (r *Runner) post(ctx context.Context, w Webhook, d Delivery) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(context.WithValue(ctx, signedKey{}, len(w.Schemes) > 0),
		http.MethodPost, w.URL, bytes.NewReader(d.Body))
	if err != nil {
		return 0, err
	}
	req.Header = d.Header.Clone()
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	// Reading to the end keeps the connection; a long answer is not worth it.
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, err
}

// signedKey marks the context of a signed delivery.
type signedKey struct{}

var errRedirect = errors.New("a signed webhook follows no redirect")

// newClient returns a client like Node's fetch: no proxy, and a 302 turns the POST into a
// GET without a body.
func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{MaxIdleConnsPerHost: concurrency, IdleConnTimeout: 4 * time.Second}
	}
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if signed, _ := req.Context().Value(signedKey{}).(bool); signed {
				return errRedirect
			}
			if len(via) >= 20 {
				return errors.New("too many redirects")
			}
			return nil
		},
	}
}

func checkWebhooks(webhooks []Webhook) []string {
	var wrong []string
	for _, w := range webhooks {
		u, err := url.Parse(w.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			wrong = append(wrong, fmt.Sprintf("webhook %q: not an http or https URL", w.URL))
		}
		if _, err := w.headers(triggerTest, time.Unix(0, 0), nil); err != nil {
			wrong = append(wrong, fmt.Sprintf("webhook %q: %v", w.URL, err))
		}
	}
	return wrong
}

// headers returns the headers of Strapi on Node 20, then the webhook's own, then the
// signatures.
func (w Webhook) headers(event string, at time.Time, body []byte) (http.Header, error) {
	h := http.Header{}
	h.Set("Connection", "keep-alive")
	h.Set("X-Strapi-Event", event)
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "*/*")
	h.Set("Accept-Language", "*")
	h.Set("Sec-Fetch-Mode", "cors")
	h.Set("User-Agent", "node")
	h.Set("Accept-Encoding", "gzip, deflate")
	for name, value := range w.StaticHeaders {
		h.Set(name, value)
	}
	id := newDeliveryID()
	for _, scheme := range w.Schemes {
		signature, err := webhooksig.Sign(scheme, w.Secret, id, at, body)
		if err != nil {
			return nil, err
		}
		for name := range signature {
			h.Set(name, signature.Get(name))
		}
	}
	return h, nil
}

// newDeliveryID returns a new id for every POST, also with a fixed seed: to a
// receiver the same id is the same delivery.
func newDeliveryID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("msg_%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func webhooksError(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("configure the fake Strapi: %s", strings.Join(wrong, "; "))
}
