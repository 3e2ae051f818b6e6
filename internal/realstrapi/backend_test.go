package realstrapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
	"dealbox/internal/realstrapi"
)

const (
	deals        = fakestrapi.DealUID
	billings     = fakestrapi.BillingUID
	construction = "api::construction-billing.construction-billing"
)

type values = map[string]any

// backend is a Strapi, real or fake. Its methods below REST are what the buttons of
// the content manager do.
type backend interface {
	// url is where the REST API is.
	url() string
	// token of the kind: full, read, bad or none.
	token(kind string) string

	create(uid string, v values) (documentID string)
	save(uid, documentID string, v values)
	publish(uid, documentID string, v values)
	unpublish(uid, documentID string)
	discard(uid, documentID string)
	clone(uid, documentID string, v values) (newID string)
	remove(uid, documentID string)
	bulk(action, uid string, documentIDs ...string) // bulkDelete, bulkPublish, bulkUnpublish
	trigger()
	// in is the same backend, whose content manager works in a locale.
	in(locale string) backend
}

// genuine is a real Strapi; its content manager is driven over its own API.
type genuine struct {
	t      *testing.T
	strapi *realstrapi.Strapi
	locale string
}

func (r genuine) in(locale string) backend {
	r.locale = locale
	return r
}

func (r genuine) url() string { return r.strapi.URL }

func (r genuine) token(kind string) string {
	switch kind {
	case "full":
		return r.setting("STRAPI_SEED_TOKEN")
	case "read":
		return r.setting("STRAPI_API_TOKEN")
	}
	return badToken(kind)
}

func badToken(kind string) string {
	if kind == "bad" {
		return "0123456789abcdef0123456789abcdef"
	}
	return ""
}

func (r genuine) setting(name string) string {
	r.t.Helper()
	value, err := r.strapi.Setting(name)
	require.NoError(r.t, err)
	return value
}

const manager = "/content-manager/collection-types/"

// admin calls the admin API and returns the documentId in its answer.
func (r genuine) admin(method, path string, body any) (documentID string) {
	r.t.Helper()
	if r.locale != "" {
		path += "?locale=" + url.QueryEscape(r.locale)
	}
	answer, err := r.strapi.Admin(r.t.Context(), method, path, body)
	require.NoError(r.t, err)
	require.Less(r.t, answer.Status, 300, "%s %s: %s", method, path, answer.Body)
	var document struct{ Data struct{ DocumentID string } }
	_ = json.Unmarshal(answer.Body, &document) // some answers are no document
	return document.Data.DocumentID
}

func (r genuine) create(uid string, v values) string {
	r.t.Helper()
	return r.admin(http.MethodPost, manager+uid, v)
}

func (r genuine) save(uid, id string, v values) {
	r.t.Helper()
	r.admin(http.MethodPut, manager+uid+"/"+id, v)
}

func (r genuine) publish(uid, id string, v values) {
	r.t.Helper()
	r.admin(http.MethodPost, manager+uid+"/"+id+"/actions/publish", v)
}

func (r genuine) unpublish(uid, id string) {
	r.t.Helper()
	r.admin(http.MethodPost, manager+uid+"/"+id+"/actions/unpublish", values{})
}

func (r genuine) discard(uid, id string) {
	r.t.Helper()
	r.admin(http.MethodPost, manager+uid+"/"+id+"/actions/discard", values{})
}

func (r genuine) clone(uid, id string, v values) string {
	r.t.Helper()
	return r.admin(http.MethodPost, manager+uid+"/clone/"+id, v)
}

func (r genuine) remove(uid, id string) {
	r.t.Helper()
	r.admin(http.MethodDelete, manager+uid+"/"+id, nil)
}

func (r genuine) bulk(action, uid string, ids ...string) {
	r.t.Helper()
	r.admin(http.MethodPost, manager+uid+"/actions/"+action, values{"documentIds": ids})
}

func (r genuine) trigger() {
	r.t.Helper()
	r.admin(http.MethodPost, "/admin/webhooks/1/trigger", values{})
}

// fake is the simulated Strapi.
type fake struct {
	t      *testing.T
	strapi *fakestrapi.Strapi
	server *fakestrapi.Server
}

