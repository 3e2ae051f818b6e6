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

// Action says what a delivery led to.
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

// fact is a delivery and what was made of it, ready to be stored.
type fact struct {
	id     uuid.UUID
	dedup  [sha256.Size]byte
	scheme webhooksig.Scheme
	env    strapi.Envelope
	body   []byte
	action Action
	reason string // why it is quarantined
}

// document is the document that a processed delivery asks to look at.
func (f fact) document() mirror.Key {
	return mirror.Key{UID: f.env.UID, DocumentID: f.env.DocumentID, Locale: f.env.Locale}
}

func (f fact) processed() bool {
	return f.action == ActionRecompute || f.action == ActionCleanup
}

// classify decides what a delivery is. It is pure but for the new id.
//
// Failure policy: an authentic delivery is never refused for its content,
// because Strapi sends it once; what cannot be read is quarantined.
func classify(d Delivery, types map[string]strapi.ContentType) fact {
	f := fact{id: uuid.Must(uuid.NewV7()), scheme: d.Scheme, body: d.Body, dedup: dedupKey(d)}
	env, err := strapi.ParseEnvelope(d.Body)
	f.env = env
	if err != nil {
		f.action, f.reason = ActionQuarantined, err.Error()
		return f
	}
	f.env.UID = uidOf(env, types)
	if _, ours := types[f.env.UID]; !ours {
		f.action = ActionIgnored
		return f
	}
	switch env.Event {
	case "entry.create", "entry.update", "entry.publish", "entry.unpublish":
		f.action = ActionRecompute
	case "entry.delete":
		f.action = ActionCleanup
	default:
		f.action = ActionIgnored
	}
	return f
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
