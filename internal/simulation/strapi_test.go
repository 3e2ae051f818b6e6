package simulation

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
)

// documents that were made, deleted ones included, and every state that each had.
type document struct {
	mirror.Key

	states []state
	// shown is the newest state that the mirror has shown; -1: none.
	shown int
	row   []byte // that showed it
}

// state of a document in Strapi.
type state struct {
	deleted   bool
	published string // "" when it is not
	draft     string // the same as published where the type has no drafts
}

// change lets Strapi's users do something.
func (h *history) change() error {
	deals, billings := h.alive(fakestrapi.DealUID), h.alive(fakestrapi.BillingUID)
	h.changed++
	values := fakestrapi.Values{"name": fmt.Sprint("v", h.changed), "stage": "proposal", "deal_status": "active",
		"deal_value": json.Number(fmt.Sprint(h.changed)), "expected_close_date": "2000-03-01"}
	amounts := fakestrapi.Values{"billing_id": fmt.Sprint("v", h.changed), "amount": json.Number(fmt.Sprint(h.changed)), "invoice_date": "2000-02-01"}
	pick := func(of []string) string { return of[h.random.IntN(len(of))] }
	var err error
	switch n := h.random.IntN(14); {
	case len(deals) == 0 || n == 0 && len(deals) < h.profile.deals:
		err = h.create("d", fakestrapi.DealUID, values)
	case h.profile.billings == 0 && n != 12:
		err = h.saveDeal(n, pick(deals), values)
	case h.profile.billings > 0 && len(billings) == 0 || n == 1 && len(billings) < h.profile.billings:
		amounts["deal"] = pick(deals)
		err = h.create("b", fakestrapi.BillingUID, amounts)
	case n <= 4:
		err = h.update(fakestrapi.DealUID, pick(deals), values)
	case n == 5:
		err = h.update(fakestrapi.BillingUID, pick(billings), amounts)
	case n == 6:
		err = h.draft(fakestrapi.DealUID, pick(deals), values)
	case n == 7:
		err = h.unpublish(fakestrapi.DealUID, pick(deals))
	case n == 8:
		err = h.unpublish(fakestrapi.BillingUID, pick(billings))
	case n == 9:
		err = h.publish(fakestrapi.DealUID, pick(deals))
	case n == 10:
		err = h.publish(fakestrapi.BillingUID, pick(billings))
	case n == 11:
		err = h.relate(pick(deals), billings)
	case n == 12:
		err = h.remove(fakestrapi.DealUID, pick(deals))
	default:
		err = h.remove(fakestrapi.BillingUID, pick(billings))
	}
	h.noteStates()
	return err
}

// saveDeal is what happens where there are no billings.
func (h *history) saveDeal(n int, id string, values fakestrapi.Values) error {
	switch n {
	case 0, 1:
		return h.draft(fakestrapi.DealUID, id, values)
	case 2, 3:
		return h.unpublish(fakestrapi.DealUID, id)
	case 4, 5:
		return h.publish(fakestrapi.DealUID, id)
	}
	return h.update(fakestrapi.DealUID, id, values)
}

func (h *history) alive(uid string) (ids []string) {
	for _, d := range h.documents {
		if d.UID == uid && !d.states[len(d.states)-1].deleted {
			ids = append(ids, d.DocumentID)
		}
	}
	return ids
}

func (h *history) create(letter, uid string, values fakestrapi.Values) error {
	store, how := h.fake.Create, "create"
	if h.profile.drafts && h.chance(4) {
		store, how = h.fake.CreateDraft, "create as a draft"
	}
	e, err := store(uid, values)
	if err != nil {
		return err
	}
	h.documents = append(h.documents, &document{Key: mirror.Key{UID: uid, DocumentID: e.DocumentID}, shown: -1})
	if h.mutant.ill != 0 && h.chance(2) {
		h.poisoned[e.DocumentID] = h.mutant.ill
	}
	h.note("Strapi: %s %s", how, h.names.add(letter, e.DocumentID))
	return nil
}

func (h *history) update(uid, id string, values fakestrapi.Values) error {
	h.note("Strapi: update %s", id)
	_, err := h.fake.Update(uid, id, values)
	return err
}

func (h *history) draft(uid, id string, values fakestrapi.Values) error {
	h.note("Strapi: save a draft of %s", id)
	_, err := h.fake.SaveDraft(uid, id, values)
	return err
}

func (h *history) publish(uid, id string) error {
	h.note("Strapi: publish %s", id)
	if h.profile.drafts && h.chance(2) {
		return h.fake.BulkPublish(uid, id)
	}
	_, err := h.fake.Publish(uid, id, nil)
	return err
}

func (h *history) unpublish(uid, id string) error {
	if _, ok := h.fake.Get(uid, id, strapi.Published); !ok || !h.profile.drafts {
		return nil
	}
	h.note("Strapi: unpublish %s", id)
	return h.fake.Unpublish(uid, id)
}

