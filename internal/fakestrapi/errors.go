package fakestrapi

import (
	"errors"
	"fmt"
	"net/http"
)

// ErrNotFound is the answer for a document, or a version of it, that is not
// there; test for it with errors.Is.
var ErrNotFound = errors.New("not found")

// Error is what Strapi answers when it refuses something. Details nil writes
// an empty object; an internal error has no details at all.
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
	return &Error{Status: http.StatusMethodNotAllowed, Name: "MethodNotAllowedError", Message: "Method Not Allowed"}
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

// invalidKey is Strapi's answer to a name that the type does not have.
func invalidKey(key, path string) *Error {
	message := "Invalid key " + key
	if path != "" && path != key {
		message += " at " + path
	} else {
		path = key
	}
	return &Error{
		Status: http.StatusBadRequest, Name: "ValidationError", Message: message,
		Details: struct {
			Key  string `json:"key"`
			Path string `json:"path"`
		}{key, path},
	}
}

type fieldError struct {
	Path    []string `json:"path"`
	Message string   `json:"message"`
	Name    string   `json:"name"`
}

// invalid is Strapi's answer to a value that it cannot take.
func invalid(path, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{
		Status: http.StatusBadRequest, Name: "ValidationError", Message: message,
		Details: struct {
			Errors []fieldError `json:"errors"`
		}{[]fieldError{{Path: []string{path}, Message: message, Name: "ValidationError"}}},
	}
}
