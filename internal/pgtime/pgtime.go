// Package pgtime makes connections to Postgres read timestamps in UTC, which is how
// every answer, alert and log shows them. Without it pgx reads them in the zone of
// this machine.
package pgtime

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// UseUTC is the AfterConnect of a pool whose connections read timestamptz in UTC.
func UseUTC(_ context.Context, conn *pgx.Conn) error {
	conn.TypeMap().RegisterType(&pgtype.Type{
		Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	})
	return nil
}
