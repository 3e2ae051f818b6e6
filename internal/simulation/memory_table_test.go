package simulation

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// table holds the committed rows of a table.
type table[K comparable, R any] struct{ rows map[K]R }

func (t *table[K, R]) seed(key K, row R) {
	if t.rows == nil {
		t.rows = map[K]R{}
	}
	t.rows[key] = row
}

// overlay is what tx wrote into the table. No statement of the protocol deletes.
func (t *table[K, R]) overlay(tx *memoryTx) map[K]R {
	o, _ := tx.writes[t].(map[K]R)
	return o
}

// get is the row as tx sees it.
func (t *table[K, R]) get(tx *memoryTx, key K) (R, bool) {
	if r, ok := t.overlay(tx)[key]; ok {
		return r, true
	}
	r, ok := t.rows[key]
	return r, ok
}

type rowLock[K comparable, R any] struct {
	table *table[K, R]
	key   K
}

// lock takes the row's lock, whether the row is there or not.
func (t *table[K, R]) lock(tx *memoryTx, key K) { tx.lock(rowLock[K, R]{t, key}) }

func (t *table[K, R]) put(tx *memoryTx, key K, row R) {
	t.lock(tx, key)
	o := t.overlay(tx)
	if o == nil {
		o = map[K]R{}
		tx.writes[t] = o
		tx.ends = append(tx.ends, func() { t.commit(o) })
	}
	o[key] = row
}

func (t *table[K, R]) commit(overlay map[K]R) {
	for key, row := range overlay {
		t.seed(key, row)
	}
}

// update changes the row in place, when there is one that fits.
func (t *table[K, R]) update(tx *memoryTx, key K, fits func(R) bool, change func(*R)) (R, bool) {
	row, ok := t.get(tx, key)
	if !ok || !fits(row) {
		var none R
		return none, false
	}
	change(&row)
	t.put(tx, key, row)
	return row, true
}

// each goes through the rows that tx sees, in the order of the keys.
func (t *table[K, R]) each(tx *memoryTx, order func(K, K) int) iter.Seq2[K, R] {
	return func(yield func(K, R) bool) {
		seen := t.rows
		if o := t.overlay(tx); len(o) > 0 {
			seen = maps.Clone(o)
			for key, row := range t.rows {
				if _, ok := o[key]; !ok {
					seen[key] = row
				}
			}
		}
		for _, key := range slices.SortedFunc(maps.Keys(seen), order) {
			if !yield(key, seen[key]) {
				return
			}
		}
	}
}

// serial goes through a table with an identity.
func serial[R any](t *table[int64, R], tx *memoryTx) iter.Seq2[int64, R] {
	return t.each(tx, cmp.Compare[int64])
}

// any row fits.
func always[R any](R) bool { return true }
