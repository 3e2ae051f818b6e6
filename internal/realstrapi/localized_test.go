package realstrapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// furtherLocales are those of the localized stages beside en, the default one.
var furtherLocales = []string{"de", "fr"}

func localizedName(drafts bool) string {
	if drafts {
		return "locales and drafts"
	}
	return "locales"
}

// localizedScenarios returns the steps to do to an empty Strapi whose deals and billings have
// locales. Construction billings have none.
func localizedScenarios() []step {
	var all []step
	for _, part := range [][]step{translations(), localizedReads(), dealboxLocalizedReads(), localizedPublications(), localizedRelations(), localizedDeletions()} {
		all = append(all, part...)
	}
	return all
}

func translations() []step {
	return []step{
		{name: "create a deal in the default locale", do: func(s *session) {
			s.post("a", "pipeline-deals", "", `{"deal_id":"D-1","name":"Deal A",`+deal+`}`)
		}},
		wholeType(dealType),
		{name: "create a deal in another locale alone", do: func(s *session) {
			s.post("f", "pipeline-deals", "?locale=fr", `{"deal_id":"D-2","name":"Affaire F",`+deal+`}`)
		}},
		{name: "add a second locale to the deal", do: func(s *session) {
			s.put("a", "pipeline-deals", "?locale=fr", `{"name":"Affaire A","deal_value":130000,"deal_status":"active","stage":"proposal","probability":50,"expected_close_date":"2027-02-01"}`)
		}},
		{name: "add a third locale to the deal", do: func(s *session) {
			s.put("a", "pipeline-deals", "?locale=de", `{"name":"Geschäft A"}`)
		}},
		{name: "create a billing of the deal", do: func(s *session) {
			s.post("b1", "billings", "", `{"billing_id":"B-1","amount":1000.1,"invoice_date":"2027-02-01","billing_status":"sent","deal":$a}`)
		}},
		wholeType(billingType),
		{name: "add a second locale to the billing", do: func(s *session) {
			s.put("b1", "billings", "?locale=fr", `{"amount":900,"invoice_date":"2027-02-02","deal":$a}`)
		}},
		{name: "create a billing in another locale alone", do: func(s *session) {
			s.post("b2", "billings", "?locale=fr", `{"billing_id":"B-2","amount":50,"deal":$f}`)
		}},
		{name: "a type without locales leads to the default one", do: func(s *session) {
			s.post("c1", "construction-billings", "", `{"billing_id":"C-1","total":5000.55,"invoice_date":"2027-02-10","deal":$a}`)
		}},
		wholeType(constructionType),
		{name: "a type without locales leads to another one", do: func(s *session) {
			s.post("c2", "construction-billings", "", `{"billing_id":"C-2","total":60,"deal":{"connect":[{"documentId":$a,"locale":"fr"}]}}`)
		}},
		{name: "update in the default locale", do: func(s *session) { s.put("a", "pipeline-deals", "", `{"probability":60}`) }},
		{name: "update in another locale", do: func(s *session) {
			s.put("a", "pipeline-deals", "?locale=fr", `{"probability":70,"name":"Affaire A 2"}`)
		}},
		{name: "update the billing in another locale", do: func(s *session) { s.put("b1", "billings", "?locale=fr", `{"amount":950}`) }},
		{name: "update a shared attribute", do: func(s *session) { s.put("a", "pipeline-deals", "", `{"owner":"bo"}`) }},
		{name: "it has changed in every locale without a webhook", do: func(s *session) {
			s.rest(http.MethodGet, "/api/pipeline-deals/$a?locale=fr", "")
			s.rest(http.MethodGet, "/api/pipeline-deals/$a?locale=de", "")
			s.rest(http.MethodGet, "/api/pipeline-deals/$a?locale=fr&status=draft", "")
		}},
		{name: "write the shared attribute in the others", do: func(s *session) {
			s.put("a", "pipeline-deals", "?locale=fr", `{"owner":"bo"}`)
			s.put("a", "pipeline-deals", "?locale=de", `{"owner":"bo"}`)
		}},
		{name: "update a shared attribute in another locale", do: func(s *session) {
			s.put("b1", "billings", "?locale=fr", `{"currency":"THB"}`)
			s.put("b1", "billings", "", `{"currency":"THB"}`)
		}},
	}
}

