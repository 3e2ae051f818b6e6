package fakestrapi

import (
	"context"
	"net/http"
)

// Held is a webhook that is kept back.
type Held struct {
	runner     *Runner
	documentID string
	ready      chan struct{} // closed when there is one
	job        job
	webhook    HeldWebhook
	ended      bool
}

// HeldWebhook is exactly what the webhook would have sent, without signatures.
type HeldWebhook struct {
	Event string
	Body  []byte
	// Header has what the first webhook would have been sent, its static
	// headers included; sign the body with webhooksig.Sign.
	Header http.Header
}

// Hold keeps back the next webhook of a document; those after it go out.
func (r *Runner) Hold(documentID string) *Held {
	h := &Held{runner: r, documentID: documentID, ready: make(chan struct{})}
	r.update(func() { r.holds = append(r.holds, h) })
	return h
}

// Wait returns the webhook as soon as there is one.
func (h *Held) Wait(ctx context.Context) (HeldWebhook, error) {
	select {
	case <-h.ready:
		return h.webhook, nil
	case <-ctx.Done():
		return HeldWebhook{}, ctx.Err()
	}
}

// Send sends the webhook through the queue, with the time of then, or stops
// waiting for one.
func (h *Held) Send() {
	r := h.runner
	r.update(func() {
		if h.ended {
			return
		}
		h.ended = true
		select {
		case <-h.ready:
			r.stats.Held--
			r.stats.Queued++
			r.queue = append(r.queue, h.job)
		default:
		}
	})
}

// holdBack hands a job to the first hold that waits for it. The runner's lock
// is held.
func (r *Runner) holdBack(j job) bool {
	for i, h := range r.holds {
		if h.ended || h.documentID != j.documentID {
			continue
		}
		r.holds = append(r.holds[:i:i], r.holds[i+1:]...)
		at := r.now()
		h.job = j
		h.webhook = HeldWebhook{Event: j.event, Body: j.body(at)}
		h.webhook.Header, _ = r.firstWebhook().headers(j.event, at, h.webhook.Body) // no scheme: no error
		close(h.ready)
		return true
	}
	return false
}

// firstWebhook returns the first webhook without its signatures.
func (r *Runner) firstWebhook() Webhook {
	if len(r.webhooks) == 0 {
		return Webhook{}
	}
	w := r.webhooks[0]
	w.Schemes = nil
	return w
}
