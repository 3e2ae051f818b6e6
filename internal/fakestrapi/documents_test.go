package fakestrapi

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/strapi"
)

func withDrafts(c *Config) { c.Types = PipelineTypes(true, true) }

func TestDocuments_SilentChanges(t *testing.T) {
	t.Parallel()
	t.Run("DeletingADealUnlinksItsBillings", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		deal := r.mustCreate(DealUID, Values{"name": "A"})
		billing := r.mustCreate(BillingUID, Values{"amount": 1, "deal": deal.DocumentID})
		r.drain()

		require.NoError(t, r.Delete(DealUID, deal.DocumentID))

		require.Equal(t, []string{"entry.delete"}, events(r.drain()))
		after := r.mustGet(BillingUID, billing.DocumentID)
		require.Empty(t, after.Relations["deal"])
		require.Equal(t, billing.UpdatedAt, after.UpdatedAt)
		require.NoError(t, r.Import(DealUID, json.RawMessage(fmt.Sprintf(`{"documentId":%q}`, deal.DocumentID))))
		require.Empty(t, r.mustGet(BillingUID, billing.DocumentID).Relations["deal"], "the link is gone, not only its end")
	})
	t.Run("SettingBillingsFromTheDeal", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		a, b := r.mustCreate(DealUID, nil), r.mustCreate(DealUID, nil)
		billing := r.mustCreate(BillingUID, Values{"deal": a.DocumentID})
		r.drain()

		_, err := r.SetRelation(DealUID, b.DocumentID, "billings", billing.DocumentID)
		require.NoError(t, err)

		got := r.drain()
		require.Equal(t, []string{"entry.update"}, events(got))
		require.Equal(t, b.DocumentID, entryOf(t, got[0])["documentId"])
		require.Empty(t, r.mustGet(DealUID, a.DocumentID).Relations["billings"])
		after := r.mustGet(BillingUID, billing.DocumentID)
		require.Equal(t, []string{b.DocumentID}, after.Relations["deal"])
		require.Equal(t, billing.UpdatedAt, after.UpdatedAt)
	})
	t.Run("CloningADealMovesItsBillings", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		deal := r.mustCreate(DealUID, nil)
		billing := r.mustCreate(BillingUID, Values{"deal": deal.DocumentID})
		r.drain()

		clone, err := r.Clone(DealUID, deal.DocumentID, nil)
		require.NoError(t, err)

		require.Equal(t, []string{"entry.create"}, events(r.drain()))
		require.Equal(t, []string{billing.DocumentID}, r.mustGet(DealUID, clone.DocumentID).Relations["billings"])
		require.Empty(t, r.mustGet(DealUID, deal.DocumentID).Relations["billings"])
	})
	t.Run("SQL", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, nil)
		deal := r.mustCreate(DealUID, Values{"name": "A"})
		r.drain()

		require.NoError(t, r.SilentEdit(DealUID, deal.DocumentID, Values{"name": "B"}))
		after := r.mustGet(DealUID, deal.DocumentID)
		require.Equal(t, "B", after.Text("name"))
		require.Equal(t, deal.UpdatedAt, after.UpdatedAt)
		require.NoError(t, r.SilentDelete(DealUID, deal.DocumentID))
		require.ErrorIs(t, r.SilentDelete(DealUID, deal.DocumentID), ErrNotFound)
		require.Empty(t, r.drain())
	})
}

