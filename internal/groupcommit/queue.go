package groupcommit

// wait is one caller's item and the channel of its result. It is its own list
// element, so that queueing allocates nothing.
type wait[T, R any] struct {
	item T
	size int
	done chan Result[R] // holds one: a writer never waits for a caller
	next *wait[T, R]
}

// queue is a list of waits, first in, first out.
type queue[T, R any] struct {
	head, tail *wait[T, R]
	length     int
}

func (q *queue[T, R]) push(w *wait[T, R]) {
	w.next = nil
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
	q.length++
}

func (q *queue[T, R]) pop() *wait[T, R] {
	w := q.head
	q.head = w.next
	if q.head == nil {
		q.tail = nil
	}
	w.next = nil
	q.length--
	return w
}

// take moves the longest beginning of q that stays within both limits. The
// first item always goes, so one above maxBytes goes alone. 0 is no byte limit.
func (q *queue[T, R]) take(maxItems, maxBytes int) queue[T, R] {
	var batch queue[T, R]
	bytes := 0
	for q.head != nil && batch.length < maxItems {
		bytes += q.head.size
		if maxBytes > 0 && bytes > maxBytes && batch.length > 0 {
			break
		}
		batch.push(q.pop())
	}
	return batch
}
