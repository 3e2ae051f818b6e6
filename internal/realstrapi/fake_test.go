package realstrapi_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dealbox/internal/fakestrapi"
)

// TestFake_ShowsWhatTheRealOneShowed does the scenarios to the fake. What a client
// can see is what the real Strapi showed, but for ids and moments.
func TestFake_ShowsWhatTheRealOneShowed(t *testing.T) {
	t.Parallel()
	for name, drafts := range map[string]bool{"without drafts": false, "with drafts": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			showsTheSame(t, exampleTypes(drafts), drafts, scenarios(), golden(drafts))
		})
		t.Run(localizedName(drafts), func(t *testing.T) {
			t.Parallel()
			showsTheSame(t, localizedTypes(drafts), drafts, localizedScenarios(), localizedGolden(drafts))
		})
	}
}

func showsTheSame(t *testing.T, types []fakestrapi.Type, drafts bool, steps []step, file string) {
	t.Helper()
	recorder := newRecorder(t)
	s := newSession(t, newFake(t, types, recorder.URL), recorder)
	want := readGolden(t, file)
	for _, step := range steps {
		if !step.runs(drafts) {
			continue
		}
		expected, known := want[step.name]
		require.True(t, known, "testdata lacks %q: record it with make test-strapi", step.name)
		require.Equal(t, expected, s.run(step, &expected), step.name)
	}
}
