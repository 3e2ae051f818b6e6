package fakestrapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dealbox/internal/webhooksig"

	"github.com/stretchr/testify/require"
)

// namesOf returns the entries' names.
func namesOf(t *testing.T, all []received) []string {
	t.Helper()
	var values []string
	for _, d := range all {
		values = append(values, fmt.Sprint(entryOf(t, d)["name"]))
	}
	return values
}

// gate holds requests until it is opened.
type gate struct {
	waiting atomic.Int32
	once    sync.Once
	opened  chan struct{}
}

func newGate() *gate { return &gate{opened: make(chan struct{})} }

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

func (g *gate) wait(w http.ResponseWriter, _ *http.Request) {
	g.waiting.Add(1)
	<-g.opened
	w.WriteHeader(http.StatusAccepted)
}

func TestRunner_FiveAtATime(t *testing.T) {
	t.Parallel()
	g := newGate()
	defer g.open()
	r := newRig(t, nil)
	r.receiver.answer = g.wait
	withDeals(r, 12)
	require.Eventually(t, func() bool { return g.waiting.Load() == 5 }, time.Minute, time.Millisecond)
	require.Equal(t, 7, r.Webhooks.QueueLength())
	g.open()
	require.Len(t, r.drain(), 12)
}

func TestRunner_OneAttempt(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	r := newRig(t, nil)
	r.receiver.answer = func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	}
	withDeals(r, 1)
	require.Len(t, r.drain(), 1)
	down.Store(true)
	withDeals(r, 1)
	require.Len(t, r.drain(), 1)
	require.Equal(t, RunnerStats{Queued: 2, Sent: 2, Failed: 2}, r.Webhooks.Stats())
	deliveries := r.Webhooks.Deliveries()
	require.Equal(t, http.StatusTooManyRequests, deliveries[0].Status)
	require.Error(t, deliveries[1].Err)
}

func TestRunner_Timeout(t *testing.T) {
	t.Parallel()
	g := newGate()
	defer g.open()
	r := newRig(t, func(c *Config) { c.WebhookTimeout = 30 * time.Millisecond })
	r.receiver.answer = g.wait
	withDeals(r, 1)
	r.drain()
	require.ErrorIs(t, r.Webhooks.Deliveries()[0].Err, context.DeadlineExceeded)
}

func TestRunner_WebhooksOneAfterTheOther(t *testing.T) {
	t.Parallel()
	g := newGate()
	defer g.open()
	first, second := newReceiver(t, g.wait), newReceiver(t, nil)
	r := newRig(t, func(c *Config) { c.Webhooks = []Webhook{{URL: first.URL}, {URL: second.URL}} })
	withDeals(r, 1)
	require.Eventually(t, func() bool { return g.waiting.Load() == 1 }, time.Minute, time.Millisecond)
	require.Zero(t, second.count())
	g.open()
	r.drain()
	require.Equal(t, 1, second.count())
}

func TestRunner_Signatures(t *testing.T) {
	t.Parallel()
	const secret = "a secret of at least 24 bytes"
	schemes := []webhooksig.Scheme{webhooksig.SchemeStandard, webhooksig.SchemeTimestamped, webhooksig.SchemeStrapi}
	r := newRig(t, func(c *Config) { c.Webhooks[0].Schemes, c.Webhooks[0].Secret = schemes, secret })
	r.mustCreate(DealUID, Values{"name": "Ünïcode"})
	require.Equal(t, 202, r.Webhooks.TriggerTest(t.Context())[0].Status)
	v, err := webhooksig.NewVerifier(webhooksig.Config{Schemes: schemes, Secrets: []string{secret}, Tolerance: time.Minute})
	require.NoError(t, err)

	got := r.drain()

	require.Len(t, got, 2)
	ids := map[string]bool{}
	for _, d := range got {
		verified, err := v.Verify(d.header, d.body)
		require.NoError(t, err)
		ids[verified.DeliveryID] = true
		require.NotEmpty(t, d.header.Get("X-Webhook-Signature"))
		require.NotEmpty(t, d.header.Get("X-Strapi-Signature"))
	}
	require.Len(t, ids, 2, "every delivery has its own id")
}

func TestRunner_Redirects(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	to := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	r.receiver.answer = func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, to.URL, http.StatusFound)
	}
	withDeals(r, 1)
	r.drain()
	got := to.take()
	require.Len(t, got, 1)
	require.Equal(t, http.MethodGet, got[0].method)
	require.Empty(t, got[0].body)

	require.NoError(t, r.Webhooks.SetWebhooks(Webhook{
		URL: r.receiver.URL, Schemes: []webhooksig.Scheme{webhooksig.SchemeStrapi}, Secret: "a secret of at least 24 bytes",
	}))
	withDeals(r, 1)
	require.Len(t, r.drain(), 1)
	require.Zero(t, to.count(), "a signed webhook follows no redirect")
}

