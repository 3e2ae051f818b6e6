package simulation

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"dealbox/internal/alerting"
	"dealbox/internal/mirror"
)

type entityFacts struct {
	Want, Done, Version, Events, EventsDone int64
	State                                   string
	Failures                                int32
	Attempt                                 bool // one runs, or ended without a result
}

// shown is a mirrored row.
type shown struct {
	Deleted, Published bool
	Content            string
	Deal               string // to which a billing leads
	Row                []byte // as mirror_change keeps it
}

type changeFacts struct {
	ID            int64
	Key           mirror.Key
	Before, After []byte
}

// ledger is counted twice: by the counters, and by the rows.
type ledger struct {
	Received, Pending, Dead, Ignored, Quarantined int64
	Rows, RowsPending, RowsDead, RowsProcessed    int64
	RowsIgnored, RowsQuarantined                  int64
}

// watch checks a history after each step that wrote something.
type watch struct {
	commits  int
	entities map[mirror.Key]entityFacts
	wanted   map[mirror.Key]int    // when its last refresh was requested, in commits
	silent   map[mirror.Key]bool   // the attempt before the last one ended without a result
	last     map[mirror.Key][]byte // the row as the last change left it
	changes  map[int64]bool
	// generation of the breaker up to which its moves were checked.
	generation int64
}

func newWatch() *watch {
	return &watch{
		wanted: map[mirror.Key]int{}, silent: map[mirror.Key]bool{},
		last: map[mirror.Key][]byte{}, changes: map[int64]bool{}, commits: -1,
	}
}

func (w *watch) check(h *history) error {
	if w.commits == h.gate.commits {
		return nil
	}
	before := w.commits
	w.commits = h.gate.commits
	for _, c := range []struct {
		of     []string
		verify func(*history) error
	}{
		{[]string{"entity_sync"}, w.forward},
		{[]string{"circuit_breaker_event"}, w.asksFirst},
		{[]string{"mirror_change"}, w.append},
		{[]string{"mirror_change", "deal", "billing"}, w.order},
	} {
		if !slices.ContainsFunc(c.of, func(table string) bool { return h.written[table] > before }) {
			continue
		}
		if err := c.verify(h); err != nil {
			return err
		}
	}
	return nil
}

// forward: counters only grow, and done never passes want.
func (w *watch) forward(h *history) error {
	now, err := h.facts.entities()
	if err != nil {
		return err
	}
	for key, e := range now {
		before := w.entities[key]
		if e.Done > e.Want || e.EventsDone > e.Events {
			return violated("done <= want", "%s: %+v", key, e)
		}
		if e.Done < before.Done || e.Want < before.Want || e.Version < before.Version {
			return violated("done <= want", "%s went back from %+v to %+v", key, before, e)
		}
		if err := w.asked(h, key, before, e); err != nil {
			return err
		}
	}
	w.entities = now
	return nil
}

// asked: a document dies only after a request to Strapi covered what is wanted last. One
// whose worker died is spared: it may be the document that kills its workers.
func (w *watch) asked(h *history, key mirror.Key, before, now entityFacts) error {
	if now.Want > before.Want {
		w.wanted[key] = w.commits
	}
	if now.Failures > before.Failures {
		w.silent[key] = before.Attempt
	}
	if now.State == "dead" && before.State != "dead" && !w.silent[key] && h.asked[key.DocumentID] < w.wanted[key] {
		return violated("asked before it is dead", "%s died, and no request to Strapi covered seq %d", key, now.Want)
	}
	return nil
}

// append: the history of changes leads from row to row without a gap.
func (w *watch) append(h *history) error {
	added, err := h.facts.changes(w.changes)
	if err != nil {
		return err
	}
	for _, c := range added {
		if !bytes.Equal(c.Before, w.last[c.Key]) {
			return violated("append-only", "change %d of %s begins with %s, the one before it ended with %s", c.ID, c.Key, c.Before, w.last[c.Key])
		}
		w.last[c.Key], w.changes[c.ID] = c.After, true
	}
	return nil
}

// order: the mirror shows states that Strapi had, and never an older one than before.
func (w *watch) order(h *history) error {
	rows, err := h.facts.shown()
	if err != nil {
		return err
	}
	for key, row := range rows {
		if !bytes.Equal(row.Row, w.last[key]) {
			return violated("append-only", "the row of %s is %s, its last change says %s", key, row.Row, w.last[key])
		}
	}
	for _, d := range h.documents {
		row, ok := rows[d.Key]
		if !ok {
			if d.shown >= 0 {
				return violated("no regression", "the row of %s is gone", d)
			}
			continue
		}
		if bytes.Equal(row.Row, d.row) {
			continue
		}
		from := max(d.shown, 0)
		if at := d.find(row, from); at >= 0 {
			d.shown, d.row = at, row.Row
			continue
		}
		switch {
		case d.find(row, 0) < 0:
			return violated("no invention", "the mirror shows %s of %s, Strapi never had that", row, d)
		case d.states[from].deleted:
			return violated("no resurrection", "%s is deleted, the mirror shows %s again", d, row)
		}
		return violated("no regression", "the mirror went back to %s of %s, it had shown %+v", row, d, d.states[from])
	}
	return nil
}

func (s shown) String() string {
	switch {
	case s.Deleted:
		return "the tombstone"
	case s.Published:
		return "published " + s.Content
	}
	return "unpublished " + s.Content
}

