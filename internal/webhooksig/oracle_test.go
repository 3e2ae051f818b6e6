package webhooksig

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// theirs is the Standard Webhooks Go library, keyed as ours is.
func theirs(t require.TestingT, secret string) *standardwebhooks.Webhook {
	if strings.HasPrefix(secret, secretPrefix) {
		w, err := standardwebhooks.NewWebhook(secret)
		require.NoError(t, err)
		return w
	}
	w, err := standardwebhooks.NewWebhookRaw([]byte(secret))
	require.NoError(t, err)
	return w
}

func drawSecret(t *rapid.T) string {
	key := rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "key")
	if rapid.Bool().Draw(t, "base64") {
		return secretPrefix + base64.StdEncoding.EncodeToString(key)
	}
	return "raw:" + string(key)
}

var drawID = rapid.StringMatching(`[!-\-/-~]{1,256}`)

func TestSign_PassesStandardWebhooksLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret, id := drawSecret(t), drawID.Draw(t, "id")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")

		h, err := Sign(SchemeStandard, secret, id, time.Now(), body)

		require.NoError(t, err)
		require.NoError(t, theirs(t, secret).Verify(body, h))
		require.Error(t, theirs(t, secret).Verify(append(body, 'x'), h))
	})
}

func TestVerifier_Verify_AcceptsStandardWebhooksLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret, id := drawSecret(t), drawID.Draw(t, "id")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		when := time.Unix(rapid.Int64Range(0, 1e11).Draw(t, "when"), 0)
		signature, err := theirs(t, secret).Sign(id, when, body)
		require.NoError(t, err)
		h := headers("webhook-id", id, "webhook-timestamp", rapidStamp(when), "webhook-signature", signature)
		v, err := NewVerifier(Config{Secrets: []string{"other", secret}, Now: func() time.Time { return when }})
		require.NoError(t, err)

		got, err := v.Verify(h, body)

		require.NoError(t, err)
		require.Equal(t, Verified{SchemeStandard, id}, got)
		_, err = v.Verify(h, append(body, 'x'))
		require.Error(t, err)
	})
}

func rapidStamp(t time.Time) string {
	h, err := Sign(SchemeTimestamped, "any", "", t, nil)
	if err != nil {
		panic(err)
	}
	return h.Get(headerPlainTimestamp)
}

// Whatever the headers are, Verify returns one of its codes, and accepts
// under SchemeStandard only what the Standard Webhooks library accepts too.
func FuzzVerifier_Verify(f *testing.F) {
	f.Add(svixID, svixStamp, svixSignature, "", "", "", "", "", svixBody)
	f.Add(svixID, svixStamp, "v1, "+svixSignature, "", "", "", "", "", svixBody)
	f.Add(svixID, svixStamp, "v1,", "", "", "", "", "", svixBody)
	f.Add(svixID, "+"+svixStamp, svixSignature, "", "", "", "", "", svixBody)
	f.Add("a.b", "0"+svixStamp, "v2,x "+svixSignature+" v1,x", "", "", "", "", "", svixBody)
	f.Add(svixID, svixStamp, svixSignature+",x", "", "", "", "", "Bearer x", svixBody)
	f.Add("", "", "", svixStamp, "sha256=00", "", "", "", "")
	f.Add("", "", "", "", "", "sha1=00", "", "Bearer token", "")
	f.Add("", "", "", "", "", "", "sha256="+strings.Repeat("0", 64), "Basic", "")
	f.Add("", "", "", "", "", strings.Repeat("f", 64), "", "bearer \xff", "x")
	f.Fuzz(func(t *testing.T, id, stamp, signature, plainStamp, plainSignature, strapi, strapi256, authorization, body string) {
		h := http.Header{}
		for name, value := range map[string]string{
			headerID: id, headerTimestamp: stamp, headerSignature: signature,
			headerPlainTimestamp: plainStamp, headerPlainSignature: plainSignature,
			headerStrapi: strapi, headerStrapi256: strapi256, headerAuthorization: authorization,
		} {
			if value != "" {
				h[name] = []string{value}
			}
		}
		v := mustVerifier(t, Config{Secrets: []string{svixSecret}, Token: "token"})

		got, err := v.Verify(h, []byte(body))

		if err != nil {
			var e *SignatureError
			require.ErrorAs(t, err, &e)
			require.Contains(t, []string{CodeMissing, CodeMalformed, CodeMismatch, CodeOutOfTolerance}, e.Code)
			require.Zero(t, got)
			return
		}
		if got.Scheme == SchemeStandard {
			require.NoError(t, theirs(t, svixSecret).VerifyIgnoringTimestamp([]byte(body), h))
			require.Equal(t, id, got.DeliveryID)
		} else {
			require.Empty(t, got.DeliveryID)
			require.Empty(t, id+stamp+signature, "a carried scheme was not checked")
		}
		if authorization != "" {
			require.Equal(t, "bearer token", strings.ToLower(authorization[:7])+authorization[7:])
		}
	})
}