// localizedReads returns the requests of a client that reconciles.
func localizedReads() []step {
	get := func(path string) step {
		return step{name: "GET " + path, do: func(s *session) { s.rest(http.MethodGet, path, "") }}
	}
	return []step{
		get("/api/pipeline-deals?fields[0]=name&sort=name"),
		get("/api/pipeline-deals?fields[0]=name&sort=name&locale=en"),
		get("/api/pipeline-deals?fields[0]=name&sort=name&locale=fr"),
		get("/api/pipeline-deals?fields[0]=name&fields[1]=locale&sort=name&locale=*"),
		get("/api/pipeline-deals?fields[0]=name&sort=name&locale=*&status=draft"),
		get("/api/pipeline-deals?fields[0]=name&sort=name&locale=*&pagination[pageSize]=2&pagination[page]=2"),
		get("/api/pipeline-deals?fields[0]=name&sort=name&locale=*&filters[documentId][$eq]=$a"),
		get("/api/pipeline-deals?fields[0]=name&sort=name&filters[documentId][$in][0]=$a&filters[documentId][$in][1]=$f"),
		get("/api/pipeline-deals?fields[0]=name&sort=name&filters[locale]=fr"),
		get("/api/pipeline-deals?fields[0]=name&sort=name&locale=*&filters[locale][$ne]=fr"),
		get("/api/pipeline-deals?fields[0]=name&sort[0]=locale&sort[1]=name&locale=*"),
		get("/api/pipeline-deals?fields[0]=name&locale=xx"),
		get("/api/pipeline-deals?fields[0]=name&locale=FR"),
		get("/api/pipeline-deals/$a"),
		get("/api/pipeline-deals/$a?locale=fr"),
		get("/api/pipeline-deals/$a?locale=xx"),
		get("/api/pipeline-deals/$a?locale=*"),
		get("/api/pipeline-deals/$f"),
		get("/api/pipeline-deals/$f?locale=fr"),
		get("/api/billings?locale=*&populate[0]=deal&sort[0]=billing_id&sort[1]=locale"),
		get("/api/construction-billings?locale=*&populate[0]=deal&sort=billing_id"),
		get("/api/construction-billings/$c1?locale=fr"),
		get("/api/construction-billings?locale=*&sort=locale"),
		get("/api/construction-billings?locale=*&filters[locale]=fr"),
		{name: "a read-only token may read every locale", do: func(s *session) {
			s.ask("read", http.MethodGet, "/api/pipeline-deals?locale=*&fields[0]=name&sort=name", "")
		}},
	}
}

func localizedPublications() []step {
	return []step{
		{name: "content manager: save in another locale", do: func(s *session) { s.in("fr").save(deals, s.ids["a"], values{"name": "Affaire A 3"}) }},
		{name: "content manager: publish in another locale", only: withDrafts, do: func(s *session) {
			s.in("fr").publish(deals, s.ids["a"], values{"probability": 75})
		}},
		{name: "unpublish in another locale", only: withDrafts, do: func(s *session) { s.in("fr").unpublish(deals, s.ids["a"]) }},
		{name: "the others are published still", only: withDrafts, do: func(s *session) {
			s.rest(http.MethodGet, "/api/pipeline-deals?fields[0]=name&sort=name&locale=*", "")
			s.rest(http.MethodGet, "/api/pipeline-deals?fields[0]=name&sort=name&locale=*&status=draft", "")
			s.rest(http.MethodGet, "/api/billings/$b1?locale=fr&populate[0]=deal", "")
		}},
		{name: "bulk publish in another locale", only: withDrafts, do: func(s *session) { s.in("fr").bulk("bulkPublish", deals, s.ids["a"]) }},
		{name: "save a draft in another locale", only: withDrafts, do: func(s *session) {
			s.put("a", "pipeline-deals", "?locale=fr&status=draft", `{"name":"Affaire A 4"}`)
		}},
		{name: "discard the draft in another locale", only: withDrafts, do: func(s *session) { s.in("fr").discard(deals, s.ids["a"]) }},
		{name: "bulk unpublish in another locale", only: withDrafts, do: func(s *session) { s.in("fr").bulk("bulkUnpublish", deals, s.ids["a"]) }},
		{name: "publish by a PUT in another locale", only: withDrafts, do: func(s *session) {
			s.put("a", "pipeline-deals", "?locale=fr", `{"probability":80}`)
		}},
		{name: "unpublish in the default locale", only: withDrafts, do: func(s *session) { s.unpublish(deals, s.ids["a"]) }},
		{name: "publish in the default locale", only: withDrafts, do: func(s *session) { s.publish(deals, s.ids["a"], values{}) }},
	}
}

