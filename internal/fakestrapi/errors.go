package fakestrapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// ErrNotFound is the answer for a document, or a version of it, that is not
// there; test for it with errors.Is.
var ErrNotFound = errors.New("not found")

// Error is the answer of a Strapi that refuses something. Nil Details are written
// as an empty object; an internal error has no details at all. Without a Name the
// answer is Message as plain text.
type Error struct {
	Status  int
	Name    string
	Message string
	Details any
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("fake Strapi: %d %s: %s", e.Status, e.Name, e.Message)
}

// Is makes every 404 an ErrNotFound.
func (e *Error) Is(target error) bool {
	return target == ErrNotFound && e.Status == http.StatusNotFound
}

func notFound() *Error {
	return &Error{Status: http.StatusNotFound, Name: "NotFoundError", Message: "Not Found"}
}

func methodNotAllowed() *Error {
	return &Error{Status: http.StatusMethodNotAllowed, Message: "Method Not Allowed"}
}

func unauthorized() *Error {
	return &Error{Status: http.StatusUnauthorized, Name: "UnauthorizedError", Message: "Missing or invalid credentials"}
}

func forbidden() *Error {
	return &Error{Status: http.StatusForbidden, Name: "ForbiddenError", Message: "Forbidden"}
}

func internalError() *Error {
	return &Error{Status: http.StatusInternalServerError, Name: "InternalServerError", Message: "Internal Server Error"}
}

// unknownAttribute returns the same for an attribute in the body of a write.
func unknownAttribute(name string) *Error {
	e := invalidKey("", name, "")
	e.Details = keyDetails{Key: name, Source: "body"}
	return e
}

// keyDetails are the details of an invalid key. Param is the query's parameter;
// in a body there is none. Path is null unless the key is below another.
type keyDetails struct {
	Key    string  `json:"key"`
	Path   *string `json:"path"`
	Source string  `json:"source"`
	Param  string  `json:"param,omitempty"`
}

// invalidKey returns Strapi's answer to a name that the type does not have, in a
// parameter of the query. path leads to it from the parameter; "" is null.
func invalidKey(param, key, path string) *Error {
	message, details := "Invalid key "+key, keyDetails{Key: key, Source: "query", Param: param}
	if path != "" {
		details.Path = &path
	}
	if path != "" && path != key {
		message += " at " + path
	}
	return &Error{Status: http.StatusBadRequest, Name: "ValidationError", Message: message, Details: details}
}

// rejected returns Strapi's answer to a request that is wrong as a whole: an error
// without details.
func rejected(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Name: "ValidationError", Message: fmt.Sprintf(format, args...)}
}

type fieldError struct {
	Path    []string        `json:"path"`
	Message string          `json:"message"`
	Name    string          `json:"name"`
	Value   json.RawMessage `json:"value"` // as cast to the attribute's kind: null where that failed
}

// invalid returns Strapi's answer to a wrong value of an attribute.
func invalid(path string, value json.RawMessage, message string) *Error {
	return &Error{
		Status: http.StatusBadRequest, Name: "ValidationError", Message: message,
		Details: struct {
			Errors []fieldError `json:"errors"`
		}{[]fieldError{{Path: []string{path}, Message: message, Name: "ValidationError", Value: orNull(value)}}},
	}
}
