package webhooksig

import (
	"encoding/base64"
	"errors"
	"strings"
)

// secretPrefix marks a base64 secret, as Standard Webhooks writes them.
const secretPrefix = "whsec_"

// ParseSecret returns the key of a webhook secret: the decoded bytes after whsec_,
// else the bytes as they are. It refuses an empty key and invalid base64; its
// errors never hold the secret.
func ParseSecret(s string) ([]byte, error) {
	encoded, isBase64 := strings.CutPrefix(s, secretPrefix)
	if !isBase64 {
		if s == "" {
			return nil, errors.New("the webhook secret is empty")
		}
		return []byte(s), nil
	}
	key, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		// The decoder's error has the place, which would give away part of the secret.
		return nil, errors.New("the webhook secret after whsec_ is not standard base64")
	}
	if len(key) == 0 {
		return nil, errors.New("the webhook secret after whsec_ is empty")
	}
	return key, nil
}
