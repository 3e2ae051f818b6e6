package mirror

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"dealbox/internal/strapi"
	"dealbox/internal/text"
)

const (
	// maxText and maxWord bound a text, in characters: names, and what identifies or classifies.
	maxText = 10_000
	maxWord = 500
	// maxNumber bounds a number as it is written, in bytes, and maxDigits what it may grow to
	// when it is written out: 1e131071 is eight characters in JSON and 131 kB in Postgres.
	maxNumber = 100
	maxDigits = 40
	// maxQuoted bounds what is repeated of a value that cannot be read, in bytes.
	maxQuoted = 60
)

// Unreadable is a value that does not fit its column. Trying again cannot change it.
type Unreadable struct {
	// Field is our name, Attribute the path of the attribute in Strapi.
	Field, Attribute string
	// Reason says what the value is, what it should be and what to do.
	Reason string
}

// reader reads attributes by our names. Whatever cannot be read is null.
type reader struct {
	t   strapi.ContentType
	doc strapi.Document
	// refused are reasons of Postgres by our names: values that read well and that it does not take.
	refused    map[string]string
	unreadable []Unreadable
}

// date takes dates and months. Of a datetime it takes the day in the type's location.
func (r *reader) date(ours string) *time.Time {
	raw := r.raw(ours)
	if raw == nil {
		return nil
	}
	s, ok := unquote(raw)
	if s = strings.TrimSpace(s); ok && s == "" {
		return nil
	}
	day, valid := parseDay(s, r.t.Zone())
	if !ok || !valid {
		r.fail(ours, raw, "is no date", "write it as 2027-01-31")
		return nil
	}
	return &day
}

// Layouts of dates and datetimes. Those without an offset are days as they are written.
var (
	dayLayouts  = []string{time.DateOnly, "2006-01", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04"}
	timeLayouts = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700"}
)

// parseDay returns the day of a date, at midnight UTC. A year has four digits, as in Strapi.
func parseDay(s string, zone *time.Location) (time.Time, bool) {
	for _, layout := range dayLayouts {
		if at, err := time.Parse(layout, s); err == nil {
			return dayOf(at)
		}
	}
	for _, layout := range timeLayouts {
		if at, err := time.Parse(layout, s); err == nil {
			return dayOf(at.In(zone))
		}
	}
	return time.Time{}, false
}

// dayOf reports false for a year that four digits do not hold: Postgres has no year 0.
func dayOf(at time.Time) (time.Time, bool) {
	year, month, day := at.Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC), year >= 1 && year <= 9999
}

// text takes strings; numbers and booleans are taken as they are written, so
// that an integer deal_id or an enumeration of another kind can be read.
func (r *reader) text(ours string, limit int) *string {
	raw := r.raw(ours)
	if raw == nil {
		return nil
	}
	if isNested(raw) {
		r.fail(ours, raw, "is no text", "map the attribute inside of it, as "+ours+"=component.attribute, or another one")
		return nil
	}
	s, ok := unquote(raw)
	switch {
	case !ok:
		s = string(raw)
	case isDamaged(raw, s):
		r.fail(ours, raw, "has a NUL or half a character, which no text in Postgres can hold", "write it anew")
		return nil
	}
	if utf8.RuneCountInString(s) > limit {
		r.fail(ours, raw, fmt.Sprintf("is longer than %d characters", limit), "shorten it, or map another attribute")
		return nil
	}
	return &s
}

// isDamaged reports whether a string has a NUL, or a character that its JSON does not: encoding/json
// reads U+FFFD for a lone surrogate and for bytes that are no UTF-8.
func isDamaged(raw json.RawMessage, s string) bool {
	if strings.ContainsRune(s, 0) {
		return true
	}
	read := strings.Count(s, string(utf8.RuneError))
	return read > 0 && read > bytes.Count(raw, []byte(string(utf8.RuneError)))+bytes.Count(bytes.ToLower(raw), []byte(`\ufffd`))
}

// number takes JSON numbers, and strings as Strapi writes big ones.
func (r *reader) number(ours string) decimal.NullDecimal {
	raw := r.raw(ours)
	if raw == nil {
		return decimal.NullDecimal{}
	}
	s, isString := unquote(raw)
	if !isString {
		s = string(raw)
	}
	if s = strings.TrimSpace(s); s == "" {
		return decimal.NullDecimal{}
	}
	d, ok := parseNumber(s)
	if !ok {
		r.fail(ours, raw, "is no number of at most 40 digits", "write it as 1234.50, without a unit or separators")
		return decimal.NullDecimal{}
	}
	return decimal.NewNullDecimal(d)
}

func parseNumber(s string) (decimal.Decimal, bool) {
	if len(s) > maxNumber {
		return decimal.Decimal{}, false
	}
	d, err := decimal.NewFromString(s)
	return d, err == nil && d.NumDigits()+int(max(d.Exponent(), 0)) <= maxDigits && d.Exponent() >= -maxDigits
}

// relation returns the documentId of a relation that leads to one document; empty when it leads to none.
func (r *reader) relation(ours string) string {
	raw := r.raw(ours)
	if raw == nil {
		return ""
	}
	ids, ok := strapi.RelationIDs(raw)
	if ok {
		ids = distinct(ids)
	}
	switch {
	case !ok:
		r.fail(ours, raw, "is no relation to a deal", "map the relation, as "+ours+"=relation")
	case len(ids) > 1:
		r.unreadable = append(r.unreadable, Unreadable{Field: ours, Attribute: r.t.Field(ours), Reason: fmt.Sprintf(
			"belongs to %d deals (%s): the mirror links it to none; leave one in Strapi", len(ids), text.Line(strings.Join(ids, ", "), maxQuoted))})
	case len(ids) == 1:
		return ids[0]
	}
	return ""
}

func distinct(ids []string) []string {
	seen := map[string]bool{}
	var all []string
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			all = append(all, id)
		}
	}
	return all
}

// raw returns nil where the type lacks the attribute, its value is null, or it cannot be reached.
func (r *reader) raw(ours string) json.RawMessage {
	path := r.t.Field(ours)
	raw, found := strapi.Attribute(r.doc, path)
	switch {
	case found == strapi.Several:
		r.fail(ours, raw, "is several values, so that it is unknown which one counts", "map an attribute that has one value")
		return nil
	case found != strapi.Present, bytes.Equal(raw, []byte("null")):
		return nil
	}
	if reason := r.refused[ours]; reason != "" {
		r.fail(ours, raw, "is refused by Postgres ("+reason+")", "write another value")
		return nil
	}
	return raw
}

func (r *reader) fail(ours string, raw json.RawMessage, what, remedy string) {
	r.unreadable = append(r.unreadable, Unreadable{
		Field: ours, Attribute: r.t.Field(ours), Reason: quoted(raw) + " " + what + ": " + remedy,
	})
}

// quoted returns a value as it came, cut short, for people.
func quoted(raw json.RawMessage) string {
	if s, ok := unquote(raw[:min(len(raw), 1<<16)]); ok {
		return `"` + text.Line(s, maxQuoted) + `"`
	}
	return text.Line(string(raw[:min(len(raw), 4*maxQuoted)]), maxQuoted)
}

// unquote reports false for what is no JSON string.
func unquote(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

func isNested(raw json.RawMessage) bool { return raw[0] == '{' || raw[0] == '[' }
