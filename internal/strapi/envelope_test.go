package strapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

const dealUID = "api::pipeline-deal.pipeline-deal"

// entryBody is a right entry.update body with this as its entry.
func entryBody(entry string) string {
	return `{"event":"entry.update","createdAt":"2026-11-23T21:08:39.915Z","model":"pipeline-deal","uid":"` + dealUID + `","entry":` + entry + `}`
}

func sent() *time.Time {
	t := time.Date(2026, 11, 23, 21, 8, 39, 915e6, time.UTC)
	return &t
}

func TestParseEnvelope_Reads(t *testing.T) {
	t.Parallel()
	update := Envelope{EntryUpdate, dealUID, "pipeline-deal", "abc", "", sent()}
	french := update
	french.Locale = "fr-CA"
	long := update
	long.DocumentID = strings.Repeat("x", 255)
	for name, c := range map[string]struct {
		body string
		want Envelope
	}{
		"Entry":             {entryBody(`{"id":1,"documentId":"abc"}`), update},
		"Locale":            {entryBody(`{"documentId":"abc","locale":"fr-CA"}`), french},
		"LocaleNull":        {entryBody(`{"documentId":"abc","locale":null}`), update},
		"LocaleEmpty":       {entryBody(`{"documentId":"abc","locale":""}`), update},
		"LongestDocumentID": {entryBody(`{"documentId":"` + long.DocumentID + `"}`), long},
		"NestedDocumentID":  {entryBody(`{"deal":{"documentId":"other","locale":"de"},"documentId":"abc"}`), update},
		"CountRelation":     {entryBody(`{"documentId":"abc","billings":{"count":0}}`), update},
		"WhiteSpace":        {" \n" + strings.ReplaceAll(entryBody(`{"documentId":"abc"}`), ",", " ,\r\n\t") + "\n ", update},
		"OtherOrder":        {`{"entry":{"documentId":"abc"},"uid":"` + dealUID + `","model":"pipeline-deal","createdAt":"2026-11-23T22:08:39.915+01:00","event":"entry.update"}`, update},
		"EscapedKey":        {strings.Replace(entryBody(`{"document\u0049d":"\u0061bc"}`), `"event"`, `"\u0065vent"`, 1), update},
		"Emoji":             {entryBody(`{"documentId":"abc","name":"😀 \ud83d\ude00 \u0001 \\u0000 ` + "\u2028" + `"}`), update},
		"NoUID":             {`{"event":"entry.publish","model":"pipeline-deal","entry":{"documentId":"abc"}}`, Envelope{Event: EntryPublish, Model: "pipeline-deal", DocumentID: "abc"}},
		"NullUID":           {`{"event":"entry.publish","uid":null,"model":"pipeline-deal","entry":{"documentId":"abc"}}`, Envelope{Event: EntryPublish, Model: "pipeline-deal", DocumentID: "abc"}},
		"NoModel":           {`{"event":"entry.delete","uid":"api::a.a","entry":{"documentId":"abc"}}`, Envelope{Event: EntryDelete, UID: "api::a.a", DocumentID: "abc"}},
		"BadTime":           {`{"event":"entry.unpublish","createdAt":"yesterday","uid":"api::a.a","entry":{"documentId":"abc"}}`, Envelope{Event: EntryUnpublish, UID: "api::a.a", DocumentID: "abc"}},
		"NumericTime":       {`{"event":"entry.create","createdAt":1764000000000,"uid":"api::a.a","entry":{"documentId":"abc"}}`, Envelope{Event: EntryCreate, UID: "api::a.a", DocumentID: "abc"}},
		"TriggerTest":       {`{"event":"trigger-test","createdAt":"2026-11-23T21:08:39.915Z"}`, Envelope{Event: "trigger-test", SentAt: sent()}},
		"Media":             {`{"event":"media.update","media":{"documentId":"m"}}`, Envelope{Event: "media.update"}},
		"OtherEntryEvent":   {`{"event":"entry.draft-discard","entry":null}`, Envelope{Event: "entry.draft-discard"}},
		"OtherWithOddUID":   {`{"event":"releases.publish","uid":7,"entry":[]}`, Envelope{Event: "releases.publish"}},
		"HundredLevels":     {entryBody(`{"documentId":"abc","x":` + strings.Repeat("[", 98) + strings.Repeat("]", 98) + `}`), update},
		"WideIsNotDeep":     {entryBody(`{"documentId":"abc","x":[` + strings.Repeat("[{}],", 200) + `0]}`), update},
		"HugeNumber":        {entryBody(`{"documentId":"abc","x":[1e131071,-0.0E-7,1e400000]}`), update},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseEnvelope([]byte(c.body))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestParseEnvelope_Quarantines(t *testing.T) {
	t.Parallel()
	head := Envelope{EntryUpdate, dealUID, "pipeline-deal", "", "", sent()}
	full := head
	full.DocumentID = "abc"
	nothing := Envelope{}
	right := entryBody(`{"documentId":"abc"}`)
	for name, c := range map[string]struct {
		body   string
		reason string
		want   Envelope
	}{
		"Empty":               {"", "the body ends in the middle of its JSON", nothing},
		"OnlySpace":           {" \n", "the body ends in the middle of its JSON", nothing},
		"Text":                {"hello", "the body is not a JSON object", nothing},
		"HTML":                {"<html>", "the body is not a JSON object", nothing},
		"Array":               {`[{"event":"entry.update"}]`, "the body is not a JSON object", nothing},
		"Null":                {"null", "the body is not a JSON object", nothing},
		"BOM":                 {"\xEF\xBB\xBF" + right, "the body begins with a byte order mark", nothing},
		"UTF16":               {"\xFF\xFE{\x00", "the body is not a JSON object", nothing},
		"Cut":                 {right[:len(right)-1], "the body ends in the middle of its JSON", full},
		"CutInEntry":          {right[:len(right)-4], "the body ends in the middle of its JSON", head},
		"CutInLiteral":        {`{"event":tr`, "the body ends in the middle of its JSON", nothing},
		"CutInEscape":         {`{"event":"\u00`, "the body ends in the middle of its JSON", nothing},
		"CutAfterBackslash":   {`{"event":"\`, "the body ends in the middle of its JSON", nothing},
		"CutInNumber":         {`{"event":-`, "the body ends in the middle of its JSON", nothing},
		"Trailing":            {right + "x", "the body goes on after its JSON object", full},
		"TwoObjects":          {right + right, "the body goes on after its JSON object", full},
		"TrailingNUL":         {right + "\x00", "the body goes on after its JSON object", full},
		"TrailingComma":       {`{"event":"trigger-test",}`, "the body is not valid JSON", Envelope{Event: "trigger-test"}},
		"SingleQuotes":        {`{'event':"x"}`, "the body is not valid JSON", nothing},
		"Comment":             {`{/**/"event":"x"}`, "the body is not valid JSON", nothing},
		"LeadingZero":         {`{"event":"x","n":01}`, "the body is not valid JSON", Envelope{Event: "x"}},
		"NaN":                 {`{"event":"x","n":NaN}`, "the body is not valid JSON", Envelope{Event: "x"}},
		"BadEscape":           {`{"event":"\x41"}`, "the body is not valid JSON", nothing},
		"BadHex":              {`{"event":"\u00g0"}`, "the body is not valid JSON", nothing},
		"RawControl":          {"{\"event\":\"a\nb\"}", "the body is not valid JSON", nothing},
		"RawNUL":              {"{\"event\":\"a\x00b\"}", "the body is not valid JSON", nothing},
		"TooDeep":             {entryBody(`{"documentId":"abc","x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`), "the body is nested deeper than 100 levels", full},
		"FarTooDeep":          {strings.Repeat(`{"a":`, 100_000), "the body is nested deeper than 100 levels", nothing},
		"InvalidUTF8":         {entryBody(`{"name":"` + "\xC3\x28" + `","documentId":"abc"}`), "a string in the body is not valid UTF-8", full},
		"InvalidUTF8InKey":    {entryBody(`{"` + "\xFF" + `":1,"documentId":"abc"}`), "a string in the body is not valid UTF-8", full},
		"EncodedSurrogate":    {entryBody(`{"name":"` + "\xED\xA0\x80" + `","documentId":"abc"}`), "a string in the body is not valid UTF-8", full},
		"NUL":                 {entryBody(`{"name":"a\u0000b","documentId":"abc"}`), "a string in the body holds a NUL character", full},
		"NULInKey":            {entryBody(`{"a\u0000b":1,"documentId":"abc"}`), "a string in the body holds a NUL character", full},
		"NULInDocumentID":     {entryBody(`{"documentId":"a\u0000b"}`), "a string in the body holds a NUL character", head},
		"HighSurrogate":       {entryBody(`{"documentId":"abc","name":"\ud83d"}`), "a string in the body holds a lone surrogate", full},
		"HighTwice":           {entryBody(`{"documentId":"abc","name":"\ud83d\ud83d\ude00"}`), "a string in the body holds a lone surrogate", full},
		"LowSurrogate":        {entryBody(`{"documentId":"abc","name":"\uDE00"}`), "a string in the body holds a lone surrogate", full},
		"SwappedSurrogates":   {entryBody(`{"documentId":"abc","name":"\ude00\ud83d"}`), "a string in the body holds a lone surrogate", full},
		"SurrogateInEvent":    {`{"event":"\ud800","model":"m"}`, "a string in the body holds a lone surrogate", Envelope{Model: "m"}},
		"SurrogateInMedia":    {`{"event":"media.create","media":{"name":"\ud800"}}`, "a string in the body holds a lone surrogate", Envelope{Event: "media.create"}},
		"NoEvent":             {`{"model":"m"}`, "event is missing", Envelope{Model: "m"}},
		"EmptyObject":         {`{}`, "event is missing", nothing},
		"EventOtherCase":      {`{"Event":"entry.update"}`, "event is missing", nothing},
		"EventNull":           {`{"event":null}`, "event is null", nothing},
		"EventNumber":         {`{"event":7}`, "event is not a string", nothing},
		"EventEmpty":          {`{"event":""}`, "event is empty", nothing},
		"EventLong":           {`{"event":"` + strings.Repeat("e", 101) + `"}`, "event is too long", nothing},
		"EventControl":        {`{"event":"a\nb"}`, "event holds a control character", nothing},
		"EventC1Control":      {`{"event":"a` + "\u0085" + `b"}`, "event holds a control character", nothing},
		"EventTwice":          {`{"event":"entry.update","event":"entry.delete"}`, "event appears twice", nothing},
		"NoType":              {`{"event":"entry.update","entry":{"documentId":"abc"}}`, "uid and model are missing", Envelope{Event: EntryUpdate, DocumentID: "abc"}},
		"UIDNumber":           {`{"event":"entry.update","uid":1,"model":"m","entry":{"documentId":"abc"}}`, "uid is not a string", Envelope{Event: EntryUpdate, Model: "m", DocumentID: "abc"}},
		"ModelObject":         {`{"event":"entry.update","uid":"u","model":{},"entry":{"documentId":"abc"}}`, "model is not a string", Envelope{Event: EntryUpdate, UID: "u", DocumentID: "abc"}},
		"NoEntry":             {`{"event":"entry.update","uid":"u"}`, "entry is missing", Envelope{Event: EntryUpdate, UID: "u"}},
		"EntryNull":           {entryBody(`null`), "entry is null", head},
		"EntryArray":          {entryBody(`[{"documentId":"abc"}]`), "entry is not an object", head},
		"EntryString":         {entryBody(`"abc"`), "entry is not an object", head},
		"EntryTwice":          {entryBody(`{"documentId":"abc"},"entry":{"documentId":"def"}`), "entry appears twice", head},
		"Strapi4":             {entryBody(`{"id":1,"name":"x"}`), "entry has no documentId, as in Strapi 4; Dealbox needs Strapi 5", head},
		"DocumentIDNull":      {entryBody(`{"documentId":null}`), "entry.documentId is null", head},
		"DocumentIDNumber":    {entryBody(`{"documentId":7}`), "entry.documentId is not a string", head},
		"DocumentIDEmpty":     {entryBody(`{"documentId":""}`), "entry.documentId is empty", head},
		"DocumentIDOf256":     {entryBody(`{"documentId":"` + strings.Repeat("x", 256) + `"}`), "entry.documentId is too long", head},
		"DocumentIDOf9kB":     {entryBody(`{"documentId":"` + strings.Repeat("x", 9<<10) + `"}`), "entry.documentId is too long", head},
		"DocumentIDBytesNot":  {entryBody(`{"documentId":"` + strings.Repeat("é", 128) + `"}`), "entry.documentId is too long", head},
		"DocumentIDControl":   {entryBody(`{"documentId":"a\r\nb"}`), "entry.documentId holds a control character", head},
		"DocumentIDDots":      {entryBody(`{"documentId":".."}`), "entry.documentId is not an identifier", head},
		"DocumentIDTwice":     {entryBody(`{"documentId":"abc","documentId":"abc"}`), "entry.documentId appears twice", head},
		"LocaleNumber":        {entryBody(`{"documentId":"abc","locale":7}`), "entry.locale is not a string", full},
		"LocaleLong":          {entryBody(`{"documentId":"abc","locale":"` + strings.Repeat("x", 36) + `"}`), "entry.locale is too long", full},
		"LocaleControl":       {entryBody(`{"documentId":"abc","locale":"\u007f"}`), "entry.locale holds a control character", full},
		"FirstReasonIsSyntax": {`{"event":"a\u0000","x":`, "the body ends in the middle of its JSON", nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseEnvelope([]byte(c.body))
			require.EqualError(t, err, c.reason)
			require.Equal(t, c.want, got)
		})
	}
}

// hasBadEscape looks for \u0000 and lone surrogates in valid JSON, in another
// way than the scanner.
func hasBadEscape(body []byte) bool {
	var previousHigh bool
	for i := 0; i < len(body); i++ {
		high, width := false, 1
		if body[i] == '\\' {
			width = 2
			if body[i+1] == 'u' {
				var unit int
				_, _ = fmt.Sscanf(string(body[i+2:i+6]), "%x", &unit)
				low := unit >= 0xDC00 && unit <= 0xDFFF
				high = unit >= 0xD800 && unit <= 0xDBFF
				if unit == 0 || low != previousHigh {
					return true
				}
				previousHigh, width = high, 6
				i += width - 1
				continue
			}
		}
		if previousHigh {
			return true
		}
		previousHigh = high
		i += width - 1
	}
	return false
}

func depthOf(body []byte) int {
	depth, deepest := 0, 0
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	for {
		token, err := decoder.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// The scanner takes exactly the JSON that encoding/json takes, less what
// Postgres could not store; and what ParseEnvelope gives is safe to store.
func FuzzParseEnvelope(f *testing.F) {
	for _, name := range captureNames(f) {
		f.Add([]byte(readCapture(f, name).BodyRaw))
	}
	for _, seed := range []string{
		"", "{}", "null", "[]", "\xEF\xBB\xBF{}", `{"event":"x"}x`, `{"event":"\u0000"}`, `{"event":"\ud800"}`, `{"event":"\ud83d\ude00"}`,
		`{"event":"\ud800\ud800\udc00"}`, `{"event":"a","n":[1,-0,0.1e+5,1E-3,true,false,null,"\"\\\/\b\f\n\r\t"]}`, `{"event":"` + "\xff" + `"}`,
		entryBody("null"), entryBody(`{"documentId":".."}`), entryBody(`{"documentId":"\u0061","locale":"fr"}`), entryBody(`{"documentId":"a"},"entry":{}`),
		strings.Repeat("[", 200), `{"a":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`, `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		`{"event":-}`, `{"event":01}`, `{"event":1.}`, `{"event":1e}`, `{"event":tru}`, `{"event" "x"}`, `{"event":"x",}`, `{,}`, "{\"a\":\"\x1f\"}", "{\"a\":1}\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := parser{scanner: scanner{data: body}}
		p.parse()
		clean := p.broken == "" && p.fault == ""
		isObject := strings.HasPrefix(strings.TrimLeft(string(body), " \t\r\n"), "{")
		want := json.Valid(body) && isObject && utf8.Valid(body) && depthOf(body) <= maxDepth && !hasBadEscape(body)
		require.Equal(t, want, clean, "%q %q", p.broken, p.fault)

		got, err := ParseEnvelope(body)
		for _, s := range []string{got.Event, got.UID, got.Model, got.DocumentID, got.Locale} {
			require.True(t, s == "" || isIdentifier(s) || s == "." || s == "..", "%q", s)
			require.True(t, utf8.ValidString(s))
		}
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 80)
			return
		}
		require.True(t, clean)
		require.NotEmpty(t, got.Event)
		if !got.IsEntry() {
			return
		}
		var full map[string]any
		require.NoError(t, json.Unmarshal(body, &full))
		require.Equal(t, full["event"], got.Event)
		require.Equal(t, full["entry"].(map[string]any)["documentId"], got.DocumentID)
		require.True(t, got.UID != "" || got.Model != "")
	})
}
