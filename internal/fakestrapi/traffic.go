package fakestrapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"dealbox/internal/strapi"
)

// TrafficConfig is how lively the simulated company is. Zero values mean the
// defaults, which are right for `dealbox dev`.
type TrafficConfig struct {
	DealUID, BillingUID string // default DealUID, BillingUID
	// SeedEvery is the time between two documents of Seed. Default 10 ms.
	SeedEvery time.Duration
	// ChangeEvery is the mean time between two changes. Default 500 ms.
	ChangeEvery time.Duration
	// OutageAfter is when the first outage comes. Default 3 min; negative: never.
	OutageAfter time.Duration
	// OutageEvery is the shortest time between two outages; the longest is two
	// thirds more. Default 3 min, so 3 to 5.
	OutageEvery time.Duration
	// OutageFor is the longest outage; the shortest is half of it. Default 20 s.
	OutageFor time.Duration
	// Announce gets a sentence about each outage. It must not block.
	Announce func(string)
	// Seed makes the traffic repeatable. Zero: a random one.
	Seed uint64
}

// Traffic is a company at work in a fake Strapi. Seed and Run are for one
// goroutine; Exclude and Include may be called at any time.
type Traffic struct {
	config TrafficConfig
	strapi *Strapi
	deal   Type
	made   *maker
	rand   *rand.Rand
	logger *slog.Logger

	mu       sync.Mutex
	excluded map[string]bool
}

// population is how many documents the traffic keeps around.
type population struct{ deals, billings int }

// NewTraffic makes a company for a Strapi that has deals and billings.
func NewTraffic(s *Strapi, c TrafficConfig) (*Traffic, error) {
	c = c.withDefaults()
	deal, err := s.table(c.DealUID)
	if err != nil {
		return nil, err
	}
	billing, err := s.table(c.BillingUID)
	if err != nil {
		return nil, err
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	r := rand.New(rand.NewPCG(c.Seed, 0))
	return &Traffic{
		config: c, strapi: s, deal: deal.Type, rand: r, logger: s.logger,
		made: &maker{
			rand: r, now: s.now, deal: deal.Type, billing: billing.Type,
			deals: highest(s.List(c.DealUID, strapi.Draft), "deal_id"), billings: highest(s.List(c.BillingUID, strapi.Draft), "billing_id"),
		},
		excluded: map[string]bool{},
	}, nil
}

func (c TrafficConfig) withDefaults() TrafficConfig {
	c.DealUID = orDefault(c.DealUID, DealUID)
	c.BillingUID = orDefault(c.BillingUID, BillingUID)
	c.SeedEvery = orDefault(c.SeedEvery, 10*time.Millisecond)
	c.ChangeEvery = orDefault(c.ChangeEvery, 500*time.Millisecond)
	c.OutageAfter = orDefault(c.OutageAfter, 3*time.Minute)
	c.OutageEvery = orDefault(c.OutageEvery, 3*time.Minute)
	c.OutageFor = orDefault(c.OutageFor, 20*time.Second)
	if c.Announce == nil {
		c.Announce = func(string) {}
	}
	return c
}

// Exclude makes the traffic leave deals and their billings alone from now on.
func (t *Traffic) Exclude(documentIDs ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range documentIDs {
		t.excluded[id] = true
	}
}

// Include undoes Exclude.
func (t *Traffic) Include(documentIDs ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range documentIDs {
		delete(t.excluded, id)
	}
}

// Seed makes deals and billings until there are as many as wanted, each with
// its webhooks. After a restart that is next to nothing. It returns ctx's error
// when that comes first.
func (t *Traffic) Seed(ctx context.Context, deals, billings int) error {
	for {
		now := t.population()
		var err error
		switch {
		case now.deals < deals:
			err = t.createDeal()
		case now.billings < billings:
			err = t.createBilling()
		default:
			return nil
		}
		if err != nil {
			return fmt.Errorf("seed the fake Strapi: %w", err)
		}
		if !sleep(ctx, t.config.SeedEvery) {
			return ctx.Err()
		}
	}
}

// Run makes changes until ctx ends; then it ends any outage and returns nil.
// The population stays around the size that it has now.
func (t *Traffic) Run(ctx context.Context) error {
	size := t.population()
	change := time.NewTimer(t.nextChange())
	defer change.Stop()
	outage := newOutages(t)
	defer outage.end()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-outage.timer.C:
			outage.next()
		case <-change.C:
			if err := t.change(size); err != nil && !errors.Is(err, ErrNotFound) {
				t.logger.Error("the simulated traffic could not make a change; it goes on", "error", err)
			}
			change.Reset(t.nextChange())
		}
	}
}

