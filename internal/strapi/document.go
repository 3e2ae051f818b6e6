package strapi

import (
	"bytes"
	"encoding/json"
	"time"
)

// Document is one version of a document in one locale, as the REST API returns it.
type Document struct {
	// ID is the row's number. Each publication changes it, so it is no key; 0
	// when it cannot be read.
	ID         int64
	DocumentID string
	// Locale is "" where the type is not localized.
	Locale string
	// CreatedAt and UpdatedAt are nil when they cannot be read.
	CreatedAt, UpdatedAt *time.Time
	// PublishedAt is nil for a draft.
	PublishedAt *time.Time
	// Attributes has all other members by Strapi's names, undecoded: numbers must
	// not pass through a float.
	Attributes map[string]json.RawMessage
}

// parseDocument reads a document's object. The second result is what is wrong, ""
// when nothing is.
func parseDocument(raw json.RawMessage) (Document, string) {
	if string(raw) == "null" {
		return Document{}, "data is null"
	}
	var members map[string]json.RawMessage
	if !isObject(raw) || json.Unmarshal(raw, &members) != nil {
		return Document{}, "data is not an object"
	}
	var doc Document
	id, ok := takeString(members, "documentId")
	if !ok || !IsDocumentID(id) {
		return Document{}, "data.documentId is missing or no identifier; Dealbox needs Strapi 5"
	}
	doc.DocumentID = id
	doc.ID = takeInt(members, "id")
	doc.Locale, _ = takeString(members, "locale")
	doc.CreatedAt, _ = takeTime(members, "createdAt")
	doc.UpdatedAt, _ = takeTime(members, "updatedAt")
	// Failure policy: closed. Nil means unpublished, which takes a deal out of
	// the forecast, so it must not come from a time that cannot be read.
	if doc.PublishedAt, ok = takeTime(members, "publishedAt"); !ok {
		return Document{}, "data.publishedAt is not a time"
	}
	doc.Attributes = members
	return doc, ""
}

// RelationIDs returns the documentIds of a relation, whose value is an array, one
// object or null (no document). It reports false when the value does not name
// them: absent, {"count":n} as in some webhooks, or anything else.
//
// It reads one document at a time: a deal may have ten thousand billings, and many such
// deals may be read at once.
func RelationIDs(raw json.RawMessage) ([]string, bool) {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		return nil, true
	}
	documents := json.NewDecoder(bytes.NewReader(raw))
	isOne := isObject(raw)
	if !isOne {
		if start, err := documents.Token(); err != nil || start != json.Delim('[') {
			return nil, false
		}
	}
	ids := []string{}
	for documents.More() {
		var members map[string]json.RawMessage
		if documents.Decode(&members) != nil {
			return nil, false
		}
		id, ok := takeString(members, "documentId")
		if !ok || !IsDocumentID(id) {
			return nil, false
		}
		ids = append(ids, id)
	}
	if !isOne {
		if _, err := documents.Token(); err != nil {
			return nil, false
		}
	}
	return ids, true
}

// takeString reports false for anything but a string; null and absent are "" and true.
func takeString(members map[string]json.RawMessage, name string) (string, bool) {
	raw := take(members, name)
	if raw == nil {
		return "", true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

func takeInt(members map[string]json.RawMessage, name string) int64 {
	var n int64
	if json.Unmarshal(take(members, name), &n) != nil {
		return 0
	}
	return n
}

// takeTime reports false for anything but a time; null and absent are nil and true.
func takeTime(members map[string]json.RawMessage, name string) (*time.Time, bool) {
	raw := take(members, name)
	if raw == nil || string(raw) == "null" {
		return nil, true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return nil, false
	}
	t := parseTime(s)
	return t, t != nil
}

func take(members map[string]json.RawMessage, name string) json.RawMessage {
	raw := members[name]
	delete(members, name)
	return raw
}
