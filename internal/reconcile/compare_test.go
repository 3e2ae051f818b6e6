package reconcile

import (
	"reflect"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"dealbox/internal/dbsqlc"
)

// Every mirrored column counts: a difference in any one of them is seen.
func TestSame_EveryColumn(t *testing.T) {
	t.Parallel()
	everyColumn(t, sameDeal)
	everyColumn(t, sameBilling)
}

func everyColumn[T any](t *testing.T, same func(a, b T) bool) {
	t.Helper()
	var base T
	require.True(t, same(base, base))
	for i := range reflect.TypeFor[T]().NumField() {
		field := reflect.TypeFor[T]().Field(i)
		if field.Type.Kind() == reflect.String {
			continue // the key
		}
		first, second := value(t, field.Type, 1), value(t, field.Type, 2)
		a, b := base, base
		reflect.ValueOf(&a).Elem().Field(i).Set(first)
		require.True(t, same(a, a), field.Name)
		require.False(t, same(a, b), "%s against null", field.Name)
		require.False(t, same(b, a), "null against %s", field.Name)
		reflect.ValueOf(&b).Elem().Field(i).Set(second)
		require.False(t, same(a, b), field.Name)
	}
}

func value(t *testing.T, of reflect.Type, n int) reflect.Value {
	t.Helper()
	switch of {
	case reflect.TypeFor[*string]():
		s := string(rune('a' + n))
		return reflect.ValueOf(&s)
	case reflect.TypeFor[*int64]():
		i := int64(n)
		return reflect.ValueOf(&i)
	case reflect.TypeFor[*time.Time]():
		at := time.Unix(int64(n), 0)
		return reflect.ValueOf(&at)
	case reflect.TypeFor[decimal.NullDecimal]():
		return reflect.ValueOf(decimal.NewNullDecimal(decimal.New(int64(n), -2)))
	}
	require.Fail(t, "a column of a new type: "+of.String())
	return reflect.Value{}
}

func TestSame_AsPostgresKeepsIt(t *testing.T) {
	t.Parallel()
	number := func(s string) decimal.NullDecimal { return decimal.NewNullDecimal(decimal.RequireFromString(s)) }
	at, zone := time.Date(2026, 11, 24, 8, 0, 0, 1_000_500, time.UTC), time.FixedZone("BKK", 7*3600)
	kept := at.Truncate(time.Microsecond).In(zone)
	require.True(t, sameDeal(
		dbsqlc.DealUpsertParams{DealValue: number("1000.10"), PublishedAt: &at},
		dbsqlc.DealUpsertParams{DealValue: number("1000.1"), PublishedAt: &kept},
	))
}
