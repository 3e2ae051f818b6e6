package mirror

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/pgtest"
	"dealbox/internal/pgtest/strapitest"
	"dealbox/internal/strapi"
)

// textual makes attributes of deals texts, so that Strapi takes any value for them.
func textual(names ...string) strapitest.Option {
	return func(c *strapitest.Config) {
		for i, a := range c.Strapi.Types[0].Attributes {
			if slices.Contains(names, a.Name) {
				c.Strapi.Types[0].Attributes[i].Kind = fakestrapi.String
			}
		}
	}
}

// A value that cannot be read costs one attempt and one column. Its document is a member
// of one warning a type and field until it is corrected, unpublished or deleted.
func TestSync_UnreadableValues(t *testing.T) {
	t.Parallel()
	h := newEnv(t, strapitest.Drafts, textual("deal_value", "recognition_end_month"))
	well := h.Deal(fakestrapi.Values{"name": "well", "deal_value": "5"})
	var keys []Key
	for _, value := range []string{"1,234.50", "฿ 500", "12%"} {
		keys = append(keys, h.Deal(fakestrapi.Values{"name": "deal " + value, "deal_value": value, "owner": "ada", "recognition_end_month": "Jan 2027"}))
	}
	for _, key := range append(keys, well) {
		require.NoError(t, h.refresh(key))
		require.Equal(t, "ok", h.Entity(key).State)
	}
	require.Equal(t, 4, h.LiveDeals())
	require.Equal(t, "well", h.MustText("SELECT string_agg(name, ',') FROM deal WHERE deal_value IS NOT NULL AND owner IS NULL"))
	require.Equal(t, 3, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM deal WHERE deal_value IS NULL AND owner = 'ada'"))
	open := func() string {
		return h.MustText("SELECT coalesce(string_agg(concat_ws(' ', rule, subject, level, members), '; ' ORDER BY subject), '') FROM alert WHERE resolved_at IS NULL")
	}
	require.Equal(t, "value_unreadable pipeline-deals.deal_value warning 3; value_unreadable pipeline-deals.recognition_end_month warning 3", open())
	message := h.MustText("SELECT message FROM alert WHERE subject = 'pipeline-deals.deal_value'")
	require.Contains(t, message, `Dealbox cannot read the deal_value of deal 1,234.50 in pipeline-deals: deal_value "1,234.50" is no number`)
	require.Contains(t, message, "write it as 1234.50")

	history := func() int {
		return pgtest.MustGet[int](h.DB, "SELECT sum(occurrences)::int + (SELECT count(*)::int FROM alert_event) FROM alert")
	}
	before := history()
	require.NoError(t, h.refresh(keys[0]))
	require.Equal(t, before, history(), "the same value is no news")

	update := func(key Key, values fakestrapi.Values) {
		_, err := h.Fake.Update(key.UID, key.DocumentID, values)
		require.NoError(t, err)
		require.NoError(t, h.refresh(key))
	}
	update(keys[0], fakestrapi.Values{"deal_value": "1 235", "recognition_end_month": "2027-01-01"})
	require.Contains(t, h.MustText("SELECT string_agg(reason, ' ') FROM alert_member"), `"1 235" is no number`)
	update(keys[0], fakestrapi.Values{"deal_value": "1234.50"})
	require.Equal(t, "1234.5", h.MustText("SELECT deal_value::text FROM deal WHERE document_id = $1", keys[0].DocumentID))
	require.NoError(t, h.Fake.Delete(keys[1].UID, keys[1].DocumentID))
	require.NoError(t, h.refresh(keys[1]))
	require.Equal(t, "value_unreadable pipeline-deals.deal_value warning 1; value_unreadable pipeline-deals.recognition_end_month warning 1", open())
	require.NoError(t, h.Fake.Unpublish(keys[2].UID, keys[2].DocumentID))
	require.NoError(t, h.refresh(keys[2]))
	require.Empty(t, open())
	require.Regexp(t, `^Dealbox reads every deal_value of pipeline-deals again after .+; what became of those it could not read, of 3 documents: `+
		`1 corrected, 1 deleted in Strapi, 1 unpublished$`,
		h.MustText("SELECT message FROM alert WHERE subject = 'pipeline-deals.deal_value'"))
	require.Zero(t, pgtest.MustGet[int](h.DB, "SELECT count(*) FROM entity_sync WHERE unreadable IS NOT NULL"))
}

// What reads well and Postgres refuses is left out, too, and all else of the document is
// written, however many values it refuses.
func TestSync_ValueThatPostgresRefuses(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	h.MustExec(`ALTER TABLE deal ADD CHECK (owner <> 'nobody'); ALTER TABLE deal ADD CHECK (deal_value < 100);
		ALTER TABLE deal ADD CHECK (stage <> 'none' OR currency <> 'THB')`)
	for name, document := range map[string]struct {
		values fakestrapi.Values
		want   string // the row's name, deal_value, owner, stage and currency, then what Postgres refused
	}{
		"one":     {fakestrapi.Values{"owner": "nobody", "deal_value": json.Number("10"), "stage": "won", "currency": "THB"}, "one 10 - won THB owner"},
		"two":     {fakestrapi.Values{"owner": "nobody", "deal_value": json.Number("100"), "stage": "won", "currency": "THB"}, "two - - won THB deal_value owner"},
		"three":   {fakestrapi.Values{"owner": "nobody", "deal_value": json.Number("100"), "stage": "none", "currency": "THB"}, "three - - - THB deal_value owner stage"},
		"between": {fakestrapi.Values{"owner": "ann", "deal_value": json.Number("10"), "stage": "none", "currency": "THB"}, "between 10 ann - THB stage"},
	} {
		document.values["name"] = name
		key := h.Deal(document.values)
		require.NoError(t, h.refresh(key))
		require.Equal(t, document.want, h.MustText(`SELECT concat_ws(' ', name, coalesce(deal_value::text, '-'), coalesce(owner, '-'), coalesce(stage, '-'), coalesce(currency, '-'),
				(SELECT string_agg(field, ' ' ORDER BY field) FROM jsonb_object_keys(s.unreadable) field))
			FROM deal d JOIN entity_sync s USING (uid, document_id, locale) WHERE d.document_id = $1`, key.DocumentID))
		if name == "one" {
			require.Contains(t, h.MustText("SELECT unreadable->>'owner' FROM entity_sync WHERE document_id = $1", key.DocumentID), `"nobody" is refused by Postgres (new row`)
		}
	}
	require.Equal(t, map[string]string{"value_unreadable": "warning"}, h.OpenAlerts())
}

// A billing belongs to the deal where Strapi names exactly one; with several or none it is
// mirrored all the same. The Strapi here is no more than a list of answers: it shows
// everything, whatever is requested.
func TestSync_BillingOfSeveralDeals(t *testing.T) {
	t.Parallel()
	h := newEnv(t)
	deals := `[{"id":1,"documentId":"d1"},{"id":2,"documentId":"d2"}]`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := fmt.Sprintf(`{"data":{"id":7,"documentId":"b1","billing_id":"B-1","amount":5,"currency":null,"billing_status":null,"invoice_date":null,
			"collected_date":null,"recognition_month":null,"updatedAt":"2026-11-29T10:00:00.000Z","deal":%s}}`, deals)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	client, err := strapi.New(strapi.Config{BaseURL: server.URL, Token: "token"})
	require.NoError(t, err)
	h.sync.source.client = client
	key := Key{UID: fakestrapi.BillingUID, DocumentID: "b1"}
	for _, test := range []struct{ deals, link, alerts string }{
		{deals, "5 -", `deal belongs to 2 deals (d1, d2): the mirror links it to none; leave one in Strapi`},
		{`[{"id":2,"documentId":"d2"}]`, "5 d2", ""},
		{`[]`, "5 -", ""},
		{`null`, "5 -", ""},
		{`{"documentId":"d1"}`, "5 d1", ""},
	} {
		deals = test.deals
		require.NoError(t, h.refresh(key))
		require.Equal(t, test.link, h.MustText("SELECT concat(amount, ' ', coalesce(deal_document_id, '-')) FROM billing"))
		require.Equal(t, test.alerts, h.MustText("SELECT coalesce(max(m.reason), '') FROM alert a JOIN alert_member m ON m.alert_id = a.id WHERE a.subject = 'billings.deal'"))
	}
	require.Empty(t, h.OpenAlerts())
}
