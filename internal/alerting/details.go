package alerting

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dealbox/internal/text"
)

// Bounds of the details of an alert, in bytes.
const (
	maxDetails = 8 << 10 // encoded
	maxValue   = 6 << 10 // one value encoded; a longer one becomes a text
	maxKey     = 60
	maxString  = 1000
)

// encodeDetails returns the JSON object that is stored. It takes anything: texts
// become one safe line, and what Postgres does not take as jsonb, or what is too
// long, becomes a text. Keys that do not fit any more, last in order, are left out
// and counted in "truncated".
func encodeDetails(details map[string]any) []byte {
	kept := make(map[string]json.RawMessage, len(details))
	size, left := 2, 0
	for _, key := range slices.Sorted(maps.Keys(details)) {
		name, value := text.Line(key, maxKey), encodeValue(details[key])
		need := 2*len(name) + len(value) + 4 // quotes, colon, comma, and room for escapes
		if size+need > maxDetails {
			left++
			continue
		}
		size += need
		kept[name] = value
	}
	if left > 0 {
		kept["truncated"] = fmt.Append(nil, left)
	}
	encoded, _ := json.Marshal(kept) // Every value was encoded before.
	return encoded
}

// encodeValue returns a value as JSON that Postgres takes as jsonb.
func encodeValue(value any) json.RawMessage {
	if err, ok := value.(error); ok {
		value = err.Error()
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		encoded = quote(fmt.Sprintf("a %T, which JSON cannot hold", value))
	}
	var clean any
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	_ = decoder.Decode(&clean) // It was encoded just now.
	cleaned, _ := json.Marshal(safe(clean))
	if len(cleaned) > maxValue {
		return quote(string(cleaned))
	}
	return cleaned
}

func quote(s string) json.RawMessage {
	quoted, _ := json.Marshal(text.Line(s, maxString))
	return quoted
}

// safe cleans the texts of a decoded JSON value. A number with an exponent becomes
// a text: jsonb writes 1e131071 out, in 131 kB, and refuses larger ones.
func safe(value any) any {
	switch v := value.(type) {
	case string:
		return text.Line(v, maxString)
	case json.Number:
		if len(v) > 40 || strings.ContainsAny(v.String(), "eE") {
			return text.Line(v.String(), maxKey)
		}
	case []any:
		for i := range v {
			v[i] = safe(v[i])
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for k := range v {
			clean[text.Line(k, maxKey)] = safe(v[k])
		}
		return clean
	}
	return value
}