func localizedRelations() []step {
	return []step{
		{name: "take the billings of one locale, on the deal's side", do: func(s *session) {
			s.put("a", "pipeline-deals", "?locale=fr", `{"billings":{"set":[]}}`)
		}},
		{name: "set the billings of one locale, on the deal's side", do: func(s *session) {
			s.put("a", "pipeline-deals", "?locale=fr", `{"billings":{"set":[$b1]}}`)
		}},
		{name: "disconnect in the default locale, on the deal's side", do: func(s *session) {
			s.put("a", "pipeline-deals", "", `{"billings":{"disconnect":[$b1]}}`)
		}},
		{name: "move a billing of one locale to another deal", do: func(s *session) { s.put("b1", "billings", "?locale=fr", `{"deal":$f}`) }},
		{name: "connect in the default locale, on the billing's side", do: func(s *session) { s.put("b1", "billings", "", `{"deal":$a}`) }},
		{name: "add a third locale to the billing", do: func(s *session) { s.put("b1", "billings", "?locale=de", `{"amount":1,"deal":$a}`) }},
		{name: "a deal that has not the billing's locale", do: func(s *session) {
			s.put("b1", "billings", "?locale=de", `{"deal":$f}`)
			s.rest(http.MethodPost, "/api/construction-billings", `{"deal":$f}`)
		}},
		{name: "read the relations in each locale", do: func(s *session) {
			s.rest(http.MethodGet, "/api/pipeline-deals?locale=*&sort[0]=name&fields[0]=name&populate[billings][fields][0]=documentId&populate[construction_billings][fields][0]=documentId", "")
			s.rest(http.MethodGet, "/api/billings?locale=*&sort[0]=billing_id&sort[1]=locale&fields[0]=locale&populate[deal][fields][0]=locale", "")
		}},
		{name: "content manager: clone in another locale", do: func(s *session) {
			s.ids["clone"] = s.in("fr").clone(deals, s.ids["f"], values{"name": "Affaire copiée"})
		}},
	}
}

func localizedDeletions() []step {
	return []step{
		{name: "write in all locales", do: func(s *session) { s.put("a", "pipeline-deals", "?locale=*", `{"name":"x"}`) }},
		{name: "a locale that does not exist", do: func(s *session) { s.post("x", "pipeline-deals", "?locale=xx", `{"name":"X"}`) }},
		{name: "delete a locale that the document has not", do: func(s *session) { s.rest(http.MethodDelete, "/api/billings/$b1?locale=it", "") }},
		{name: "delete one locale", do: func(s *session) { s.rest(http.MethodDelete, "/api/pipeline-deals/$a?locale=de", "") }},
		{name: "delete one locale of a billing", do: func(s *session) { s.rest(http.MethodDelete, "/api/billings/$b1?locale=fr", "") }},
		{name: "add the locale again", do: func(s *session) { s.put("a", "pipeline-deals", "?locale=de", `{"name":"Geschäft A 2"}`) }},
		{name: "delete the default locale", do: func(s *session) { s.rest(http.MethodDelete, "/api/pipeline-deals/$a", "") }},
		{name: "the other locales are there still", do: func(s *session) {
			s.rest(http.MethodGet, "/api/pipeline-deals/$a", "")
			s.rest(http.MethodGet, "/api/pipeline-deals/$a?locale=fr&fields[0]=name", "")
			s.rest(http.MethodGet, "/api/pipeline-deals/$a?locale=de&fields[0]=name", "")
			s.rest(http.MethodGet, "/api/billings/$b1?populate[deal][fields][0]=name", "")
		}},
		{name: "delete the document in all locales", do: func(s *session) { s.rest(http.MethodDelete, "/api/pipeline-deals/$a?locale=*", "") }},
		{name: "content manager: delete in another locale", do: func(s *session) { s.in("fr").remove(deals, s.ids["f"]) }},
		{name: "create two to delete in two locales", do: func(s *session) {
			for _, name := range []string{"x1", "x2"} {
				s.post(name, "pipeline-deals", "", `{"name":"X"}`)
				s.put(name, "pipeline-deals", "?locale=fr", `{"name":"X fr"}`)
			}
		}},
		{name: "content manager: bulk delete in another locale", do: func(s *session) {
			s.in("fr").bulk("bulkDelete", deals, s.ids["x1"], s.ids["x2"])
		}},
		{name: "content manager: delete in all locales", do: func(s *session) {
			s.put("x1", "pipeline-deals", "?locale=de", `{"name":"X de"}`)
			s.in("*").remove(deals, s.ids["x1"])
		}},
		{name: "delete what is left", do: func(s *session) {
			s.rest(http.MethodDelete, "/api/billings/$b1?locale=*", "")
			s.rest(http.MethodDelete, "/api/billings/$b1?locale=*", "")
			s.rest(http.MethodGet, "/api/pipeline-deals?locale=*&fields[0]=name&sort=name&status=draft", "")
		}},
	}
}

