package reconcile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/strapi"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	page := func(more bool, ids ...string) strapi.Page {
		p := strapi.Page{More: more}
		for _, id := range ids {
			p.Documents = append(p.Documents, strapi.Document{DocumentID: id})
		}
		return p
	}
	for name, test := range map[string]struct {
		drafts, published strapi.Page
		want              map[string]strapi.Version
		upto              string
	}{
		"both end": {
			page(false, "a", "b", "c"), page(false, "a", "c"),
			map[string]strapi.Version{"a": strapi.Published, "b": strapi.Draft, "c": strapi.Published}, "",
		},
		"drafts reach less far": {
			page(true, "a", "b"), page(false, "a", "c", "d"),
			map[string]strapi.Version{"a": strapi.Published, "b": strapi.Draft}, "b",
		},
		"published reach less far": {
			page(true, "a", "b", "c"), page(true, "b"),
			map[string]strapi.Version{"a": strapi.Draft, "b": strapi.Published}, "b",
		},
		"no drafts":    {strapi.Page{}, page(true, "a", "b"), map[string]strapi.Version{"a": strapi.Published, "b": strapi.Published}, "b"},
		"only drafts":  {page(false, "a"), page(false), map[string]strapi.Version{"a": strapi.Draft}, ""},
		"nothing left": {page(false), page(false), map[string]strapi.Version{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			docs, upto := merge("api::d.d", test.drafts, test.published)
			got := map[string]strapi.Version{}
			for _, l := range docs {
				require.NotContains(t, got, l.key.DocumentID)
				got[l.key.DocumentID] = l.version
			}
			require.Equal(t, test.want, got)
			require.Equal(t, test.upto, upto)
		})
	}
}