// nextChange returns a delay from half to one and a half of the mean.
func (t *Traffic) nextChange() time.Duration {
	return t.config.ChangeEvery/2 + t.upTo(t.config.ChangeEvery)
}

// outages lets the REST API fail now and then.
type outages struct {
	traffic *Traffic
	timer   *time.Timer
	remove  func() // nil: it works
}

func newOutages(t *Traffic) *outages {
	o := &outages{traffic: t, timer: time.NewTimer(t.config.OutageAfter)}
	if t.config.OutageAfter < 0 {
		o.timer.Stop()
	}
	return o
}

// next begins or ends an outage.
func (o *outages) next() {
	c := o.traffic.config
	if o.remove != nil {
		o.end()
		o.timer.Reset(c.OutageEvery + o.traffic.upTo(c.OutageEvery*2/3))
		return
	}
	d := c.OutageFor/2 + o.traffic.upTo(c.OutageFor/2)
	o.remove = o.traffic.strapi.Faults.Add(Fault{
		Kind: FaultStatus, Status: http.StatusServiceUnavailable,
		Body: "<html><body><h1>503 Service Unavailable</h1>simulated outage</body></html>\n",
	})
	c.Announce(fmt.Sprintf("The simulated Strapi is out: its REST API answers 503 for %s.", d.Round(time.Second)))
	o.timer.Reset(d)
}

func (t *Traffic) upTo(d time.Duration) time.Duration {
	return time.Duration(t.rand.Int64N(int64(max(d, 0)) + 1))
}

func (o *outages) end() {
	if o.remove == nil {
		return
	}
	o.remove()
	o.remove = nil
	o.traffic.config.Announce("The simulated Strapi is back.")
}

// change makes one change, chosen by weight.
func (t *Traffic) change(size population) error {
	changes := []struct {
		weight int
		make   func() error
	}{
		{52, t.updateDeal},
		{12, t.collectBilling},
		{6, t.updateBilling},
		{8, func() error { return t.balanceDeals(size.deals) }},
		{10, func() error { return t.balanceBillings(size.billings) }},
		{6, t.moveBilling},
		{6, t.publication},
	}
	total := 0
	for _, c := range changes {
		total += c.weight
	}
	n := t.rand.IntN(total)
	for _, c := range changes {
		if n < c.weight {
			return c.make()
		}
		n -= c.weight
	}
	return nil
}

// balanceDeals creates or deletes a deal, whichever brings the size back.
func (t *Traffic) balanceDeals(size int) error {
	if t.creates(t.population().deals, size) {
		return t.createDeal()
	}
	deal, ok := t.pickDeal()
	if !ok {
		return nil
	}
	return t.strapi.Delete(t.config.DealUID, deal.DocumentID)
}

func (t *Traffic) createDeal() error {
	_, err := t.strapi.Create(t.config.DealUID, t.made.newDeal())
	return err
}

func (t *Traffic) balanceBillings(size int) error {
	if t.creates(t.population().billings, size) {
		return t.createBilling()
	}
	billing, ok := t.pickBilling(anyEntry)
	if !ok {
		return nil
	}
	return t.strapi.Delete(t.config.BillingUID, billing.DocumentID)
}

func (t *Traffic) createBilling() error {
	deal, ok := t.pickDeal()
	values := t.made.newBilling(deal)
	if ok {
		values["deal"] = deal.DocumentID
	}
	_, err := t.strapi.Create(t.config.BillingUID, values)
	return err
}

