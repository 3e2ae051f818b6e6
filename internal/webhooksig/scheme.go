// Package webhooksig signs and verifies webhooks: those that Strapi sends to
// Dealbox, and those that Dealbox sends to ALERT_WEBHOOK_URL. It imports nothing
// of ours.
package webhooksig

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Scheme is a way to authenticate a delivery.
type Scheme string

// The schemes, strongest first. Each signature is an HMAC-SHA256.
const (
	// SchemeStandard is Standard Webhooks: it signs id.timestamp.body.
	SchemeStandard Scheme = "standard"
	// SchemeTimestamped is what Strapi's documentation advises: timestamp.body.
	SchemeTimestamped Scheme = "timestamped"
	// SchemeStrapi signs the body alone, so it does not expire.
	SchemeStrapi Scheme = "strapi"
	// SchemeToken is a static Bearer token. It signs nothing.
	SchemeToken Scheme = "token"
)

// The headers of the schemes, in canonical form.
const (
	headerID              = "Webhook-Id"
	headerTimestamp       = "Webhook-Timestamp"
	headerSignature       = "Webhook-Signature"
	headerPlainTimestamp  = "X-Webhook-Timestamp"
	headerPlainSignature  = "X-Webhook-Signature"
	headerStrapi          = "X-Strapi-Signature"
	headerStrapi256       = "X-Strapi-Signature-256"
	headerAuthorization   = "Authorization"
	headerContentEncoding = "Content-Encoding"
)

const (
	versionPrefix = "v1,"
	hashPrefix    = "sha256="
	bearerPrefix  = "Bearer "
)

// Limits on what a delivery may have in a header.
const (
	maxDeliveryID     = 256  // bytes
	maxSignatures     = 32   // in one webhook-signature
	maxSignatureBytes = 4096 // of one webhook-signature
	maxTimestamp      = 15   // digits
)

// Sign returns the headers that make a body pass Verify. Only SchemeStandard uses
// the id; it and SchemeTimestamped use at, to the second. For SchemeToken the
// secret is the token. Sign refuses what Verify would refuse; its errors never
// hold the secret.
func Sign(scheme Scheme, secret, id string, at time.Time, body []byte) (http.Header, error) {
	if scheme == SchemeToken {
		return signToken(secret)
	}
	key, err := ParseSecret(secret)
	if err != nil {
		return nil, fmt.Errorf("sign with scheme %s: %w", scheme, err)
	}
	if at.Unix() < 0 && scheme != SchemeStrapi {
		return nil, fmt.Errorf("sign with scheme %s: the time lies before 1970", scheme)
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	h := http.Header{}
	switch scheme {
	case SchemeStandard:
		if !validDeliveryID(id) {
			return nil, fmt.Errorf("sign with scheme %s: the id must be 1 to %d visible ASCII characters without a dot", scheme, maxDeliveryID)
		}
		h.Set(headerID, id)
		h.Set(headerTimestamp, stamp)
		h.Set(headerSignature, versionPrefix+base64.StdEncoding.EncodeToString(mac(key, standardPrefix(id, stamp), body)))
	case SchemeTimestamped:
		h.Set(headerPlainTimestamp, stamp)
		h.Set(headerPlainSignature, hashPrefix+hex.EncodeToString(mac(key, timestampedPrefix(stamp), body)))
	case SchemeStrapi:
		h.Set(headerStrapi, hashPrefix+hex.EncodeToString(mac(key, "", body)))
	default:
		return nil, fmt.Errorf("sign: unknown scheme %q; known are standard, timestamped, strapi and token", scheme)
	}
	return h, nil
}

func signToken(token string) (http.Header, error) {
	if !visibleASCII(token) {
		return nil, fmt.Errorf("sign with scheme %s: the token must be visible ASCII characters", SchemeToken)
	}
	h := http.Header{}
	h.Set(headerAuthorization, bearerPrefix+token)
	return h, nil
}

// standardPrefix is what SchemeStandard signs in front of the body.
func standardPrefix(id, stamp string) string { return id + "." + stamp + "." }

// timestampedPrefix is what SchemeTimestamped signs in front of the body.
func timestampedPrefix(stamp string) string { return stamp + "." }

func mac(key []byte, prefix string, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(prefix))
	m.Write(body)
	return m.Sum(nil)
}

// validDeliveryID refuses the dot because it separates what is signed: with
// one, two different deliveries could have the same signed bytes.
func validDeliveryID(id string) bool {
	return len(id) <= maxDeliveryID && visibleASCII(id) && !strings.Contains(id, ".")
}

// visibleASCII reports whether s has at least one character, and none but visible
// ASCII.
func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}
