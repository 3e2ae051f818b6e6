package webhooksig

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func carries(h http.Header, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return len(h[name]) > 0 })
}

// milliDigits is how many digits a Unix time in milliseconds has, from 2001 to 2286. In
// seconds that many would be tens of thousands of years away.
const milliDigits = 13

// timestamp reads a header of Unix seconds, or of milliseconds as Date.now() has them.
// The signature is over the text, so one moment must have one text in each unit: no
// sign, no leading zero.
func timestamp(h http.Header, name string) (string, time.Time, bool) {
	text, ok := single(h, name)
	if !ok || len(text) > maxTimestamp || (text[0] == '0' && text != "0") {
		return "", time.Time{}, false
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return "", time.Time{}, false
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "", time.Time{}, false
	}
	if len(text) == milliDigits {
		return text, time.UnixMilli(n), true
	}
	return text, time.Unix(n, 0), true
}

// single returns the header's value. It reports false unless the header is there
// exactly once and is not empty.
func single(h http.Header, name string) (string, bool) {
	values := h[name]
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}

// parseSignatureList reads a webhook-signature: `v1,<base64>`, several with one
// space between them. It skips other versions, so the result may be empty.
func parseSignatureList(list string) ([][]byte, bool) {
	if len(list) > maxSignatureBytes || strings.Count(list, " ") >= maxSignatures {
		return nil, false
	}
	var macs [][]byte
	for item := range strings.SplitSeq(list, " ") {
		version, encoded, ok := strings.Cut(item, ",")
		if !ok || version == "" || encoded == "" {
			return nil, false
		}
		if version != "v1" {
			continue
		}
		sum, ok := parseBase64(encoded)
		if !ok {
			return nil, false
		}
		macs = append(macs, sum)
	}
	return macs, true
}

// parseBase64 accepts the one text that a MAC has in padded standard base64. It
// checks the length first, because the decoder skips line ends.
func parseBase64(s string) ([]byte, bool) {
	if len(s) != base64.StdEncoding.EncodedLen(sha256.Size) {
		return nil, false
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(s)
	return sum, err == nil && len(sum) == sha256.Size
}

// parseHash reads a header with an HMAC-SHA256 in hex, with sha256= in front or without.
func parseHash(h http.Header, name string) ([]byte, bool) {
	value, _ := single(h, name)
	return parseHex(strings.TrimPrefix(value, hashPrefix))
}

func parseHex(s string) ([]byte, bool) {
	if len(s) != hex.EncodedLen(sha256.Size) {
		return nil, false
	}
	sum, err := hex.DecodeString(s)
	return sum, err == nil
}