func TestRunner_Losses(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.Webhooks.DropNext(2)
	withDeals(r, 3)
	require.Equal(t, []string{"c"}, namesOf(t, r.drain()))
	r.Webhooks.DropFraction(1)
	withDeals(r, 2)
	r.Webhooks.DropFraction(0)
	r.Webhooks.Pause()
	withDeals(r, 3)
	require.Equal(t, 3, r.Webhooks.LoseQueue())
	r.Webhooks.Resume()
	require.Empty(t, r.drain())
	require.Equal(t, RunnerStats{Queued: 4, Dropped: 4, Lost: 3, Sent: 1, Succeeded: 1}, r.Webhooks.Stats())
}

func TestRunner_PauseDrainAndClose(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.Webhooks.Pause()
	withDeals(r, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, r.Webhooks.Drain(ctx), context.DeadlineExceeded)
	require.NoError(t, r.Close())
	require.Empty(t, r.drain())
	withDeals(r, 1)
	require.Equal(t, RunnerStats{Queued: 3, Lost: 4}, r.Webhooks.Stats())
}

func TestRunner_CloseBreaksOffWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	g := newGate()
	defer g.open()
	r := newRig(t, nil)
	r.receiver.answer = g.wait
	withDeals(r, 7)
	require.Eventually(t, func() bool { return g.waiting.Load() == 5 }, time.Minute, time.Millisecond)
	require.NoError(t, r.Close())
	require.Equal(t, RunnerStats{Queued: 7, Lost: 2, Sent: 5, Failed: 5}, r.Webhooks.Stats())
}

func TestRunner_Hold(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	deals := withDeals(r, 2)
	r.drain()
	held := r.Webhooks.Hold(deals[0].DocumentID)
	for _, name := range []string{"kept", "sent"} {
		_, err := r.Update(DealUID, deals[0].DocumentID, Values{"name": name})
		require.NoError(t, err)
	}

	w, err := held.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, "entry.update", w.Event)
	require.Equal(t, "entry.update", w.Header.Get("X-Strapi-Event"))
	require.Equal(t, []string{"kept"}, namesOf(t, []received{{body: w.Body}}))
	require.Equal(t, []string{"sent"}, namesOf(t, r.drain()))

	held.Send()
	held.Send()
	require.Equal(t, []string{"kept"}, namesOf(t, r.drain()))

	never := r.Webhooks.Hold(deals[1].DocumentID)
	never.Send()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = never.Wait(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = r.Update(DealUID, deals[1].DocumentID, nil)
	require.NoError(t, err)
	require.Len(t, r.drain(), 1)
}

func TestRunner_SentAtIsTheMomentOfSending(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Now = newClock().Now })
	r.Webhooks.Pause()
	withDeals(r, 1)
	for range 100 {
		r.now()
	}
	r.Webhooks.Resume()
	got := r.drain()
	var envelope struct {
		CreatedAt time.Time
		Entry     struct{ UpdatedAt time.Time }
	}
	require.NoError(t, json.Unmarshal(got[0].body, &envelope))
	require.Greater(t, envelope.CreatedAt.Sub(envelope.Entry.UpdatedAt), 2*time.Second)
}

func TestRunner_KeepsTheLastDeliveries(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.KeepDeliveries = 2; c.WebhookJitter = time.Millisecond })
	withDeals(r, 7)
	require.Len(t, r.drain(), 7)
	require.Len(t, r.Webhooks.Deliveries(), 2)
	r.Webhooks.ForgetDeliveries()
	require.Empty(t, r.Webhooks.Deliveries())
}

// A receiver can sort by createdAt: it is given in the order of the queue, also
// where five are sent at a time.
func TestRunner_CreatedAtIsInTheOrderOfTheQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Now = newClock().Now; c.WebhookJitter = 3 * time.Millisecond })
	r.Webhooks.Pause()
	want := []string{}
	for i := range 40 {
		want = append(want, fmt.Sprint("deal ", i))
		r.mustCreate(DealUID, Values{"name": want[i]})
	}
	r.Webhooks.Resume()
	sent := map[string]string{} // name by createdAt
	for _, d := range r.drain() {
		var envelope struct{ CreatedAt string }
		require.NoError(t, json.Unmarshal(d.body, &envelope))
		sent[envelope.CreatedAt] = entryOf(t, d)["name"].(string)
	}
	got := []string{}
	for _, at := range slices.Sorted(maps.Keys(sent)) {
		got = append(got, sent[at])
	}
	require.Equal(t, want, got)
}