// localeLost: a full reconciliation finds what changed in one locale without a
// webhook, and takes nothing for deleted in the others.
func (st *stage) localeLost(t *testing.T) {
	ids := st.deals(t, 3, "locale")
	from := st.recorder.count()
	for i, id := range ids {
		st.write(t, http.MethodPut, "/api/pipeline-deals/"+id+"?locale=fr", values{"name": fmt.Sprint("affaire ", i), "deal_value": 100 + i})
	}
	st.recorder.answered(t, from, 3*st.perWrite())
	st.dealbox.requireMirror(st.strapi, st.drafts, "three deals in two locales")
	st.dealbox.waitLocales() // else a refresh that is due later finds what the reconciliation should

	from = st.recorder.count()
	st.recorder.to("") // the recorder answers by itself, and Dealbox gets nothing
	st.write(t, http.MethodPut, "/api/pipeline-deals/"+ids[0]+"?locale=fr", values{"name": "changée"})
	st.write(t, http.MethodPut, "/api/pipeline-deals/"+ids[0]+"?locale=de", values{"name": "neu"})
	for _, path := range []string{ids[1] + "?locale=fr", ids[2]} { // the second is the default locale
		answer, err := st.strapi.REST(t.Context(), http.MethodDelete, "/api/pipeline-deals/"+path, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, answer.Status, string(answer.Body))
	}
	st.recorder.answered(t, from, 4*st.perWrite())
	st.recorder.to(st.dealbox.address)
	theirs, ours := st.dealbox.bothSides(st.strapi, st.drafts)
	require.NotEqual(t, theirs, ours, "the webhooks are lost")
	t.Log(st.dealbox.sync())
	st.dealbox.requireMirror(st.strapi, st.drafts, "a reconciliation of every locale")
	require.Equal(t, "1 1 2", st.dealbox.text(`SELECT concat_ws(' ', missing, stale, ghosts) FROM reconciliation_run
		WHERE trigger = 'demand' ORDER BY id DESC LIMIT 1`))
}

// localeDeleted: Strapi then deletes all that was in the locale, without a webhook.
func (st *stage) localeDeleted(t *testing.T) {
	st.dealbox.waitLocales()
	answer, err := st.strapi.Admin(t.Context(), http.MethodGet, "/i18n/locales", nil)
	require.NoError(t, err)
	var locales []struct {
		ID   int
		Code string
	}
	require.NoError(t, json.Unmarshal(answer.Body, &locales))
	from := st.recorder.count()
	for _, l := range locales {
		if l.Code == "fr" {
			answer, err = st.strapi.Admin(t.Context(), http.MethodDelete, fmt.Sprint("/i18n/locales/", l.ID), nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, answer.Status, string(answer.Body))
		}
	}
	require.NotEqual(t, "0", st.dealbox.text("SELECT count(*)::text FROM deal WHERE locale = 'fr' AND deleted_at IS NULL"))
	t.Log(st.dealbox.sync())
	st.dealbox.requireMirror(st.strapi, st.drafts, "a locale was deleted")
	require.Equal(t, "0", st.dealbox.text("SELECT count(*)::text FROM deal WHERE locale = 'fr' AND deleted_at IS NULL"))
	require.Equal(t, from, st.recorder.count(), "no webhook is sent for it")
}