func TestDocuments_Drafts(t *testing.T) {
	t.Parallel()
	t.Run("ADraftDoesNotTouchWhatIsPublished", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, withDrafts)
		deal := r.mustCreate(DealUID, Values{"name": "A"})
		billing := r.mustCreate(BillingUID, nil)
		r.drain()

		_, err := r.SaveDraft(DealUID, deal.DocumentID, Values{"name": "B", "billings": []string{billing.DocumentID}})
		require.NoError(t, err)

		got := r.drain()
		require.Equal(t, []string{"entry.update"}, events(got))
		require.Nil(t, entryOf(t, got[0])["publishedAt"])
		require.Len(t, entryOf(t, got[0])["billings"], 1)
		require.Equal(t, "A", r.mustGet(DealUID, deal.DocumentID).Text("name"))
		require.Empty(t, r.mustGet(DealUID, deal.DocumentID).Relations["billings"])

		_, err = r.Publish(DealUID, deal.DocumentID, nil)
		require.NoError(t, err)
		after := r.mustGet(DealUID, deal.DocumentID)
		require.Equal(t, "B", after.Text("name"))
		require.Equal(t, []string{billing.DocumentID}, after.Relations["billings"])
		require.NotEqual(t, deal.ID, after.ID, "each publication is a new row")
	})
	t.Run("Unpublish", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, withDrafts)
		deal := r.mustCreate(DealUID, nil)
		r.mustCreate(BillingUID, Values{"deal": deal.DocumentID})
		r.drain()

		require.NoError(t, r.Unpublish(DealUID, deal.DocumentID))

		got := r.drain()
		require.Equal(t, []string{"entry.unpublish"}, events(got))
		require.Equal(t, map[string]any{"count": 1.0}, entryOf(t, got[0])["billings"])
		require.NotNil(t, entryOf(t, got[0])["publishedAt"])
		require.Equal(t, 404, r.get("/api/pipeline-deals/"+deal.DocumentID).status)
		require.Equal(t, 200, r.get("/api/pipeline-deals/"+deal.DocumentID+"?status=draft").status)
		require.ErrorIs(t, r.Unpublish(DealUID, deal.DocumentID), ErrNotFound)
	})
	t.Run("BulkUnpublishAndPublish", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(c *Config) { withDrafts(c); c.Now = newClock().Now })
		deal := r.mustCreate(DealUID, nil)
		r.drain()

		require.NoError(t, r.BulkUnpublish(DealUID, deal.DocumentID))
		require.NotContains(t, entryOf(t, r.drain()[0]), "billings")
		require.NoError(t, r.BulkPublish(DealUID, deal.DocumentID))

		require.Equal(t, []string{"entry.publish"}, events(r.drain()))
		after := r.mustGet(DealUID, deal.DocumentID)
		require.Equal(t, deal.UpdatedAt, after.UpdatedAt)
		require.True(t, after.PublishedAt.After(*deal.PublishedAt))
	})
	t.Run("DeleteTellsOfBothRows", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, withDrafts)
		deal := r.mustCreate(DealUID, nil)
		r.drain()

		require.NoError(t, r.Delete(DealUID, deal.DocumentID))

		got := r.drain()
		require.Equal(t, []string{"entry.delete", "entry.delete"}, events(got))
		require.NotContains(t, entryOf(t, got[0]), "billings")
		require.NotEqual(t, entryOf(t, got[0])["id"], entryOf(t, got[1])["id"])
		require.Equal(t, entryOf(t, got[0])["documentId"], entryOf(t, got[1])["documentId"])
	})
	t.Run("DiscardDraft", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, withDrafts)
		deal := r.mustCreate(DealUID, Values{"name": "A"})
		before, err := r.SaveDraft(DealUID, deal.DocumentID, Values{"name": "B"})
		require.NoError(t, err)
		require.Equal(t, "B", before.Text("name"))
		require.Nil(t, before.PublishedAt)
		r.drain()

		_, err = r.DiscardDraft(DealUID, deal.DocumentID)
		require.NoError(t, err)

		require.Empty(t, r.drain(), "no webhook wants entry.draft-discard")
		after, _ := r.Get(DealUID, deal.DocumentID, strapi.Draft)
		require.Equal(t, "A", after.Text("name"))
		require.NotEqual(t, before.ID, after.ID)
	})
	t.Run("PublishCanOvertakeUpdate", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(c *Config) { withDrafts(c); c.Overtake = 1 })
		r.Webhooks.Pause()
		r.mustCreate(DealUID, nil)
		require.Equal(t, "entry.publish", r.Webhooks.queue[0].event)
		r.Webhooks.Resume()
		require.Len(t, r.drain(), 2)
	})
}

// The entry is read again after the commit: a row that was published again in
// between is gone, and Strapi sends null.
func TestDocuments_EntryIsReadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, withDrafts)
	deal := r.mustCreate(DealUID, Values{"name": "A"})
	table := r.store.tables[DealUID]
	old := event{name: entryPublish, table: table, documentID: deal.DocumentID, where: published, rowID: deal.ID}
	require.Contains(t, string(r.reread(old)), `"name":"A"`)

	_, err := r.Update(DealUID, deal.DocumentID, Values{"name": "B"})
	require.NoError(t, err)

	require.Equal(t, "null", string(r.reread(old)))
	old.where, old.rowID = draft, table.row(deal.DocumentID, draft).id
	require.Contains(t, string(r.reread(old)), `"name":"B"`)
}