// creates reports whether a population of n should grow.
func (t *Traffic) creates(n, size int) bool {
	return n < size || n == size && t.rand.IntN(2) == 0
}

func (t *Traffic) collectBilling() error {
	billing, ok := t.pickBilling(func(e Entry) bool { return e.Text("collected_date") == "" })
	if !ok {
		return nil
	}
	_, err := t.strapi.Update(t.config.BillingUID, billing.DocumentID, t.made.collected())
	return err
}

func (t *Traffic) updateBilling() error {
	billing, ok := t.pickBilling(anyEntry)
	if !ok {
		return nil
	}
	_, err := t.strapi.Update(t.config.BillingUID, billing.DocumentID, t.made.billingChange(billing))
	return err
}

// moveBilling moves a billing to another deal, from either side. From the deal's
// side the billing gets no event.
func (t *Traffic) moveBilling() error {
	billing, ok1 := t.pickBilling(anyEntry)
	deal, ok2 := t.pickDeal()
	if !ok1 || !ok2 {
		return nil
	}
	var err error
	if t.rand.IntN(2) == 0 {
		_, err = t.strapi.Update(t.config.BillingUID, billing.DocumentID, Values{"deal": deal.DocumentID})
	} else {
		_, err = t.strapi.Update(t.config.DealUID, deal.DocumentID,
			Values{"billings": map[string]any{"connect": []string{billing.DocumentID}}})
	}
	return err
}

// publication unpublishes a deal, or publishes one that is not; without drafts
// it changes a deal.
func (t *Traffic) publication() error {
	if !t.deal.Drafts {
		return t.updateDeal()
	}
	deal, ok := t.pickDeal()
	if !ok {
		return nil
	}
	if _, isPublished := t.strapi.Get(t.config.DealUID, deal.DocumentID, strapi.Published); isPublished {
		return t.strapi.Unpublish(t.config.DealUID, deal.DocumentID)
	}
	return t.strapi.BulkPublish(t.config.DealUID, deal.DocumentID)
}

func (t *Traffic) updateDeal() error {
	deal, ok := t.pickDeal()
	if !ok {
		return nil
	}
	_, err := t.strapi.Update(t.config.DealUID, deal.DocumentID, t.made.dealChange(deal))
	return err
}

func anyEntry(Entry) bool { return true }

func (t *Traffic) population() population {
	return population{len(t.strapi.documentIDs(t.config.DealUID)), len(t.strapi.documentIDs(t.config.BillingUID))}
}

func (t *Traffic) pickDeal() (Entry, bool) {
	return t.pick(t.config.DealUID, func(e Entry) bool { return !t.excludes(e.DocumentID) })
}

func (t *Traffic) pickBilling(wanted func(Entry) bool) (Entry, bool) {
	return t.pick(t.config.BillingUID, func(e Entry) bool {
		return wanted(e) && !t.excludes(e.DocumentID) && !slices.ContainsFunc(e.Relations["deal"], t.excludes)
	})
}

// pick returns a document that is wanted, the first from a random place on.
func (t *Traffic) pick(uid string, wanted func(Entry) bool) (Entry, bool) {
	ids := t.strapi.documentIDs(uid)
	if len(ids) == 0 {
		return Entry{}, false
	}
	from := t.rand.IntN(len(ids))
	for i := range ids {
		e, ok := t.strapi.Get(uid, ids[(from+i)%len(ids)], strapi.Draft)
		if ok && wanted(e) {
			return e, true
		}
	}
	return Entry{}, false
}

func (t *Traffic) excludes(documentID string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.excluded[documentID]
}

// documentIDs returns the documents of a type, in order; of a localized type those
// in the default locale.
func (s *Strapi) documentIDs(uid string) []string {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	t := s.store.tables[uid]
	if !t.Localized {
		return slices.Sorted(maps.Keys(t.docs))
	}
	var ids []string
	for key := range t.docs {
		if id, locale := t.unkey(key); locale == defaultLocale {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
