package strapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// largeEnvelope reads a body in pieces of some bytes.
func largeEnvelope(body string, piece int) (Envelope, error) {
	var l LargeEnvelope
	for p := range slices.Chunk([]byte(body), piece) {
		_, _ = l.Write(p)
	}
	return l.Envelope()
}

// However a body is cut into pieces, and whatever stands in it, the envelope is the one
// that ParseEnvelope reads of all of it.
func TestLargeEnvelope_IsTheEnvelope(t *testing.T) {
	t.Parallel()
	bodies := []string{
		entryBody(`{"id":1,"documentId":"abc","billings":[` + strings.Repeat(`{"documentId":"other","locale":"de","x":[{"y":"]}\\\"{["}]},`, 5000) + `{}],"locale":"fr-CA"}`),
		entryBody(`{"deal":{"documentId":"other","locale":"de"},"documentId":"abc"}`),
		entryBody(`{"name":"` + strings.Repeat(`x\"}]\u005d\\`, 2000) + `","documentId":"abc"}`),
		entryBody(`{"name":"` + strings.Repeat(`\ud83d\ude00😀`, 2000) + `","documentId":"abc"}`),
		entryBody(`{"documentId":"` + strings.Repeat(`\u0061`, 255) + `"}`),
		entryBody(`{"documentId":"` + strings.Repeat(`\u0061`, 256) + `"}`),
		entryBody(`{"documentId":"` + strings.Repeat("x", 100_000) + `"}`),
		entryBody(`{"documentId":"abc","documentId":"def"}`),
		entryBody(`{"document\u0049d":"\u0061bc","locale":7}`),
		entryBody(`{"documentId":7}`), entryBody(`[{"documentId":"abc"},{"documentId":"def"}]`), entryBody(`null`), entryBody(`"abc"`), entryBody(`{}`),
		strings.ReplaceAll(entryBody(`{"documentId":"abc"}`), ",", strings.Repeat(" \r\n\t", 10_000)+","),
		`{"entry":{"x":"` + strings.Repeat("y", 1<<20) + `","documentId":"abc"},"uid":"` + dealUID + `","event":"entry.delete"}`,
		`{"event":"trigger-test","createdAt":"2026-11-23T21:08:39.915Z"}`, `{"event":"media.create","media":{"name":"\ud800"}}`,
		"", "{}", "null", "[]", "hello", `"entry.update"`, `{"event":"entry.upd`, `{"event":"\u00`, `{"event":"entry.update","uid":"u","entry":{"documentId":"abc"}`,
		`{"event":"x","n":1 2}`, `{"event":"x"}]`, `]}`, `{"event":"\x41"}`,
	}
	for _, name := range captureNames(t) {
		bodies = append(bodies, readCapture(t, name).BodyRaw)
	}
	for i, body := range bodies {
		want, wantErr := ParseEnvelope([]byte(body))
		for _, piece := range []int{1, 7, 4096, len(body) + 1} {
			got, err := largeEnvelope(body, piece)
			require.Equal(t, wantErr, err, "body %d: %.80s", i, body)
			require.Equal(t, want, got, "body %d: %.80s", i, body)
		}
	}
}

func TestLargeEnvelope_KeepsLittle(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"LongString":    entryBody(`{"documentId":"abc","x":"` + strings.Repeat("x", 4<<20) + `"}`),
		"DeepString":    entryBody(`{"documentId":"abc","x":["` + strings.Repeat("x", 4<<20) + `"]}`),
		"ManyRelations": entryBody(`{"documentId":"abc","x":[` + strings.Repeat(`{"documentId":"other"},`, 200_000) + `{}]}`),
		"Blanks":        entryBody(`{"documentId":"abc",` + strings.Repeat("\n", 4<<20) + `"x":1}`),
	} {
		var l LargeEnvelope
		_, _ = l.Write([]byte(body))
		got, err := l.Envelope()
		require.NoError(t, err, name)
		require.Equal(t, "abc", got.DocumentID, name)
		require.Less(t, len(l.kept), 4096, name)
	}
	var l LargeEnvelope
	for i := range 1000 {
		fmt.Fprintf(&l, `{"x%d":"%s"},`, i, strings.Repeat("x", 4096))
	}
	require.Empty(t, l.kept)
	got, err := l.Envelope()
	require.ErrorIs(t, err, errLargeEnvelope)
	require.Zero(t, got)
}
