package fakestrapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
)

const (
	dateLayout = "2006-01-02"
	// timeLayout is JavaScript's toISOString: always three digits and Z.
	timeLayout = "2006-01-02T15:04:05.000Z"
)

// maxNumber bounds a number's text, so that 1e400000 is refused before it is
// written out as 400,000 digits.
const maxNumber = 400

// stored returns the value as Strapi stores it; nil is null.
func (a Attribute) stored(raw json.RawMessage) (json.RawMessage, *Error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	switch a.Kind {
	case Decimal, Float, Integer:
		return a.storedNumber(raw)
	case BigInteger:
		return a.storedBigInteger(raw)
	case Boolean:
		return a.storedBoolean(raw)
	case Date, DateTime:
		return a.storedTime(raw)
	case JSON, Component:
		return compact(raw), nil
	case String:
		return a.storedString(raw)
	default:
		return nil, rejected("the fake Strapi knows no attribute kind %q", a.Kind)
	}
}

func (a Attribute) storedString(raw json.RawMessage) (json.RawMessage, *Error) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return nil, a.mustBe("string", raw)
	}
	if strings.ContainsRune(s, 0) {
		return nil, internalError() // Postgres refuses it
	}
	return encodeString(s), nil
}

func (a Attribute) storedBoolean(raw json.RawMessage) (json.RawMessage, *Error) {
	if s := string(raw); s != "true" && s != "false" {
		return nil, a.mustBe("boolean", raw)
	}
	return raw, nil
}

// storedNumber takes a number or, as Strapi does, a string that is one.
func (a Attribute) storedNumber(raw json.RawMessage) (json.RawMessage, *Error) {
	text := strings.Trim(string(raw), `"`)
	value, ok := number(text)
	if !ok {
		return nil, a.mustBe("number", raw)
	}
	switch a.Kind {
	case Integer:
		if !value.IsInt() {
			return nil, a.mustBe("integer", raw)
		}
		if n := value.Num(); !n.IsInt64() || n.Int64() > math.MaxInt32 || n.Int64() < math.MinInt32 {
			return nil, internalError()
		}
		return json.RawMessage(value.Num().String()), nil
	case Float:
		f, _ := value.Float64()
		return json.RawMessage(strconv.FormatFloat(f, 'g', -1, 64)), nil
	default:
		return a.storedDecimal(value)
	}
}

func (a Attribute) storedDecimal(value *big.Rat) (json.RawMessage, *Error) {
	precision, scale := a.digits()
	text := value.FloatString(scale) // rounds half away from zero, as numeric does
	if digits := strings.IndexByte(strings.TrimLeft(text, "-0")+".", '.'); digits > precision-scale {
		return nil, internalError() // numeric field overflow
	}
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	if text == "-0" {
		text = "0"
	}
	return json.RawMessage(text), nil
}

func (a Attribute) storedBigInteger(raw json.RawMessage) (json.RawMessage, *Error) {
	value, ok := number(strings.Trim(string(raw), `"`))
	if !ok || !value.IsInt() || !value.Num().IsInt64() {
		return nil, a.mustBe("bigint", raw)
	}
	return encodeString(value.Num().String()), nil // Strapi writes them as strings
}

func (a Attribute) storedTime(raw json.RawMessage) (json.RawMessage, *Error) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return nil, a.mustBe(string(a.Kind), raw)
	}
	at, ok := parseTime(s)
	if !ok {
		return nil, badTime(a.Kind)
	}
	if a.Kind == Date {
		return encodeString(at.Format(dateLayout)), nil
	}
	return encodeString(at.Format(timeLayout)), nil
}

func badTime(kind AttributeKind) *Error {
	if kind == Date {
		return rejected("Invalid format, expected yyyy-MM-dd")
	}
	return rejected("Invalid format, expected a timestamp or an ISO date")
}

// mustBe returns the answer to a value of another kind. Text is cast to a number first.
func (a Attribute) mustBe(kind string, raw json.RawMessage) *Error {
	message := fmt.Sprintf("%s must be a `%s` type, but the final value was: `%.100s`.", a.Name, kind, raw)
	if kind == "number" && raw[0] == '"' {
		return invalid(a.Name, nil, fmt.Sprintf("%s must be a `number` type, but the final value was: `NaN` (cast from the value `%.100s`).", a.Name, raw))
	}
	return invalid(a.Name, raw, message)
}

func number(text string) (*big.Rat, bool) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	if len(mantissa) > maxNumber || strings.ContainsAny(mantissa, "/_xb") {
		return nil, false
	}
	if exponent != "" {
		if n, err := strconv.Atoi(exponent); err != nil || n > maxNumber || n < -maxNumber {
			return nil, false
		}
	}
	return new(big.Rat).SetString(text)
}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, dateLayout, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// encodeString writes a JSON string as JavaScript does: <, > and & as they are.
func encodeString(s string) json.RawMessage {
	if plain(s) {
		b := make([]byte, 0, len(s)+2)
		return append(append(append(b, '"'), s...), '"')
	}
	b, err := encode(s)
	if err != nil {
		panic(err) // a string always encodes
	}
	return b
}

// plain reports whether a string needs no escape in JSON: the fast way for ids.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}

// encode writes compact JSON as JavaScript does.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return unescapeSeparators(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// unescapeSeparators undoes the escapes that Go writes for U+2028 and U+2029
// and JavaScript does not. An escaped backslash before the u is left alone.
func unescapeSeparators(b []byte) []byte {
	if !bytes.Contains(b, []byte(`\u202`)) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] != '\\' || i+1 == len(b):
			out = append(out, b[i])
		case bytes.HasPrefix(b[i:], []byte(`\u2028`)):
			out, i = append(out, "\u2028"...), i+5
		case bytes.HasPrefix(b[i:], []byte(`\u2029`)):
			out, i = append(out, "\u2029"...), i+5
		default:
			out, i = append(out, b[i], b[i+1]), i+1
		}
	}
	return out
}

func compact(raw []byte) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return raw
	}
	return b.Bytes()
}
