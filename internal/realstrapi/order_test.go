package realstrapi_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// What is fixed in the order of webhooks was found out with a real Strapi on a
// busy machine. Order is that of the envelope's createdAt, the moment in which
// the sending began: Strapi begins in the order of its queue, five at a time, so
// the arrivals mean less.
//
// Fixed, and compared in the steps that are inTurn:
//   - An event whose document is not read again (entry.delete, entry.unpublish,
//     media.*) is in the queue before Strapi answers the request. So those of one
//     request come before those of the client's next.
//   - The files of one upload are made one after the other, each with its event.
//
// Not fixed, so the webhooks of all other steps are compared sorted:
//   - entry.create, entry.update and entry.publish are sent when the document was
//     read again, after the answer. The publication of a save overtakes the save
//     itself about once in five. The webhooks of a request overtook those of the
//     client's request before in 5 of 840.
//   - The two entry.delete of a document with two versions come in the order in
//     which Postgres finds the rows: by the index, or after an ANALYZE by their
//     place. In a step that is inTurn the two are compared sorted.
//   - The documents of a bulk action come in any order.
//   - Which file of an upload is the first: Strapi takes them in the order in
//     which it has written them to its disk. The second came first in 12 of 120.

// turns returns the deletions whose webhooks come in the order of the requests.
func turns() []step {
	return []step{
		{name: "create three to delete", do: func(s *session) {
			for _, name := range []string{"y1", "y2", "y3"} {
				s.post(name, "pipeline-deals", "", `{"name":"`+name+`"}`)
			}
		}},
		{name: "unpublish two, one after the other", only: withDrafts, inTurn: true, do: func(s *session) {
			s.unpublish(deals, s.ids["y2"])
			s.unpublish(deals, s.ids["y1"])
		}},
		{name: "delete three, one after the other", inTurn: true, do: func(s *session) {
			for _, name := range []string{"y3", "y1", "y2"} {
				s.rest(http.MethodDelete, "/api/pipeline-deals/$"+name, "")
			}
		}},
	}
}

// arrange normalizes webhooks and orders them: by event and row, or as they were
// sent if that is fixed.
func (s *session) arrange(deliveries []delivery, inTurn bool) []string {
	s.t.Helper()
	var all []webhook
	for _, d := range deliveries {
		all = append(all, readWebhook(d.body))
	}
	// Aliases are given in the order of first appearance, so this comes first.
	slices.SortStableFunc(all, bySubject)
	for i := range all {
		all[i].line = s.aliases.normalize(all[i].line)
	}
	if inTurn {
		sortAsSent(all)
	}
	var lines []string
	for _, w := range all {
		require.True(s.t, !inTurn || !w.readAgain(), "the order of %s is not fixed", w.Event)
		lines = append(lines, w.line)
	}
	return lines
}

// sortAsSent orders webhooks by createdAt; those of one document that follow one
// another are left in the order of their rows.
func sortAsSent(all []webhook) {
	slices.SortStableFunc(all, func(a, b webhook) int { return strings.Compare(a.CreatedAt, b.CreatedAt) })
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(w webhook) bool { return w.subject() != all[0].subject() })
		if n < 0 {
			n = len(all)
		}
		slices.SortStableFunc(all[:n], bySubject)
		all = all[n:]
	}
}

// webhook is what of a body its order depends on.
type webhook struct {
	Event, CreatedAt, UID string
	Entry, Media          struct {
		ID         int
		DocumentID string
	}
	line string
}

func readWebhook(body string) webhook {
	w := webhook{line: body}
	_ = json.Unmarshal([]byte(body), &w) // what is no JSON shows in the comparison
	return w
}

// subject returns the event and the document or the file that it is about.
func (w webhook) subject() string {
	return fmt.Sprint(w.Event, " ", w.Entry.DocumentID, w.Media.DocumentID)
}

func (w webhook) readAgain() bool {
	return slices.Contains([]string{"entry.create", "entry.update", "entry.publish"}, w.Event)
}

// bySubject compares the events and the rows that they are about.
func bySubject(a, b webhook) int {
	return cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Entry.ID, b.Entry.ID), cmp.Compare(a.Media.ID, b.Media.ID))
}
