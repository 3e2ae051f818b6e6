package strapi

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// The events about an entry. Their payload names a document.
const (
	EntryCreate    = "entry.create"
	EntryUpdate    = "entry.update"
	EntryDelete    = "entry.delete"
	EntryPublish   = "entry.publish"
	EntryUnpublish = "entry.unpublish"
)

// Limits of what an envelope may hold, in bytes.
const (
	maxEvent      = 100
	maxIdentifier = 255 // uid, model, documentId; 9 kB no longer fit into an index of Postgres
	maxLocale     = 35  // the longest BCP 47 tag that RFC 5646 §4.4.1 expects
)

// The reasons that speak about the whole body.
var (
	errNotJSON   = errors.New("the body is not valid JSON, is cut short, or nests over 10,000 levels")
	errNotObject = errors.New("the body is not a JSON object")
)

// Envelope is what a webhook says about itself. Dealbox never uses the rest of
// the payload: Strapi's REST API has the truth.
type Envelope struct {
	Event string
	// UID is the content type. Strapi 5 always sends it; where it is "", Model counts.
	UID, Model string
	// DocumentID names the document of an entry event.
	DocumentID string
	// Locale is "" where the type is not localized.
	Locale string
	// SentAt is when Strapi sent the webhook, not when the document changed;
	// nil when it cannot be read.
	SentAt *time.Time
}

// ParseEnvelope reads the body of an authentic delivery. An error is the reason
// to quarantine it: one of a few fixed texts, which quote nothing of the body. It
// comes with the fields that are right; a body that is not JSON has none.
//
// Only the five fields that Dealbox stores as text must be clean: the event, the
// model, the uid, the documentId and the locale. Postgres keeps the body as bytes,
// so a NUL, a lone surrogate or a huge number elsewhere does no harm. The caller
// bounds the size; encoding/json bounds the depth, at 10,000 levels.
func ParseEnvelope(body []byte) (Envelope, error) {
	var p payload
	err := json.Unmarshal(body, &p)
	wrongType, isWrongType := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case isWrongType && wrongType.Field == "":
		return Envelope{}, errNotObject
	case err != nil && !isWrongType:
		return Envelope{}, errNotJSON
	}
	e := p.envelope()
	if reason := p.reason(e, isWrongType); reason != "" {
		return e, errors.New(reason)
	}
	return e, nil
}

// payload is the part of a body that is read. The decoder skips the rest.
type payload struct {
	Event     member `json:"event"`
	CreatedAt member `json:"createdAt"`
	Model     member `json:"model"`
	UID       member `json:"uid"`
	Entry     *struct {
		DocumentID member `json:"documentId"`
		Locale     member `json:"locale"`
	} `json:"entry"`
}

// member is a member that should be a string. Absent, null and "" are the same.
type member struct {
	value string // "" where there is a fault
	seen  bool
	fault string // what is wrong, to follow the member's name
}

// UnmarshalJSON accepts any value, so that one wrong member leaves the others
// readable. A member that appears twice counts as wrong, also in another letter
// case, which encoding/json does not distinguish: choosing one would be a guess
// about which document changed.
func (m *member) UnmarshalJSON(raw []byte) error {
	switch {
	case m.seen:
		m.value, m.fault = "", "appears twice"
	case json.Unmarshal(raw, &m.value) != nil:
		m.fault = "is not a string"
	}
	m.seen = true
	return nil
}

// envelope returns the clean fields and notes the faults of the others.
func (p *payload) envelope() Envelope {
	e := Envelope{
		Event:  p.Event.clean(maxEvent),
		UID:    p.UID.clean(maxIdentifier),
		Model:  p.Model.clean(maxIdentifier),
		SentAt: parseTime(p.CreatedAt.value),
	}
	if p.Entry != nil {
		if isDots(p.Entry.DocumentID.value) {
			p.Entry.DocumentID.value, p.Entry.DocumentID.fault = "", "is not an identifier"
		}
		e.DocumentID = p.Entry.DocumentID.clean(maxIdentifier)
		e.Locale = p.Entry.Locale.clean(maxLocale)
	}
	return e
}

// clean returns the value if it is fit to be stored, else "".
func (m *member) clean(limit int) string {
	if fault := textFault(m.value, limit); fault != "" {
		m.value, m.fault = "", fault
	}
	return m.value
}

// reason returns why the body cannot be used, "" when it can.
func (p *payload) reason(e Envelope, entryIsNoObject bool) string {
	if reason := p.Event.required("event"); reason != "" {
		return reason
	}
	if !e.IsEntry() {
		return ""
	}
	switch {
	case p.UID.fault != "":
		return "uid " + p.UID.fault
	case p.Model.fault != "":
		return "model " + p.Model.fault
	case e.UID == "" && e.Model == "":
		return "uid and model are missing"
	case entryIsNoObject:
		return "entry is not an object"
	case p.Entry == nil:
		return "entry is missing or null"
	case !p.Entry.DocumentID.seen:
		return "entry has no documentId, as in Strapi 4; Dealbox needs Strapi 5"
	case p.Entry.Locale.fault != "":
		return "entry.locale " + p.Entry.Locale.fault
	}
	return p.Entry.DocumentID.required("entry.documentId")
}

// IsEntry reports whether the event names a document: create, update, delete,
// publish and unpublish do.
func (e Envelope) IsEntry() bool {
	switch e.Event {
	case EntryCreate, EntryUpdate, EntryDelete, EntryPublish, EntryUnpublish:
		return true
	}
	return false
}

// NamesType reports whether the event is about an entry whose content type is known.
func (e Envelope) NamesType() bool { return e.IsEntry() && (e.UID != "" || e.Model != "") }

func (m *member) required(name string) string {
	switch {
	case m.fault != "":
		return name + " " + m.fault
	case m.value == "":
		return name + " is missing or empty"
	}
	return ""
}

// parseTime reads the times that Strapi writes (RFC 3339); it returns nil for others.
func parseTime(s string) *time.Time {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}
