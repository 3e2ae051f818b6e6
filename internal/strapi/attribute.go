package strapi

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Found is what Attribute found.
type Found int

// What an answer shows of an attribute.
const (
	// Absent means that the answer lacks it: the type has no such attribute, or does not show it.
	Absent Found = iota
	// Unknown means that a component or relation on the way is null: nothing is known of what is inside.
	Unknown
	// Present means that the answer has it, maybe as null.
	Present
	// Several means that something on the way is a list.
	Several
)

// Attribute returns the raw value of an attribute of a document. A path with dots leads through
// components and relations; what is inside one that is null is null. "" is Absent.
func Attribute(doc Document, path string) (json.RawMessage, Found) {
	if raw := doc.own(path); raw != nil {
		return raw, Present
	}
	members := doc.Attributes
	for {
		name, rest, deeper := strings.Cut(path, ".")
		raw, exists := members[name]
		raw = bytes.TrimSpace(raw)
		switch {
		case !exists:
			return nil, Absent
		case !deeper:
			return raw, Present
		case string(raw) == "null":
			return raw, Unknown
		case isArray(raw):
			return raw, Several
		case !isObject(raw):
			return nil, Absent
		}
		members = nil
		if json.Unmarshal(raw, &members) != nil {
			return nil, Absent
		}
		path = rest
	}
}

// own returns what is a field of Document and not in Attributes, nil for all else. A
// mapping may name it.
func (d Document) own(name string) json.RawMessage {
	switch name {
	case "documentId":
		return encoded(d.DocumentID)
	case "createdAt":
		return encoded(d.CreatedAt)
	case "updatedAt":
		return encoded(d.UpdatedAt)
	case "publishedAt":
		return encoded(d.PublishedAt)
	}
	return nil
}

func encoded(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // an identifier, or a time that was read
	}
	return raw
}
