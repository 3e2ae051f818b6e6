package reconcile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
)

func TestDue(t *testing.T) {
	t.Parallel()
	cfg := Config{Interval: 2 * time.Minute, FullInterval: time.Hour}
	for name, test := range map[string]struct {
		facts dbsqlc.ReconciliationAgesRow
		want  Extent
	}{
		"never ran":              {dbsqlc.ReconciliationAgesRow{TryAge: 1e9, FullAge: 1e9}, Full},
		"one is open":            {dbsqlc.ReconciliationAgesRow{HasOpen: true, TryAge: 1e9, FullAge: 1e9}, ""},
		"delta":                  {dbsqlc.ReconciliationAgesRow{TryAge: 121, FullAge: 600}, Delta},
		"not yet":                {dbsqlc.ReconciliationAgesRow{TryAge: 119, FullAge: 600}, ""},
		"full":                   {dbsqlc.ReconciliationAgesRow{TryAge: 121, FullAge: 3600}, Full},
		"full failed just now":   {dbsqlc.ReconciliationAgesRow{TryAge: 10, FullAge: 4000}, ""},
		"full failed a bit ago":  {dbsqlc.ReconciliationAgesRow{TryAge: 130, FullAge: 4000}, Full},
		"a delta ran in between": {dbsqlc.ReconciliationAgesRow{TryAge: 5, FullAge: 600}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, is := due(test.facts, cfg)
			require.Equal(t, test.want, got)
			require.Equal(t, test.want != "", is)
		})
	}
}
