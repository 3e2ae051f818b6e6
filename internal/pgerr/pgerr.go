// Package pgerr sorts the errors of Postgres by what they say: two transactions
// met, a value does not fit, or the database cannot be used now. The codes are
// SQLSTATEs: https://www.postgresql.org/docs/15/errcodes-appendix.html.
package pgerr

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Codes that callers name.
const (
	lockNotAvailable = "55P03"
	checkViolation   = "23514"
	readOnly         = "25006"
)

// IsConflict reports whether a transaction met another one: a deadlock, a
// serialization failure or a lock timeout. The caller runs the whole transaction
// again; the error never speaks about a document.
func IsConflict(err error) bool {
	switch Code(err) {
	case "40P01", "40001", lockNotAvailable:
		return true
	}
	return false
}

// IsBadRow is IsBadValue without check violations: a missing partition has that
// code, too, but it is the same for every row and no row's fault.
func IsBadRow(err error) bool { return IsBadValue(err) && Code(err) != checkViolation }

// IsBadValue reports whether Postgres refused a value: a data exception (22), a
// constraint (23) or a program limit (54).
func IsBadValue(err error) bool {
	switch class(err) {
	case "22", "23", "54":
		return true
	}
	return false
}

// IsMissing reports whether a statement names a schema, table, column or function
// that the database does not have.
func IsMissing(err error) bool {
	switch Code(err) {
	case "3F000", "42P01", "42703", "42883":
		return true
	}
	return false
}

// IsUnavailable reports whether the database could not be reached, or not in
// time: the same statement may succeed later. A statement that is wrong is not.
func IsUnavailable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) {
		return true
	}
	switch class(err) {
	case "08", // connection exception
		"53", // insufficient resources
		"57", // operator intervention: shutdown, cancelled by a timeout
		"58": // system error
		return true
	}
	return Code(err) == lockNotAvailable || IsReadOnly(err)
}

// IsReadOnly reports whether the server takes no writes: a standby, or a primary whose
// administrator or hoster made it read-only.
func IsReadOnly(err error) bool {
	if Code(err) == readOnly {
		return true
	}
	// A connection that target_session_attrs=read-write refused; pgx has no type for it.
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) && strings.Contains(connect.Error(), "read only connection")
}

// Message returns what Postgres said, "" when err holds no error of it. It may quote a value.
func Message(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return ""
	}
	return answer.Message
}

func class(err error) string {
	if code := Code(err); code != "" {
		return code[:2]
	}
	return ""
}

// Code returns the SQLSTATE of the error that Postgres answered, "" when err
// holds none: the connection failed, say, or the error is not from Postgres.
func Code(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || len(answer.Code) != 5 {
		return ""
	}
	return answer.Code
}
