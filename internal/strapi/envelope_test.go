package strapi

import (
	"encoding/json"
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
		"Entry":              {entryBody(`{"id":1,"documentId":"abc"}`), update},
		"Locale":             {entryBody(`{"documentId":"abc","locale":"fr-CA"}`), french},
		"LocaleNull":         {entryBody(`{"documentId":"abc","locale":null}`), update},
		"LocaleEmpty":        {entryBody(`{"documentId":"abc","locale":""}`), update},
		"LongestDocumentID":  {entryBody(`{"documentId":"` + long.DocumentID + `"}`), long},
		"NestedDocumentID":   {entryBody(`{"deal":{"documentId":"other","locale":"de"},"documentId":"abc"}`), update},
		"CountRelation":      {entryBody(`{"documentId":"abc","billings":{"count":0}}`), update},
		"WhiteSpace":         {" \n" + strings.ReplaceAll(entryBody(`{"documentId":"abc"}`), ",", " ,\r\n\t") + "\n ", update},
		"OtherOrder":         {`{"entry":{"documentId":"abc"},"uid":"` + dealUID + `","model":"pipeline-deal","createdAt":"2026-11-23T22:08:39.915+01:00","event":"entry.update"}`, update},
		"EscapedKey":         {strings.Replace(entryBody(`{"document\u0049d":"\u0061bc"}`), `"event"`, `"\u0065vent"`, 1), update},
		"Emoji":              {entryBody(`{"documentId":"abc","name":"😀 \ud83d\ude00 \u0001 \\u0000 ` + "\u2028" + `"}`), update},
		"NoUID":              {`{"event":"entry.publish","model":"pipeline-deal","entry":{"documentId":"abc"}}`, Envelope{Event: EntryPublish, Model: "pipeline-deal", DocumentID: "abc"}},
		"NullUID":            {`{"event":"entry.publish","uid":null,"model":"pipeline-deal","entry":{"documentId":"abc"}}`, Envelope{Event: EntryPublish, Model: "pipeline-deal", DocumentID: "abc"}},
		"NoModel":            {`{"event":"entry.delete","uid":"api::a.a","entry":{"documentId":"abc"}}`, Envelope{Event: EntryDelete, UID: "api::a.a", DocumentID: "abc"}},
		"BadTime":            {`{"event":"entry.unpublish","createdAt":"yesterday","uid":"api::a.a","entry":{"documentId":"abc"}}`, Envelope{Event: EntryUnpublish, UID: "api::a.a", DocumentID: "abc"}},
		"NumericTime":        {`{"event":"entry.create","createdAt":1764000000000,"uid":"api::a.a","entry":{"documentId":"abc"}}`, Envelope{Event: EntryCreate, UID: "api::a.a", DocumentID: "abc"}},
		"TriggerTest":        {`{"event":"trigger-test","createdAt":"2026-11-23T21:08:39.915Z"}`, Envelope{Event: "trigger-test", SentAt: sent()}},
		"Media":              {`{"event":"media.update","media":{"documentId":"m"}}`, Envelope{Event: "media.update"}},
		"OtherEntryEvent":    {`{"event":"entry.draft-discard","entry":null}`, Envelope{Event: "entry.draft-discard"}},
		"OtherWithOddUID":    {`{"event":"releases.publish","uid":7,"entry":[]}`, Envelope{Event: "releases.publish"}},
		"DeepestJSON":        {entryBody(`{"documentId":"abc","x":` + strings.Repeat("[", 9_998) + strings.Repeat("]", 9_998) + `}`), update},
		"WideIsNotDeep":      {entryBody(`{"documentId":"abc","x":[` + strings.Repeat("[{}],", 200) + `0]}`), update},
		"EventOtherCase":     {strings.Replace(entryBody(`{"documentId":"abc"}`), `"event"`, `"Event"`, 1), update},
		"OtherTwice":         {entryBody(`{"documentId":"abc","name":"a","name":"b"}`), update},
		"TimeTwice":          {`{"event":"trigger-test","createdAt":"2026-11-23T21:08:39.915Z","createdAt":"2026-11-23T21:08:39.915Z"}`, Envelope{Event: "trigger-test"}},
		"NULElsewhere":       {entryBody(`{"documentId":"abc","name":"a\u0000b","a\u0000b":1}`), update},
		"SurrogateElsewhere": {entryBody(`{"documentId":"abc","name":"\ud83d","x":"\ud83d\ud83d\ude00","y":"\uDE00\ud83d"}`), update},
		"BytesElsewhere":     {entryBody(`{"` + "\xFF" + `":"` + "\xC3\x28 \xED\xA0\x80" + `","documentId":"abc"}`), update},
		"SurrogateInMedia":   {`{"event":"media.create","media":{"name":"\ud800"}}`, Envelope{Event: "media.create"}},
		"HugeNumber":         {entryBody(`{"documentId":"abc","x":[1e131071,-0.0E-7,1e400000]}`), update},
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
	const invalid = "the body is not valid JSON, is cut short, or nests over 10,000 levels"
	right := entryBody(`{"documentId":"abc"}`)
	for name, c := range map[string]struct {
		body   string
		reason string
		want   Envelope
	}{
		"Empty":               {"", invalid, nothing},
		"OnlySpace":           {" \n", invalid, nothing},
		"Text":                {"hello", invalid, nothing},
		"HTML":                {"<html>", invalid, nothing},
		"Array":               {`[{"event":"entry.update"}]`, "the body is not a JSON object", nothing},
		"JSONString":          {`"entry.update"`, "the body is not a JSON object", nothing},
		"Null":                {"null", "event is missing or empty", nothing},
		"BOM":                 {"\xEF\xBB\xBF" + right, invalid, nothing},
		"UTF16":               {"\xFF\xFE{\x00", invalid, nothing},
		"Cut":                 {right[:len(right)-1], invalid, nothing},
		"CutInEntry":          {right[:len(right)-4], invalid, nothing},
		"CutInEscape":         {`{"event":"\u00`, invalid, nothing},
		"Trailing":            {right + "x", invalid, nothing},
		"TwoObjects":          {right + right, invalid, nothing},
		"TrailingNUL":         {right + "\x00", invalid, nothing},
		"TrailingComma":       {`{"event":"trigger-test",}`, invalid, nothing},
		"LeadingZero":         {`{"event":"x","n":01}`, invalid, nothing},
		"NaN":                 {`{"event":"x","n":NaN}`, invalid, nothing},
		"BadEscape":           {`{"event":"\x41"}`, invalid, nothing},
		"RawControl":          {"{\"event\":\"a\nb\"}", invalid, nothing},
		"RawNUL":              {"{\"event\":\"a\x00b\"}", invalid, nothing},
		"TooDeep":             {entryBody(`{"documentId":"abc","x":` + strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999) + `}`), invalid, nothing},
		"FarTooDeep":          {strings.Repeat(`{"a":`, 100_000), invalid, nothing},
		"NULInDocumentID":     {entryBody(`{"documentId":"a\u0000b"}`), "entry.documentId holds a control character", head},
		"BytesInDocumentID":   {entryBody(`{"documentId":"a` + "\xFF" + `b"}`), "entry.documentId is not valid Unicode", head},
		"SurrogateInEvent":    {`{"event":"\ud800","model":"m"}`, "event is not valid Unicode", Envelope{Model: "m"}},
		"SurrogateInModel":    {`{"event":"entry.update","model":"\udc00","uid":"u","entry":{"documentId":"abc"}}`, "model is not valid Unicode", Envelope{Event: EntryUpdate, UID: "u", DocumentID: "abc"}},
		"NULInUID":            {`{"event":"entry.update","uid":"u\u0000","model":"m","entry":{"documentId":"abc"}}`, "uid holds a control character", Envelope{Event: EntryUpdate, Model: "m", DocumentID: "abc"}},
		"NULInLocale":         {entryBody(`{"documentId":"abc","locale":"\u0000"}`), "entry.locale holds a control character", full},
		"NoEvent":             {`{"model":"m"}`, "event is missing or empty", Envelope{Model: "m"}},
		"EmptyObject":         {`{}`, "event is missing or empty", nothing},
		"EventNull":           {`{"event":null}`, "event is missing or empty", nothing},
		"EventNumber":         {`{"event":7}`, "event is not a string", nothing},
		"EventEmpty":          {`{"event":""}`, "event is missing or empty", nothing},
		"EventLong":           {`{"event":"` + strings.Repeat("e", 101) + `"}`, "event is too long", nothing},
		"EventControl":        {`{"event":"a\nb"}`, "event holds a control character", nothing},
		"EventC1Control":      {`{"event":"a` + "\u0085" + `b"}`, "event holds a control character", nothing},
		"EventTwice":          {`{"event":"entry.update","event":"entry.delete"}`, "event appears twice", nothing},
		"NoType":              {`{"event":"entry.update","entry":{"documentId":"abc"}}`, "uid and model are missing", Envelope{Event: EntryUpdate, DocumentID: "abc"}},
		"UIDNumber":           {`{"event":"entry.update","uid":1,"model":"m","entry":{"documentId":"abc"}}`, "uid is not a string", Envelope{Event: EntryUpdate, Model: "m", DocumentID: "abc"}},
		"ModelObject":         {`{"event":"entry.update","uid":"u","model":{},"entry":{"documentId":"abc"}}`, "model is not a string", Envelope{Event: EntryUpdate, UID: "u", DocumentID: "abc"}},
		"NoEntry":             {`{"event":"entry.update","uid":"u"}`, "entry is missing or null", Envelope{Event: EntryUpdate, UID: "u"}},
		"EntryNull":           {entryBody(`null`), "entry is missing or null", head},
		"EntryArray":          {entryBody(`[{"documentId":"abc"}]`), "entry is not an object", head},
		"EntryString":         {entryBody(`"abc"`), "entry is not an object", head},
		"EntryTwice":          {entryBody(`{"documentId":"abc"},"entry":{"documentId":"def"}`), "entry.documentId appears twice", head},
		"Strapi4":             {entryBody(`{"id":1,"name":"x"}`), "entry has no documentId, as in Strapi 4; Dealbox needs Strapi 5", head},
		"DocumentIDNull":      {entryBody(`{"documentId":null}`), "entry.documentId is missing or empty", head},
		"DocumentIDNumber":    {entryBody(`{"documentId":7}`), "entry.documentId is not a string", head},
		"DocumentIDEmpty":     {entryBody(`{"documentId":""}`), "entry.documentId is missing or empty", head},
		"DocumentIDOf256":     {entryBody(`{"documentId":"` + strings.Repeat("x", 256) + `"}`), "entry.documentId is too long", head},
		"DocumentIDOf9kB":     {entryBody(`{"documentId":"` + strings.Repeat("x", 9<<10) + `"}`), "entry.documentId is too long", head},
		"DocumentIDBytesNot":  {entryBody(`{"documentId":"` + strings.Repeat("é", 128) + `"}`), "entry.documentId is too long", head},
		"DocumentIDControl":   {entryBody(`{"documentId":"a\r\nb"}`), "entry.documentId holds a control character", head},
		"DocumentIDDots":      {entryBody(`{"documentId":".."}`), "entry.documentId is not an identifier", head},
		"DocumentIDTwice":     {entryBody(`{"documentId":"abc","documentId":"abc"}`), "entry.documentId appears twice", head},
		"DocumentIDBothCases": {entryBody(`{"documentId":"abc","documentid":"def"}`), "entry.documentId appears twice", head},
		"EntryArrayAfter":     {entryBody(`{"documentId":"abc"},"entry":[]`), "entry is not an object", full},
		"LocaleNumber":        {entryBody(`{"documentId":"abc","locale":7}`), "entry.locale is not a string", full},
		"LocaleLong":          {entryBody(`{"documentId":"abc","locale":"` + strings.Repeat("x", 36) + `"}`), "entry.locale is too long", full},
		"LocaleControl":       {entryBody(`{"documentId":"abc","locale":"\u007f"}`), "entry.locale holds a control character", full},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseEnvelope([]byte(c.body))
			require.EqualError(t, err, c.reason)
			require.Equal(t, c.want, got)
		})
	}
}

// Every body that is not JSON is an error, and what ParseEnvelope returns is safe
// to store and is what the body says.
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
		got, err := ParseEnvelope(body)
		for _, s := range []string{got.Event, got.UID, got.Model, got.DocumentID, got.Locale} {
			require.True(t, s == "" || IsDocumentID(s) || s == "." || s == "..", "%q", s)
			require.True(t, utf8.ValidString(s))
		}
		if json.Valid(body) {
			large, largeErr := largeEnvelope(string(body), 7)
			require.Equal(t, err, largeErr)
			require.Equal(t, got, large)
		}
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 80)
			return
		}
		require.NotEmpty(t, got.Event)
		var want struct {
			Event string
			Entry struct{ DocumentID string }
		}
		require.True(t, json.Valid(body))
		_ = json.Unmarshal(body, &want) // an entry of another type is no fault of other events
		require.Equal(t, want.Event, got.Event)
		if got.IsEntry() {
			require.Equal(t, want.Entry.DocumentID, got.DocumentID)
			require.True(t, got.UID != "" || got.Model != "")
		}
	})
}
