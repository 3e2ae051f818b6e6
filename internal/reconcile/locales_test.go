package reconcile

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"dealbox/internal/alerting"
	"dealbox/internal/fakestrapi"
	"dealbox/internal/mirror"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
)

// alive are the live deals by the names that the test gives their documents.
func (h *env) alive(names map[string]mirror.Key) string {
	h.T.Helper()
	rows, err := h.Pool.Query(h.T.Context(), "SELECT document_id, locale, coalesce(name, '') FROM deal WHERE deleted_at IS NULL ORDER BY name, locale")
	require.NoError(h.T, err)
	text := ""
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var id, locale, name string
		err := row.Scan(&id, &locale, &name)
		for short, key := range names {
			if key.DocumentID == id {
				id = short
			}
		}
		text += fmt.Sprintf("%s/%s %s, ", id, locale, name)
		return struct{}{}, err
	})
	require.NoError(h.T, err)
	return text
}

// A document has a row for each locale. A sweep is of all of them: it finds changes
// without a webhook, and ghosts in the locale that is gone alone.
func TestLocales(t *testing.T) {
	t.Parallel()
	for name, withDrafts := range map[string]bool{"plain": false, "drafts": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, strapitest.Localized(withDrafts))
			both, plain := h.Deal(fakestrapi.Values{"name": "deal"}), h.Deal(fakestrapi.Values{"name": "plain"})
			entry, err := h.Fake.In("fr").Create(fakestrapi.DealUID, fakestrapi.Values{"name": "seule"})
			require.NoError(t, err)
			french := mirror.Key{UID: fakestrapi.DealUID, DocumentID: entry.DocumentID, Locale: "fr"}
			bothFR := h.Translate(both, "fr", fakestrapi.Values{"name": "affaire"})
			names := map[string]mirror.Key{"both": both, "plain": plain, "french": french}

			// Webhooks name the locale.
			require.NoError(t, h.refresh(bothFR))
			require.Equal(t, "both/fr affaire, ", h.alive(names))
			run := h.sweep(Request{Extent: Full})
			require.Equal(t, [3]int64{3, 0, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			require.Equal(t, int64(4), run.Listed)
			h.drain()
			require.Equal(t, "both/fr affaire, both/en deal, plain/en plain, french/fr seule, ", h.alive(names))
			h.requireInStep()

			// The webhook of one locale is lost: a delta finds the change.
			h.Translate(both, "fr", fakestrapi.Values{"name": "affaire 2"})
			run = h.sweep(Request{Extent: Delta})
			require.Equal(t, [3]int64{0, 1, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			h.drain()
			require.Equal(t, "both/fr affaire 2, both/en deal, plain/en plain, french/fr seule, ", h.alive(names))

			// A locale is deleted without a webhook; the others of the document stay.
			require.NoError(t, h.Fake.In("fr").Delete(fakestrapi.DealUID, both.DocumentID))
			run = h.sweep(Request{Extent: Full})
			require.Equal(t, [3]int64{0, 0, 1}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			h.drain()
			require.Equal(t, "both/en deal, plain/en plain, french/fr seule, ", h.alive(names))

			// So is the default one of another document.
			h.Translate(plain, "de", fakestrapi.Values{"name": "schlicht"})
			require.NoError(t, h.Fake.Delete(fakestrapi.DealUID, plain.DocumentID))
			run = h.sweep(Request{Extent: Full})
			require.Equal(t, [3]int64{1, 0, 1}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			h.drain()
			require.Equal(t, "both/en deal, plain/de schlicht, french/fr seule, ", h.alive(names))
			h.requireInStep()
		})
	}
}

// Each locale is published for itself: of a document the one is listed as it is
// published, the other as a draft.
func TestLocales_Publication(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Localized(true))
	deal := h.Deal(fakestrapi.Values{"name": "deal"})
	fr := h.Translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	h.sweep(Request{Extent: Full})
	h.drain()
	require.NoError(t, h.Fake.In("fr").Unpublish(fr.UID, fr.DocumentID))
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, [3]int64{0, 1, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts})
	h.drain()
	require.Equal(t, "en true, fr false", h.MustText(
		"SELECT string_agg(locale || ' ' || (published_at IS NOT NULL), ', ' ORDER BY locale) FROM deal WHERE deleted_at IS NULL"))
	h.requireInStep()
}

// A page may end between the locales of a document, and be smaller than it.
func TestLocales_PageThatEndsInsideADocumentLosesNone(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Localized(true))
	for i := range 12 {
		deal := h.Deal(fakestrapi.Values{"name": fmt.Sprint("deal ", i)})
		for _, locale := range []string{"de", "fr", "th"}[:i%4] {
			h.Translate(deal, locale, fakestrapi.Values{"name": fmt.Sprint(locale, i)})
		}
	}
	for _, size := range []int{1, 5} {
		h.MustExec("TRUNCATE deal, entity_sync")
		id := h.request(Request{Extent: Full, Trigger: TriggerDemand})
		h.run(h.reconciler(size))
		run := h.runRow(id)
		require.Equal(t, "done", run.Status)
		require.Equal(t, [3]int64{30, 0, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts}, "pages of %d", size)
		h.drain()
		require.Equal(t, 30, h.LiveDeals())
		h.requireInStep()
	}
}

