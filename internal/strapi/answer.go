package strapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dealbox/internal/retry"
	"dealbox/internal/text"
)

// refusal returns the *Error that an answer means whose status is not 200.
func (c *Client) refusal(r request, res *http.Response, body []byte) *Error {
	said := parseErrorAnswer(body)
	status := res.StatusCode
	e := r.fail(Rejected, status, "")
	switch {
	case status < 300:
		e.Kind, e.Message = Unreadable, "Strapi answers reads with status 200; something else answered"
		return e
	case status < 400:
		e.Kind, e.Headers = Blocked, c.origin(res.Header)
		e.Message = "a redirect, which is never followed; if it leads to Strapi, give that address as its URL, else something in front of Strapi wants a login" + words(e.Headers)
		return e
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		e.Kind, e.Wait = Unavailable, retry.After(res.Header, time.Now())
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && said.name != "":
		e.Kind = Refused
	case status == http.StatusUnauthorized, status == http.StatusForbidden,
		status == http.StatusProxyAuthRequired, status == http.StatusUnavailableForLegalReasons:
		e.Kind = Blocked
	case status == http.StatusNotFound && said.notFound():
		e.Kind = NotFound
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		e.Kind = MissingRoute
	}
	e.Message = text.Line(c.redact(said.text(status)), maxMessage)
	switch {
	case e.Kind == Rejected:
		e.Key = said.key()
	case e.Kind == Refused:
		e.Message += "; check the API token and what it may read"
	case said.name == "":
		e.Headers = c.origin(res.Header)
		e.Message += words(e.Headers)
	}
	return e
}

// originHeaders say who answered. maxHeader bounds each, in bytes.
var originHeaders = []string{"server", "via", "cf-ray", "content-type", "location"}

const maxHeader = 100

// origin returns the headers that say who answered. Of a location it keeps scheme and
// host: the rest may hold a session.
func (c *Client) origin(h http.Header) map[string]string {
	found := map[string]string{}
	for _, name := range originHeaders {
		value := h.Get(name)
		if name == "location" {
			value = hostOf(value)
		}
		if value != "" {
			found[name] = text.Line(c.redact(value), maxHeader)
		}
	}
	return found
}

func hostOf(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// words returns the headers for a message, such as " (server cloudflare, via 1.1 vegur)".
func words(headers map[string]string) string {
	var all []string
	for _, name := range originHeaders {
		if value, ok := headers[name]; ok {
			all = append(all, name+" "+value)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

// errorAnswer is Strapi's {"data":null,"error":{…}}; the zero value is any other body.
type errorAnswer struct {
	status                 int
	name, message, details string
}

func parseErrorAnswer(body []byte) errorAnswer {
	var top map[string]json.RawMessage
	if json.Unmarshal(body, &top) != nil || string(top["data"]) != "null" {
		return errorAnswer{}
	}
	var said struct {
		Status  int    `json:"status"`
		Name    string `json:"name"`
		Message string `json:"message"`
	}
	if json.Unmarshal(top["error"], &said) != nil {
		return errorAnswer{}
	}
	return errorAnswer{said.Status, said.Name, said.Message, detailsKey(top["error"])}
}

// detailsKey returns error.details.key; details have other shapes, too.
func detailsKey(raw json.RawMessage) string {
	var said struct {
		Details struct {
			Key string `json:"key"`
		} `json:"details"`
	}
	if json.Unmarshal(raw, &said) != nil {
		return ""
	}
	return said.Details.Key
}

// key returns the name that Strapi does not know, from the details or the message.
func (a errorAnswer) key() string {
	if a.name != "ValidationError" {
		return ""
	}
	if a.details != "" {
		return a.details
	}
	key, isKey := strings.CutPrefix(a.message, "Invalid key ")
	if !isKey {
		return ""
	}
	key, _, _ = strings.Cut(key, " ")
	return key
}

func (a errorAnswer) notFound() bool {
	return a.status == http.StatusNotFound && a.name == "NotFoundError"
}

func (a errorAnswer) text(status int) string {
	if a.name == "" {
		return strings.TrimSpace(http.StatusText(status) + " not in Strapi's form; did a proxy or another server answer?")
	}
	return a.name + ": " + a.message
}

// parseDocumentAnswer reads {"data":{…}}. The second result is what is wrong, ""
// when nothing is.
func parseDocumentAnswer(body []byte, documentID string) (Document, string) {
	top, fault := parseAnswer(body)
	if fault != "" {
		return Document{}, fault
	}
	doc, fault := parseDocument(top["data"])
	if fault != "" {
		return Document{}, fault
	}
	if doc.DocumentID != documentID {
		return Document{}, "the answer is about another document than the request"
	}
	return doc, ""
}

// rawList is {"data":[…],"meta":{"pagination":{…}}}.
type rawList struct {
	documents  []json.RawMessage
	pagination struct {
		PageSize int  `json:"pageSize"`
		Total    *int `json:"total"` // nil: Strapi did not count
	}
}

// parseListAnswer reads a list, but not its documents. The second result is what
// is wrong, "" when nothing is.
func parseListAnswer(body []byte) (rawList, string) {
	var list rawList
	top, fault := parseAnswer(body)
	if fault != "" {
		return list, fault
	}
	if !isArray(top["data"]) {
		return list, "data is not an array"
	}
	var meta map[string]json.RawMessage
	if json.Unmarshal(top["meta"], &meta) != nil || !isObject(meta["pagination"]) {
		return list, "the list has no meta.pagination, which Strapi 5 always sends. Something in front of Strapi changes its answers, " +
			"or STRAPI_URL leads to another program: let answers pass as they are, or give Strapi's own address"
	}
	if json.Unmarshal(top["data"], &list.documents) != nil || json.Unmarshal(meta["pagination"], &list.pagination) != nil {
		return list, "the list cannot be read"
	}
	return list, ""
}

// htmlFault is what is wrong with a web page.
const htmlFault = "the answer is HTML or XML, not JSON: a page of something in front of Strapi, or the URL does not lead to Strapi"

// parseAnswer returns the members of a JSON object. They are a map, because
// encoding/json accepts struct fields in any letter case.
func parseAnswer(body []byte) (map[string]json.RawMessage, string) {
	var top map[string]json.RawMessage
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return nil, "the answer is empty"
	case body[0] == '<':
		return nil, htmlFault
	}
	err := json.Unmarshal(body, &top)
	_, isWrongType := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case err != nil && !isWrongType:
		return nil, "the answer is not valid JSON, or cut short"
	case top == nil:
		return nil, "the answer is not a JSON object"
	}
	return top, ""
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

func isArray(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '[' }
