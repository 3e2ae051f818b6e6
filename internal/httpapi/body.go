package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
)

// maxObject is the largest body of an operator's action, in bytes.
const maxObject = 64 << 10

// readObject returns the members of the JSON object in the body, and none when there
// is no body.
func readObject(w http.ResponseWriter, r *http.Request) (map[string]json.RawMessage, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxObject))
	if err != nil {
		return nil, unreadable(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if !isJSON(r.Header.Get("Content-Type")) {
		return nil, &Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "Content-Type must be application/json"}
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, invalidParameter("body", "it is not a JSON object")
	}
	return members, nil
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true // what Strapi sends
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

// unreadable returns the answer to a body that could not be read, and nil when err
// is nil.
func unreadable(err error) error {
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return tooLarge(large.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Status: http.StatusRequestTimeout, Code: "body_timeout", Message: "the body did not arrive in time", cause: err}
	}
	return &Error{Status: http.StatusBadRequest, Code: "unreadable_body", Message: "the body could not be read to its end", cause: err}
}

func tooLarge(limit int64) *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: fmt.Sprintf("the body is over %d bytes", limit)}
}