// A difference in one locale whose change sent a webhook of another is no lost
// webhook: Strapi sends none for it.
func TestLocales_SharedIsNotLost(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Localized(false))
	deal := h.Deal(fakestrapi.Values{"name": "deal", "owner": "ada"})
	fr := h.Translate(deal, "fr", fakestrapi.Values{"name": "affaire"})
	other := h.Translate(h.Deal(fakestrapi.Values{"name": "other"}), "fr", fakestrapi.Values{"name": "autre"})
	h.sweep(Request{Extent: Full})
	h.drain()
	for _, key := range []mirror.Key{deal, other} {
		_, err := h.Fake.Update(key.UID, key.DocumentID, fakestrapi.Values{"owner": "bo"})
		require.NoError(t, err)
	}
	en := mirror.Key{UID: deal.UID, DocumentID: deal.DocumentID, Locale: "en"}
	h.event(en, "entry.update", 2)
	require.NoError(t, h.refresh(en))
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, int64(3), run.Stale, "the deal in fr, and the other one in both")
	h.MustExec("UPDATE reconciliation_difference SET found_at = found_at - interval '61 seconds'")
	require.NoError(t, h.reconciler(7).countLost(t.Context()))
	require.Equal(t, int64(2), h.runRow(run.ID).LostWebhooks)
	require.Equal(t, fr.DocumentID, h.MustText("SELECT document_id FROM reconciliation_difference WHERE lost = false AND run_id = $1", run.ID))
}

// A type can get its locales later, and lose them again: Strapi then shows each
// document under another key. Nothing vanished, so the guard has no part in it.
func TestLocales_TypeChanges(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		option        strapitest.Option
		before, after string
	}{
		{"it gets locales", strapitest.Localized(true), "", "en"},
		{"it loses them", strapitest.Drafts, "en", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newEnv(t, test.option)
			keys := h.fill(30)
			for _, table := range []string{"deal", "entity_sync"} {
				h.MustExec("UPDATE "+table+" SET locale = $1", test.before)
			}
			// A refresh under the old key, such as a replay requests, leads to the new one.
			require.NoError(t, h.refresh(mirror.Key{UID: keys[0].UID, DocumentID: keys[0].DocumentID, Locale: test.before}))
			h.drain()
			require.Equal(t, test.after, h.MustText("SELECT locale FROM deal WHERE document_id = $1 AND deleted_at IS NULL", keys[0].DocumentID))

			run := h.sweep(Request{Extent: Full})
			require.Equal(t, [3]int64{29, 29, 0}, [3]int64{run.Missing, run.Stale, run.Ghosts})
			h.drain()
			require.Equal(t, 30, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM deal WHERE deleted_at IS NULL AND locale = $1", test.after))
			require.Equal(t, 30, h.LiveDeals())
			require.NotContains(t, h.OpenAlerts(), alerting.RuleMassDeleteGuard)
			h.requireInStep()
		})
	}
}

// Deleting a locale in Strapi's settings deletes its documents without webhooks:
// the guard holds them back until somebody says that it was meant.
func TestLocales_Guard(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Localized(false))
	var fr []mirror.Key
	for i := range 12 {
		deal := h.Deal(fakestrapi.Values{"name": fmt.Sprint("deal ", i)})
		fr = append(fr, h.Translate(deal, "fr", fakestrapi.Values{"name": fmt.Sprint("affaire ", i)}))
	}
	h.sweep(Request{Extent: Full})
	h.drain()
	for _, key := range fr {
		require.NoError(t, h.Fake.In("fr").SilentDelete(key.UID, key.DocumentID))
	}
	run := h.sweep(Request{Extent: Full})
	require.Equal(t, [2]int64{12, 12}, [2]int64{run.Ghosts, run.Held})
	h.drain()
	require.Equal(t, 24, h.LiveDeals())
	require.Contains(t, h.OpenAlerts(), alerting.RuleMassDeleteGuard)
	h.sweep(Request{Extent: Full, AllowDeletes: true, Actor: "test"})
	h.drain()
	require.Equal(t, 12, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM deal WHERE deleted_at IS NULL AND locale = 'en'"))
	require.Equal(t, 12, h.LiveDeals())
	h.requireInStep()
}