const (
	fakeToken     = "a-full-access-token-of-the-fake"
	fakeReadToken = "a-read-only-token-of-the-fake"
)

func newFake(t *testing.T, types []fakestrapi.Type, receiver string) fake {
	t.Helper()
	s, err := fakestrapi.New(fakestrapi.Config{
		Types: types, Token: fakeToken, ReadToken: fakeReadToken,
		Webhooks: []fakestrapi.Webhook{{URL: receiver + "/api/v1/webhooks/strapi"}},
		Now:      ticking(), // so that createdAt has the order also of what takes no time
	})
	require.NoError(t, err)
	server, err := s.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, server.Close(context.WithoutCancel(t.Context()))) // it is over by now
		require.NoError(t, s.Close())
	})
	return fake{t, s, server}
}

// ticking returns a clock that goes on by a millisecond with each call.
func ticking() func() time.Time {
	start, ticks := time.Now(), atomic.Int64{}
	return func() time.Time { return start.Add(time.Duration(ticks.Add(1)) * time.Millisecond) }
}

// exampleTypes returns the types of strapi/example.
func exampleTypes(drafts bool) []fakestrapi.Type {
	types := fakestrapi.PipelineTypes(drafts, true)
	types[0].Relations = append(types[0].Relations, fakestrapi.Relation{
		Name: "construction_billings", Kind: fakestrapi.OneToMany, Target: construction, Inverse: "deal",
	})
	other := types[1]
	other.UID, other.Plural, other.Model = construction, "construction-billings", "construction-billing"
	other.Attributes = append([]fakestrapi.Attribute(nil), other.Attributes...)
	other.Attributes[1].Name = "total"
	other.Relations = []fakestrapi.Relation{{Name: "deal", Kind: fakestrapi.ManyToOne, Target: deals, Inverse: "construction_billings"}}
	return append(types, other)
}

// localizedTypes returns the same with LOCALIZED=true.
func localizedTypes(drafts bool) []fakestrapi.Type {
	types := exampleTypes(drafts)
	types[0].Localized, types[0].Shared = true, []string{"deal_id", "currency", "owner"}
	types[1].Localized, types[1].Shared = true, []string{"billing_id", "currency"}
	return types
}

func (f fake) in(locale string) backend {
	f.strapi = f.strapi.In(locale)
	return f
}

func (f fake) url() string { return f.server.URL }

func (f fake) token(kind string) string {
	switch kind {
	case "full":
		return fakeToken
	case "read":
		return fakeReadToken
	}
	return badToken(kind)
}

func (f fake) must(e fakestrapi.Entry, err error) string {
	f.t.Helper()
	require.NoError(f.t, err)
	return e.DocumentID
}

func (f fake) create(uid string, v values) string {
	f.t.Helper()
	return f.must(f.strapi.CreateDraft(uid, v))
}

func (f fake) save(uid, id string, v values) {
	f.t.Helper()
	f.must(f.strapi.SaveDraft(uid, id, v))
}

func (f fake) publish(uid, id string, v values) {
	f.t.Helper()
	f.must(f.strapi.Publish(uid, id, v))
}

func (f fake) unpublish(uid, id string) {
	f.t.Helper()
	require.NoError(f.t, f.strapi.Unpublish(uid, id))
}

func (f fake) discard(uid, id string) {
	f.t.Helper()
	f.must(f.strapi.DiscardDraft(uid, id))
}

func (f fake) clone(uid, id string, v values) string {
	f.t.Helper()
	return f.must(f.strapi.Clone(uid, id, v))
}

func (f fake) remove(uid, id string) {
	f.t.Helper()
	require.NoError(f.t, f.strapi.Delete(uid, id))
}

func (f fake) bulk(action, uid string, ids ...string) {
	f.t.Helper()
	do := map[string]func(string, ...string) error{
		"bulkDelete": f.strapi.BulkDelete, "bulkPublish": f.strapi.BulkPublish, "bulkUnpublish": f.strapi.BulkUnpublish,
	}[action]
	require.NoError(f.t, do(uid, ids...))
}

func (f fake) trigger() { f.strapi.Webhooks.TriggerTest(f.t.Context()) }
