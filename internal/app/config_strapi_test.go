package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/strapi"
)

const (
	dealUID         = "api::pipeline-deal.pipeline-deal"
	billingUID      = "api::billing.billing"
	constructionUID = "api::construction-billing.construction-billing"
	twoBillingTypes = billingUID + "=billings," + constructionUID + "=construction-billings"
)

func typesOf(t *testing.T, e environ) []strapi.ContentType {
	t.Helper()
	s := &settings{getenv: e.getenv}
	types := s.contentTypes()
	require.Empty(t, s.problems)
	return types
}

func TestContentTypes_Defaults(t *testing.T) {
	t.Parallel()
	require.Equal(t, []strapi.ContentType{
		{Kind: strapi.Deal, UID: dealUID, Plural: "pipeline-deals", Fields: map[string]string{
			"deal_id": "deal_id", "name": "name", "deal_value": "deal_value", "currency": "currency", "status": "status",
			"stage": "stage", "probability": "probability", "confidence_override": "confidence_override",
			"expected_close_date": "expected_close_date", "recognition_start_month": "recognition_start_month",
			"recognition_end_month": "recognition_end_month", "owner": "owner", "billings": "billings",
		}},
		{Kind: strapi.Billing, UID: billingUID, Plural: "billings", Fields: map[string]string{
			"billing_id": "billing_id", "amount": "amount", "currency": "currency", "status": "status",
			"invoice_date": "invoice_date", "collected_date": "collected_date", "recognition_month": "recognition_month", "deal": "deal",
		}},
	}, typesOf(t, environ{}))
}

func TestContentTypes_Mapping(t *testing.T) {
	t.Parallel()
	types := typesOf(t, environ{
		"STRAPI_BILLING_TYPES":  twoBillingTypes,
		"STRAPI_DEAL_FIELDS":    "status = deal_status, billings=invoices, owner=, deal_value=money.net.amount",
		"STRAPI_BILLING_FIELDS": "status=billing_status," + constructionUID + ".status=phase," + constructionUID + ".deal=",
	})
	deal, billing, construction := types[0], types[1], types[2]
	require.Equal(t, "deal_status", deal.Field("status"))
	require.Equal(t, "invoices", deal.Field("billings"))
	require.Equal(t, "money.net.amount", deal.Field("deal_value"))
	require.Equal(t, "construction_billings", deal.Field("construction-billings"))
	require.Contains(t, deal.Fields, "owner")
	require.Empty(t, deal.Field("owner"), "mapped to nothing")
	require.Equal(t, "billing_status", billing.Field("status"))
	require.Equal(t, "deal", billing.Field("deal"))
	require.Equal(t, []string{"billings", "deal_value", "owner", "status"}, deal.Explicit)
	require.Equal(t, []string{"status"}, billing.Explicit)
	require.Equal(t, []string{"deal", "status"}, construction.Explicit)
	require.Equal(t, "phase", construction.Field("status"), "its own mapping wins, wherever it stands in the list")
	require.Empty(t, construction.Field("deal"))
}

func TestContentTypes_Mistakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ setting, value, wrong, fix string }{
		{dealTypes, "api::a.a", "has the entry", "uid=REST plural"},
		{dealTypes, "a.a=as", "has the entry", "uid=REST plural"},
		{dealTypes, "api::a.a=a/s", "has the entry", "uid=REST plural"},
		{dealTypes, " , ", "names no type", "uid=REST plural"},
		{dealTypes, "api::a.a=as,api::a.a=bs", "has api::a.a, which it has already", "once"},
		{dealTypes, "api::a.a=as,api::b.b=as", "gives api::b.b the plural as of api::a.a", "its own REST plural"},
		{billingTypes, dealUID + "=deals", "has " + dealUID + ", which STRAPI_DEAL_TYPES has too", "once"},
		{billingTypes, "api::a.a=owner", "has the plural owner, which is also the name of a deal's field", "Rename"},
		{dealMapping, "stage", `has the entry "stage" without '='`, "field of Dealbox=the attribute"},
		{dealMapping, "colour=color", `maps "colour", which is no field of Dealbox`, "billings, confidence_override, currency, deal_id"},
		{dealMapping, "deal=deal", `maps "deal", which is no field of Dealbox`, "Use one of"},
		{dealMapping, "stage=a,stage=b", "maps stage twice", "once"},
		{dealMapping, "stage=a b", `maps stage to "a b"`, "the attribute's name"},
		{dealMapping, "stage=a..b", `maps stage to "a..b"`, "a path through components"},
		{dealMapping, "stage=.b", `maps stage to ".b"`, "a path through components"},
		{dealMapping, "stage=a][b", `maps stage to "a][b"`, "the attribute's name"},
		{dealMapping, billingUID + ".stage=a", "names the type \"" + billingUID + "\", which is not configured", dealUID},
		{dealMapping, dealUID + "=a", `names the type "api::pipeline-deal", which is not configured`, dealUID},
		{billingMapping, "billings=x", `maps "billings", which is no field of Dealbox`, "amount, billing_id, collected_date, currency, deal,"},
		{billingMapping, "=x", `maps "", which is no field of Dealbox`, "Use one of"},
	} {
		s := &settings{getenv: environ{test.setting: test.value}.getenv}
		s.contentTypes()
		require.Len(t, s.problems, 1, test.value)
		require.Equal(t, test.setting, s.problems[0].Setting, test.value)
		require.Contains(t, s.problems[0].Wrong, test.wrong, test.value)
		require.Contains(t, s.problems[0].Fix, test.fix, test.value)
	}
}
