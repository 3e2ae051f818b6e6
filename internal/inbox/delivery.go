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
	// Large stands for a Body that was too large to be kept; nil where Body has it.
	Large *Large
}

// Large is what was read of a body that was not kept.
type Large struct {
	Bytes    int
	SHA256   [sha256.Size]byte
	Envelope strapi.Envelope
	// Err is why the envelope could not be read.
	Err error
}

// bytes returns the size of a body that was not kept, 0 for nil.
func (l *Large) bytes() int32 {
	if l == nil {
		return 0
	}
	return int32(l.Bytes)
}

// digest returns the digest of a body that was not kept, none for nil.
func (l *Large) digest() []byte {
	if l == nil {
		return []byte{}
	}
	return l.SHA256[:]
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
	body   []byte // never nil
	large  *Large
	action Action
	reason string // why it is quarantined
	// unnamed is whether it is about a document of a configured type, or may be, and does
	// not say which one.
	unnamed bool
	// t is its type, if that is named and configured.
	t strapi.ContentType
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
// because Strapi sends it once; what cannot be read is quarantined. If it is about an
// entry, everything is compared with Strapi at once, for it may have been any document.
func classify(d Delivery, types map[string]strapi.ContentType) incoming {
	in := incoming{id: uuid.Must(uuid.NewV7()), scheme: d.Scheme, body: d.Body, large: d.Large, dedup: dedupKey(d)}
	if in.body == nil {
		in.body = []byte{}
	}
	env, err := d.envelope()
	in.env = env
	in.env.UID = uidOf(env, types)
	t, ours := types[in.env.UID]
	in.t = t
	switch {
	case err != nil && (ours || !env.NamesType()):
		in.action, in.reason = ActionQuarantined, err.Error()
		in.unnamed = env.IsEntry() || d.Large != nil
	case !ours || !env.IsEntry():
		in.action = ActionIgnored
	case env.Event == strapi.EntryDelete:
		in.action = ActionCleanup
	default:
		in.action = ActionRecompute
	}
	return in
}

func (d Delivery) envelope() (strapi.Envelope, error) {
	if d.Large != nil {
		return d.Large.Envelope, d.Large.Err
	}
	return strapi.ParseEnvelope(d.Body)
}

// dedupKey is the sha256 of the signed delivery id, else of the body.
func dedupKey(d Delivery) [sha256.Size]byte {
	switch {
	case d.ID != "":
		return sha256.Sum256([]byte(d.ID))
	case d.Large != nil:
		return d.Large.SHA256
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
