package level

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Level{"info": Info, "WARNING": Warning, "Error": Error, "critical": Critical} {
		got, err := Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "warn", "errör", " info", "level(0)", "fatal\n\x00"} {
		_, err := Parse(text)
		require.Error(t, err, "%q", text)
		require.NotContains(t, err.Error(), "\x00")
	}
}

func TestLevels_AreInOrder(t *testing.T) {
	t.Parallel()
	require.IsIncreasing(t, All())
	require.Equal(t, Info, All()[0])
	require.Equal(t, Critical, All()[len(All())-1])
}

func TestLevel_JSON(t *testing.T) {
	t.Parallel()
	encoded, err := json.Marshal(map[Level]Level{Error: Critical})
	require.NoError(t, err)
	require.JSONEq(t, `{"error":"critical"}`, string(encoded))
	var decoded map[Level]Level
	require.NoError(t, json.Unmarshal(encoded, &decoded))
	require.Equal(t, map[Level]Level{Error: Critical}, decoded)

	_, err = json.Marshal(Level(0))
	require.Error(t, err)
	require.Error(t, json.Unmarshal([]byte(`"fatal"`), new(Level)))
	require.Equal(t, "level(7)", Level(7).String())
}
