package alerting

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"dealbox/internal/text"
)

// Bounds of the details of an alert.
const (
	maxDetails = 8 << 10 // encoded, in bytes
	maxKey     = 60      // bytes
	maxValue   = 2 << 10 // one value encoded, in bytes; a longer one becomes a text
	maxString  = 1000    // bytes
	maxDepth   = 5       // arrays and objects within each other
)

// encodeDetails makes the JSON object that is stored. It takes anything: texts
// are made safe, what is too long is cut, what JSON cannot hold becomes a text.
// Keys that do not fit any more, last in order, are left out and counted in
// "truncated".
func encodeDetails(details map[string]any) []byte {
	kept := make(map[string]json.RawMessage, len(details))
	size, left := 2, 0
	for _, key := range slices.Sorted(maps.Keys(details)) {
		name, value := text.Line(key, maxKey), encodeValue(details[key])
		// Quotes, colon, comma, and room for escapes.
		need := 2*len(name) + len(value) + 4
		if size+need > maxDetails {
			left++
			continue
		}
		size += need
		kept[name] = value
	}
	if left > 0 {
		kept["truncated"] = strconv.AppendInt(nil, int64(left), 10)
	}
	encoded, err := json.Marshal(kept)
	if err != nil { // Not possible: every value was encoded before.
		return []byte("{}")
	}
	return encoded
}

func encodeValue(value any) json.RawMessage {
	if err, ok := value.(error); ok {
		value = err.Error()
	}
	var clean any
	encoded, err := json.Marshal(value)
	if err != nil {
		clean = fmt.Sprintf("a %T, which JSON cannot hold", value)
	} else {
		decoder := json.NewDecoder(bytes.NewReader(encoded))
		decoder.UseNumber()
		_ = decoder.Decode(&clean) // It was encoded just now.
	}
	encoded, _ = json.Marshal(safe(clean, maxDepth))
	if len(encoded) > maxValue {
		encoded, _ = json.Marshal(text.Line(string(encoded), maxString))
	}
	return encoded
}

// safe rebuilds a decoded JSON value so that Postgres takes it as jsonb.
func safe(value any, depth int) any {
	switch v := value.(type) {
	case string:
		return text.Line(v, maxString)
	case json.Number:
		return safeNumber(v)
	case []any:
		return safeList(v, depth)
	case map[string]any:
		return safeMap(v, depth)
	default: // true, false, nil
		return v
	}
}

func safeList(list []any, depth int) any {
	if depth == 0 {
		return fmt.Sprintf("%d values", len(list))
	}
	clean := make([]any, len(list))
	for i, v := range list {
		clean[i] = safe(v, depth-1)
	}
	return clean
}

func safeMap(object map[string]any, depth int) any {
	if depth == 0 {
		return fmt.Sprintf("%d values", len(object))
	}
	clean := make(map[string]any, len(object))
	for k, v := range object {
		clean[text.Line(k, maxKey)] = safe(v, depth-1)
	}
	return clean
}

// safeNumber keeps numbers that stay short in jsonb, where 1e131071 takes 131 kB.
func safeNumber(n json.Number) any {
	f, err := n.Float64()
	size := math.Abs(f)
	if err != nil || len(n) > 40 || size >= 1e40 || (size != 0 && size < 1e-40) {
		return text.Line(n.String(), maxKey)
	}
	return n
}
