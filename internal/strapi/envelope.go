package strapi

import (
	"bytes"
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
	maxIdentifier = 255 // uid, model, documentId; 9 kB no longer fit into an index
	maxLocale     = 35  // the longest BCP 47 tag that RFC 5646 §4.4.1 expects
	maxSentAt     = 64
)

// Envelope is what a webhook says about itself. The rest of the payload is
// never used: Strapi's REST API has the truth.
type Envelope struct {
	Event string
	// UID is the content type. Strapi 5 always sends it; "" means to go by Model.
	UID, Model string
	// DocumentID names the document of an entry event.
	DocumentID string
	// Locale is "" where the type is not localized.
	Locale string
	// SentAt is when Strapi sent the webhook, not when the document changed;
	// nil when it cannot be read.
	SentAt *time.Time
}

// IsEntry is true for the events that name a document: create, update, delete,
// publish and unpublish.
func (e Envelope) IsEntry() bool {
	switch e.Event {
	case EntryCreate, EntryUpdate, EntryDelete, EntryPublish, EntryUnpublish:
		return true
	}
	return false
}

// ParseEnvelope reads the body of an authentic delivery. An error is the
// reason to quarantine it: a short text that quotes nothing of the body. What
// could be read safely is returned with the error.
func ParseEnvelope(body []byte) (Envelope, error) {
	p := parser{scanner: scanner{data: body}}
	p.parse()
	e := Envelope{
		Event:      p.event.value,
		UID:        p.uid.value,
		Model:      p.model.value,
		DocumentID: p.documentID.value,
		Locale:     p.locale.value,
		SentAt:     parseTime(p.sentAt.value),
	}
	if r := p.reason(e); r != "" {
		return e, r
	}
	return e, nil
}

// parser collects the fields of an envelope in one walk over the body.
type parser struct {
	scanner
	event, uid, model, sentAt field
	documentID, locale        field
	entry                     entryShape
}

type entryShape int

const (
	entryMissing entryShape = iota
	entryObject
	entryNull
	entryOther
	entryTwice
)

func (p *parser) parse() {
	if bytes.HasPrefix(p.data, []byte("\xEF\xBB\xBF")) {
		p.stop(byteOrderMark)
		return
	}
	switch p.peek() {
	case '{':
	case 0:
		p.stop(notJSON)
		return
	default:
		p.stop(notObject)
		return
	}
	if !p.object(p.member) {
		return
	}
	if p.peek(); p.pos < len(p.data) {
		p.stop(trailing)
	}
}

func (p *parser) member(key []byte) bool {
	switch string(key) {
	case "event":
		return p.text(&p.event, maxEvent)
	case "createdAt":
		return p.text(&p.sentAt, maxSentAt)
	case "model":
		return p.text(&p.model, maxIdentifier)
	case "uid":
		return p.text(&p.uid, maxIdentifier)
	case "entry":
		return p.readEntry()
	default:
		return p.skip()
	}
}

func (p *parser) readEntry() bool {
	if p.entry != entryMissing {
		p.entry = entryTwice
		p.documentID, p.locale = field{}, field{}
		return p.skip()
	}
	switch p.peek() {
	case '{':
		p.entry = entryObject
		return p.object(p.entryMember)
	case 'n':
		p.entry = entryNull
	default:
		p.entry = entryOther
	}
	return p.skip()
}

func (p *parser) entryMember(key []byte) bool {
	switch string(key) {
	case "documentId":
		return p.readDocumentID()
	case "locale":
		return p.text(&p.locale, maxLocale)
	default:
		return p.skip()
	}
}

func (p *parser) readDocumentID() bool {
	if !p.text(&p.documentID, maxIdentifier) {
		return false
	}
	if isDots(p.documentID.value) {
		p.documentID.value, p.documentID.fault = "", "is not an identifier"
	}
	return true
}

// reason is why the body cannot be used, "" when it can.
func (p *parser) reason(e Envelope) reason {
	switch {
	case p.broken != "":
		return p.broken
	case p.fault != "":
		return p.fault
	}
	if r := p.event.required("event"); r != "" {
		return r
	}
	if !e.IsEntry() {
		return ""
	}
	if r := p.contentType(); r != "" {
		return r
	}
	return p.document()
}

// contentType: one of uid and model is enough, but what is there must be right.
func (p *parser) contentType() reason {
	if p.uid.fault != "" {
		return reason("uid " + p.uid.fault)
	}
	if p.model.fault != "" {
		return reason("model " + p.model.fault)
	}
	if p.uid.value == "" && p.model.value == "" {
		return "uid and model are missing"
	}
	return ""
}

func (p *parser) document() reason {
	switch p.entry {
	case entryMissing:
		return "entry is missing"
	case entryNull:
		return "entry is null"
	case entryOther:
		return "entry is not an object"
	case entryTwice:
		return "entry appears twice"
	}
	if !p.documentID.seen {
		return "entry has no documentId, as in Strapi 4; Dealbox needs Strapi 5"
	}
	if r := p.documentID.required("entry.documentId"); r != "" {
		return r
	}
	if p.locale.fault != "" {
		return reason("entry.locale " + p.locale.fault)
	}
	return ""
}

func (f field) required(name string) reason {
	switch {
	case !f.seen:
		return reason(name + " is missing")
	case f.fault != "":
		return reason(name + " " + f.fault)
	case f.null:
		return reason(name + " is null")
	case f.value == "":
		return reason(name + " is empty")
	}
	return ""
}

// parseTime reads the times that Strapi writes (RFC 3339); nil for others.
func parseTime(s string) *time.Time {
	t, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil {
		return nil
	}
	t = t.UTC()
	return &t
}