func TestDocuments_Values(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind   AttributeKind
		in     string
		out    string // "" is null
		status int    // 0: stored
	}{
		"Null":               {Decimal, `null`, ``, 0},
		"Decimal":            {Decimal, `120000.50`, `120000.5`, 0},
		"DecimalString":      {Decimal, `"99999999.99"`, `99999999.99`, 0},
		"DecimalRounds":      {Decimal, `1000.125`, `1000.13`, 0},
		"DecimalNegative":    {Decimal, `-0.001`, `0`, 0},
		"DecimalWhole":       {Decimal, `2000`, `2000`, 0},
		"DecimalExponent":    {Decimal, `1.5e3`, `1500`, 0},
		"DecimalOverflow":    {Decimal, `123456789.01`, ``, 500},
		"DecimalHuge":        {Decimal, `1e400000`, ``, 400},
		"DecimalWord":        {Decimal, `"much"`, ``, 400},
		"Integer":            {Integer, `40`, `40`, 0},
		"IntegerFraction":    {Integer, `40.5`, ``, 400},
		"IntegerOverflow":    {Integer, `3000000000`, ``, 500},
		"BigInteger":         {BigInteger, `9007199254740993`, `"9007199254740993"`, 0},
		"Text":               {String, `"<Ünïcode> & \"quotes\" \u2028"`, "\"<Ünïcode> & \\\"quotes\\\" \u2028\"", 0},
		"TextEscapedSlash":   {String, `"\\u2028"`, `"\\u2028"`, 0},
		"TextNul":            {String, `"a\u0000b"`, ``, 500},
		"TextNumber":         {String, `5`, ``, 400},
		"Date":               {Date, `"2026-02-01"`, `"2026-02-01"`, 0},
		"DateFromMoment":     {Date, `"2026-02-01T10:00:00.000Z"`, `"2026-02-01"`, 0},
		"DateWord":           {Date, `"soon"`, ``, 400},
		"DateTime":           {DateTime, `"2026-02-01T10:00:00+02:00"`, `"2026-02-01T08:00:00.000Z"`, 0},
		"Boolean":            {Boolean, `true`, `true`, 0},
		"BooleanWord":        {Boolean, `"true"`, ``, 400},
		"JSON":               {JSON, `{ "a": 1 }`, `{"a":1}`, 0},
		"FloatKeepsItsValue": {Float, `0.1`, `0.1`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, problem := Attribute{Name: "x", Kind: c.kind}.stored(json.RawMessage(c.in))
			if c.status != 0 {
				require.NotNil(t, problem)
				require.Equal(t, c.status, problem.Status)
				return
			}
			require.Nil(t, problem)
			require.Equal(t, c.out, string(got))
		})
	}
}

func TestDocuments_DecimalWithoutLoss(t *testing.T) {
	t.Parallel()
	types := PipelineTypes(false, false)
	types[0].Attributes[2].Precision, types[0].Attributes[2].Scale = 40, 10
	r := newRig(t, func(c *Config) { c.Types = types })
	deal := r.mustCreate(DealUID, Values{"deal_value": json.Number("12345678901234567890.0123456789")})
	require.Contains(t, r.get("/api/pipeline-deals/"+deal.DocumentID).body, `"deal_value":12345678901234567890.0123456789,`)
}

func TestDocuments_Import(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Types = CapturedTypes(false) })
	for _, name := range []string{"dp0-02-rest-create-deal", "dp0-04-rest-create-billing"} {
		var envelope struct {
			UID   string          `json:"uid"`
			Entry json.RawMessage `json:"entry"`
		}
		require.NoError(t, json.Unmarshal([]byte(readCapture(t, name).Body), &envelope))
		require.NoError(t, r.Import(envelope.UID, envelope.Entry))
	}
	require.Empty(t, r.drain())

	deal := r.mustGet(DealUID, "rqxr53blx3djlctqpjz4oif8")
	require.Equal(t, []string{"fip7mm19w4huyalswqj611h7"}, deal.Relations["billings"])
	require.Equal(t, int64(1), deal.ID)
	require.Equal(t, time.Date(2026, 11, 23, 21, 8, 39, 53e6, time.UTC), deal.UpdatedAt)
	require.Equal(t, int64(2), r.mustCreate(DealUID, nil).ID, "ids go on")

	require.ErrorContains(t, r.Import(DealUID, json.RawMessage(`{"name":"x"}`)), "no documentId")
	require.Error(t, r.Import(DealUID, json.RawMessage(`[]`)))
}

func TestNew_RefusesWhatStrapiRefuses(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Types: PipelineTypes(true, false), Webhooks: []Webhook{{URL: "localhost"}}})
	require.ErrorContains(t, err, `reserves the name "status"`)
	require.ErrorContains(t, err, "not an http or https URL")

	types := PipelineTypes(false, false)
	types[0].Relations[0].Inverse = "owner"
	_, err = New(Config{Types: types})
	require.ErrorContains(t, err, `no relation "owner"`)

	s, err := New(Config{Types: PipelineTypes(false, false)})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	_, err = s.Create("api::ghost.ghost", nil)
	require.ErrorContains(t, err, "api::ghost.ghost")
	_, err = s.Update(DealUID, "nothere", nil)
	require.ErrorIs(t, err, ErrNotFound)
}
