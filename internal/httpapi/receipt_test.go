package httpapi

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"dealbox/internal/inbox"
)

// The receipt is written by hand: whatever it holds, it is the JSON that
// encoding/json would read back.
func FuzzAppendReceipt(f *testing.F) {
	f.Add("entry.update", "pipeline-deal", true)
	f.Add(`"quoted\`, "</script>\u2028\x00\xff", false)
	f.Fuzz(func(t *testing.T, event, entity string, duplicate bool) {
		id := uuid.New()
		text := appendReceipt(nil, inbox.Receipt{EventID: id, Event: event, Entity: entity, Action: inbox.ActionIgnored, Duplicate: duplicate})
		want, err := json.Marshal(struct {
			Status    string       `json:"status"`
			EventID   string       `json:"event_id"`
			Event     string       `json:"event"`
			Entity    string       `json:"entity"`
			Action    inbox.Action `json:"action"`
			Duplicate bool         `json:"duplicate"`
		}{"accepted", id.String(), event, entity, inbox.ActionIgnored, duplicate})
		require.NoError(t, err)
		require.Equal(t, string(want)+"\n", string(text))
	})
}
