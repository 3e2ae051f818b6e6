package pgerr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func TestKinds(t *testing.T) {
	t.Parallel()
	postgres := func(code string) error { return fmt.Errorf("write: %w", &pgconn.PgError{Code: code}) }
	type kinds struct{ conflict, value, row, missing, unavailable bool }
	for name, c := range map[string]struct {
		err  error
		want kinds
	}{
		"nothing":                    {nil, kinds{}},
		"not from Postgres":          {io.EOF, kinds{}},
		"a code that is none":        {postgres("2"), kinds{}},
		"deadlock":                   {postgres("40P01"), kinds{conflict: true}},
		"serialization failure":      {postgres("40001"), kinds{conflict: true}},
		"lock timeout":               {postgres("55P03"), kinds{conflict: true, unavailable: true}},
		"number out of range":        {postgres("22003"), kinds{value: true, row: true}},
		"unique violation":           {postgres("23505"), kinds{value: true, row: true}},
		"no partition of relation":   {postgres("23514"), kinds{value: true}},
		"key too long for the index": {postgres("54000"), kinds{value: true, row: true}},
		"connection exception":       {postgres("08006"), kinds{unavailable: true}},
		"disk full":                  {postgres("53100"), kinds{unavailable: true}},
		"shutting down":              {postgres("57P01"), kinds{unavailable: true}},
		"input/output error":         {postgres("58030"), kinds{unavailable: true}},
		"no such table":              {postgres("42P01"), kinds{missing: true}},
		"syntax error":               {postgres("42601"), kinds{}},
		"read-only transaction":      {postgres("25006"), kinds{unavailable: true}},
		"deadline":                   {context.DeadlineExceeded, kinds{unavailable: true}},
		"network":                    {&net.OpError{Op: "read", Err: errors.New("reset")}, kinds{unavailable: true}},
	} {
		got := kinds{IsConflict(c.err), IsBadValue(c.err), IsBadRow(c.err), IsMissing(c.err), IsUnavailable(c.err)}
		require.Equal(t, c.want, got, name)
	}
}