// relate gives a deal some billings; those that it had and those of other deals
// change without a webhook.
func (h *history) relate(deal string, billings []string) error {
	var some []string
	for _, b := range billings {
		if h.chance(2) {
			some = append(some, b)
		}
	}
	if h.chance(4) && h.profile.deals > 1 {
		h.note("Strapi: clone %s, which takes its billings", deal)
		e, err := h.fake.Clone(fakestrapi.DealUID, deal, nil)
		if err != nil {
			return err
		}
		h.documents = append(h.documents, &document{Key: mirror.Key{UID: fakestrapi.DealUID, DocumentID: e.DocumentID}, shown: -1})
		h.note("Strapi: the clone is %s", h.names.add("d", e.DocumentID))
		return nil
	}
	h.note("Strapi: the billings of %s are %s", deal, strings.Join(some, ", "))
	_, err := h.fake.SetRelation(fakestrapi.DealUID, deal, "billings", some...)
	return err
}

func (h *history) remove(uid, id string) error {
	h.note("Strapi: delete %s", id)
	return h.fake.Delete(uid, id)
}

// silentChange is one that sends no webhook.
func (h *history) silentChange() error {
	ids := h.alive(fakestrapi.DealUID)
	if len(ids) == 0 {
		return nil
	}
	id := ids[h.random.IntN(len(ids))]
	h.changed++
	var err error
	switch n := h.random.IntN(3); {
	case n == 0:
		h.note("Strapi: delete %s silently", id)
		err = h.fake.SilentDelete(fakestrapi.DealUID, id)
	case n == 1 && h.profile.drafts:
		if _, ok := h.fake.Get(fakestrapi.DealUID, id, strapi.Published); ok {
			h.note("Strapi: unpublish %s silently", id)
			err = h.fake.SilentUnpublish(fakestrapi.DealUID, id)
		}
	default:
		h.note("Strapi: edit %s silently", id)
		err = h.fake.SilentEdit(fakestrapi.DealUID, id, fakestrapi.Values{"name": fmt.Sprint("v", h.changed)})
	}
	h.lost = true
	h.noteStates()
	return err
}

// oddity is what faults and races of Strapi leave in its database. It changes no
// document: what Strapi answers for one stays the same.
func (h *history) oddity() error {
	uid := []string{fakestrapi.DealUID, fakestrapi.BillingUID}[h.random.IntN(2)]
	switch h.random.IntN(4) {
	case 0:
		return h.addOddRow(uid)
	case 1:
		return h.removeOddRows()
	}
	ids := h.alive(uid)
	if len(ids) == 0 {
		return nil
	}
	h.twins = true
	return h.publishTwice(uid, ids[h.random.IntN(len(ids))])
}

func (h *history) publishTwice(uid, id string) error {
	if _, ok := h.fake.Get(uid, id, strapi.Published); !ok {
		return nil
	}
	h.note("Strapi: %s is published twice", id)
	return h.fake.PublishTwice(uid, id, fakestrapi.Values{}, time.Now().Add(-time.Minute))
}

func (h *history) addOddRow(uid string) error {
	if h.odd == nil {
		h.odd = map[string]bool{}
	}
	h.odd[uid], h.oddRows = true, true
	h.note("Strapi: a row of %s that is no document", uid)
	_, err := h.fake.AddOddRow(uid, []string{`{"id":%id,"documentId":null}`, `{"id":%id,"documentId":""}`, `{"documentId":"x"}`, `null`}[h.random.IntN(4)])
	return err
}

func (h *history) removeOddRows() error {
	h.odd, h.oddRows = nil, false
	h.note("Strapi: no odd rows any more")
	return errors.Join(h.fake.RemoveOddRows(fakestrapi.DealUID), h.fake.RemoveOddRows(fakestrapi.BillingUID))
}

// disturbList changes what the last reconciliation lists, while it does. Each change
// sends a webhook, and none changes another document silently.
func (h *history) disturbList() error {
	defer h.noteStates()
	h.changed++
	deals, billings := h.alive(fakestrapi.DealUID), h.alive(fakestrapi.BillingUID)
	values := fakestrapi.Values{"name": fmt.Sprint("v", h.changed)}
	switch {
	case h.chance(3):
		return h.create("d", fakestrapi.DealUID, values)
	case len(billings) > 0 && h.chance(2):
		return h.remove(fakestrapi.BillingUID, billings[h.random.IntN(len(billings))])
	case len(deals) > 0 && len(billings) == 0 && h.chance(2):
		return h.remove(fakestrapi.DealUID, deals[h.random.IntN(len(deals))])
	case len(deals) > 0:
		return h.update(fakestrapi.DealUID, deals[h.random.IntN(len(deals))], values)
	}
	return nil
}

// noteStates notes the state of every document, after each change.
func (h *history) noteStates() {
	for _, d := range h.documents {
		now := h.stateOf(d.Key)
		if len(d.states) == 0 || d.states[len(d.states)-1] != now {
			d.states = append(d.states, now)
		}
	}
}

func (h *history) stateOf(key mirror.Key) state {
	draft, ok := h.fake.Get(key.UID, key.DocumentID, strapi.Draft)
	published, isPublished := h.fake.Get(key.UID, key.DocumentID, strapi.Published)
	s := state{deleted: !ok && !isPublished}
	if ok {
		s.draft = content(draft)
	}
	if isPublished {
		s.published = content(published)
	}
	return s
}

// leadsTo stands between a billing and its deal.
const leadsTo = " of "

// content distinguishes the states of a document.
func content(e fakestrapi.Entry) string {
	return e.Text("name") + e.Text("billing_id") + leadsTo + strings.Join(e.Relations["deal"], ",")
}
