package webhooksig

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Every captured delivery passes verification once it is signed, in every scheme.
func TestVerifier_Verify_AcceptsSignedCaptures(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	v, err := NewVerifier(Config{Secrets: []string{secret}, Now: func() time.Time { return vectorTime }})
	require.NoError(t, err)
	paths, err := filepath.Glob(filepath.Join("..", "strapi", "testdata", "captures", "*.json"))
	require.NoError(t, err)
	require.Len(t, paths, 47)
	for _, name := range paths {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		var capture struct {
			BodyRaw string `json:"body_raw"`
		}
		require.NoError(t, json.Unmarshal(data, &capture))
		body := []byte(capture.BodyRaw)
		for _, scheme := range []Scheme{SchemeStandard, SchemeTimestamped, SchemeStrapi} {
			h, err := Sign(scheme, secret, "msg_1", vectorTime, body)
			require.NoError(t, err)
			// The rig's static header is no scheme here, so it is ignored.
			h.Set("Authorization", "Bearer rig-static-default-token")
			got, err := v.Verify(h, body)
			require.NoError(t, err, name)
			require.Equal(t, scheme, got.Scheme)
			_, err = v.Verify(h, append(body, '\n'))
			require.Error(t, err, name)
		}
	}
	_, err = v.Verify(http.Header{"Authorization": {"Bearer rig-static-default-token"}}, nil)
	require.Error(t, err)
}
