package router

import "github.com/boreas-ws/boreas/pkg/envelope"

// queued is a message of the client that nobody has handled yet.
type queued struct {
	data        []byte
	messageType MessageType
	opening     bool // no message: the UseOpen handlers have to run
	peeked      *peeked
}

type peeked struct {
	head envelope.Head
	err  error
}

// peek returns what the envelope says, nil if it is not valid. The result is kept.
func (m *queued) peek(e envelope.Encoding) *envelope.Head {
	if m.opening {
		return nil
	}
	if m.peeked == nil {
		p := &peeked{}
		p.head, p.err = e.Peek(m.data)
		m.peeked = p
	}
	if m.peeked.err != nil {
		return nil
	}
	return &m.peeked.head
}

// queue is first in, first out. What bounds it is the credit of the transport.
type queue struct {
	items []queued
	head  int
}

// roomKept is how many places an empty queue keeps for the next messages.
const roomKept = 64

func (q *queue) len() int { return len(q.items) - q.head }

func (q *queue) push(m queued) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, m)
}

func (q *queue) pop() queued {
	m := q.items[q.head]
	q.items[q.head] = queued{}
	q.head++
	if q.len() == 0 {
		q.drop()
	}
	return m
}

func (q *queue) drop() {
	clear(q.items)
	q.items, q.head = q.items[:0], 0
	if cap(q.items) > roomKept {
		q.items = nil
	}
}

// prepend puts messages before all others.
func (q *queue) prepend(messages []queued) {
	if len(messages) > 0 {
		q.items, q.head = append(append([]queued{}, messages...), q.items[q.head:]...), 0
	}
}

// extract moves the messages that fit to another list, in their order.
func (q *queue) extract(fits func(*queued) bool, to *[]queued) {
	kept := q.items[:q.head]
	for i := q.head; i < len(q.items); i++ {
		if m := &q.items[i]; fits(m) {
			*to = append(*to, *m)
		} else {
			kept = append(kept, *m)
		}
	}
	clear(q.items[len(kept):])
	q.items = kept
	if q.len() == 0 {
		q.drop()
	}
}