// find is the first state from on that the row can show. A document that is not
// published is read in two requests: first that it is not, then its draft.
func (d *document) find(row shown, from int) int {
	unpublished := false
	for i := from; i < len(d.states); i++ {
		s := d.states[i]
		unpublished = unpublished || s.published == "" && !s.deleted
		switch {
		case row.Deleted:
			if s.deleted {
				return i
			}
		case row.Published:
			if s.published == row.Content {
				return i
			}
		case unpublished && s.draft == row.Content && !s.deleted:
			return i
		}
	}
	return -1
}

// atRest: the ledger is right, the forecast has caught up, dead letters and only
// they are members of the alerts about them and, unless something was lost, the mirror equals Strapi.
func (w *watch) atRest(h *history, inStep, reconciled bool) error {
	entities, err := h.facts.entities()
	if err != nil {
		return err
	}
	members, err := h.facts.deadLetters()
	if err != nil {
		return err
	}
	for key, e := range entities {
		switch {
		case e.State == "dead" && !members[key.String()]:
			return violated("dead with an alert", "%s is dead and no member of an alert", key)
		case e.State != "dead" && members[key.String()]:
			return violated("dead with an alert", "%s is not dead, and a member of the alert about dead letters", key)
		case e.State != "dead" && e.Done < e.Want:
			return violated("reflected or dead", "at rest %s is at %d of %d", key, e.Done, e.Want)
		}
	}
	if err := w.ledger(h); err != nil {
		return err
	}
	want, done, err := h.facts.scope()
	if err != nil {
		return err
	}
	if want != done {
		return violated("forecast", "at rest it is at %d of %d", done, want)
	}
	if err := w.gone(h); err != nil {
		return err
	}
	if reconciled {
		if err := w.over(h, alerting.RuleWebhooksRefused, alerting.RuleReconciliationFailing, alerting.RuleUnreadableRows); err != nil {
			return err
		}
	}
	if !inStep {
		return nil
	}
	return w.inStep(h, entities, !reconciled)
}

// gone: what a reconciliation found to be gone, Strapi has deleted.
func (w *watch) gone(h *history) error {
	ghosts, err := h.facts.ghosts()
	if err != nil {
		return err
	}
	for _, key := range ghosts {
		i := slices.IndexFunc(h.documents, func(d *document) bool { return d.Key == key })
		if i < 0 || !slices.ContainsFunc(h.documents[i].states, func(s state) bool { return s.deleted }) {
			return violated("gone is gone", "a reconciliation found %s to be gone, and Strapi never deleted it", key)
		}
	}
	return nil
}

// over: the alerts of what came right again are resolved.
func (w *watch) over(h *history, rules ...string) error {
	for _, rule := range rules {
		open, err := h.facts.openAlerts(rule)
		if err != nil {
			return err
		}
		if len(open) > 0 {
			return violated("alerts end", "at rest %s is open", rule)
		}
	}
	return nil
}

func (w *watch) inStep(h *history, entities map[mirror.Key]entityFacts, lateLinks bool) error {
	rows, err := h.facts.shown()
	if err != nil {
		return err
	}
	for _, d := range h.documents {
		if entities[d.Key].State == "dead" {
			continue
		}
		want, row := d.states[len(d.states)-1], rows[d.Key]
		_, ok := rows[d.Key]
		if lateLinks && !row.Published {
			// Strapi sends no webhook for this link: a published deal lists published billings only.
			want.published, want.draft, row.Content = withoutLink(want.published), withoutLink(want.draft), withoutLink(row.Content)
		}
		same := !ok && want.deleted || row.Deleted && want.deleted ||
			ok && !row.Deleted && !want.deleted && (row.Published && row.Content == want.published || !row.Published && want.published == "" && row.Content == want.draft)
		if !same {
			return violated("mirror = Strapi", "at rest the mirror shows %s of %s", row, d)
		}
	}
	return nil
}

func withoutLink(content string) string {
	own, _, _ := strings.Cut(content, leadsTo)
	return own
}

func (d *document) String() string {
	last := d.states[len(d.states)-1]
	return fmt.Sprintf("%s (%+v)", d.Key, last)
}

func (w *watch) ledger(h *history) error {
	l, err := h.facts.ledger()
	if err != nil {
		return err
	}
	processed := l.Received - l.Pending - l.Dead - l.Ignored - l.Quarantined
	if l.Received != l.Rows || l.Pending != l.RowsPending || l.Dead != l.RowsDead || processed != l.RowsProcessed ||
		l.Ignored != l.RowsIgnored || l.Quarantined != l.RowsQuarantined {
		return violated("ledger", "%+v", l)
	}
	stored, err := h.facts.stored()
	if err != nil {
		return err
	}
	for body := range h.acked {
		if sum := sha256.Sum256([]byte(body)); !stored[string(sum[:])] {
			return violated("acknowledged = committed", "no event for %s", body)
		}
	}
	return nil
}

// forecastFromNothing computes the forecast once more, an hour later: nothing may
// change, and a swing is over.
func (w *watch) forecastFromNothing(h *history) error {
	before, err := h.facts.forecasts()
	if err != nil {
		return err
	}
	h.pass(time.Hour)
	h.askRecompute()
	if err := h.drain(); err != nil {
		return err
	}
	now, err := h.facts.forecasts()
	if err == nil && now != before && before > 0 {
		err = violated("forecast", "computed from nothing it is another one")
	}
	if err != nil {
		return err
	}
	return w.over(h, alerting.RuleForecastSwing)
}
