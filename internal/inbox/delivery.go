package inbox

import (
	"crypto/sha256"
	"strings"

	"github.com/google/uuid"

	"dealbox/internal/mirror"
	"dealbox/internal/strapi"
	"dealbox/internal/webhooksig"
)

// Delivery is one POST whose signature was verified.
type Delivery struct {
	Scheme webhooksig.Scheme
	// ID is the signed delivery id; empty where the scheme has none.
	ID string
	// Body is the raw bytes that were signed. The Receiver keeps them: do not reuse.
	Body []byte
}

// Action is what a delivery led to.
type Action string

// The actions of the contract.
const (
	ActionRecompute   Action = "forecast_recompute_queued"
	ActionCleanup     Action = "cleanup_queued"
	ActionIgnored     Action = "ignored"
	ActionQuarantined Action = "quarantined"
)

// Receipt is the answer to a delivery that is committed.
type Receipt struct {
	EventID uuid.UUID
	Event   string // entry.update
	Entity  string // pipeline-deal; empty for events about no entry
	Action  Action
	// Duplicate: the same delivery was stored before today, as EventID.
	Duplicate bool
}

// incoming is a delivery with what was read of it, ready to be stored.
type incoming struct {
	id     uuid.UUID
	dedup  [sha256.Size]byte
	scheme webhooksig.Scheme
	env    strapi.Envelope
	body   []byte
	action Action
	reason string // why it is quarantined
}

// document is the document that a processed delivery names.
func (in incoming) document() mirror.Key {
	return mirror.Key{UID: in.env.UID, DocumentID: in.env.DocumentID, Locale: in.env.Locale}
}

func (in incoming) processed() bool {
	return in.action == ActionRecompute || in.action == ActionCleanup
}

// classify decides what a delivery is. It is pure but for the new id.
//
// Failure policy: an authentic delivery is never refused for its content,
// because Strapi sends it once; what cannot be read is quarantined.
func classify(d Delivery, types map[string]strapi.ContentType) incoming {
	in := incoming{id: uuid.Must(uuid.NewV7()), scheme: d.Scheme, body: d.Body, dedup: dedupKey(d)}
	env, err := strapi.ParseEnvelope(d.Body)
	in.env = env
	if err != nil {
		in.action, in.reason = ActionQuarantined, err.Error()
		return in
	}
	in.env.UID = uidOf(env, types)
	if _, ours := types[in.env.UID]; !ours {
		in.action = ActionIgnored
		return in
	}
	switch env.Event {
	case "entry.create", "entry.update", "entry.publish", "entry.unpublish":
		in.action = ActionRecompute
	case "entry.delete":
		in.action = ActionCleanup
	default:
		in.action = ActionIgnored
	}
	return in
}

// dedupKey is the sha256 of the signed delivery id, else of the body.
func dedupKey(d Delivery) [sha256.Size]byte {
	if d.ID != "" {
		return sha256.Sum256([]byte(d.ID))
	}
	return sha256.Sum256(d.Body)
}

// uidOf falls back to the model's name where the envelope has no uid (some
// events of older versions): it is the last part of the uid.
func uidOf(env strapi.Envelope, types map[string]strapi.ContentType) string {
	if env.UID != "" || env.Model == "" {
		return env.UID
	}
	for uid := range types {
		if uid[strings.LastIndexByte(uid, '.')+1:] == env.Model {
			return uid
		}
	}
	return ""
}
