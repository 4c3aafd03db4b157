package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// NodeID names a process on the backplane. It is a slug: 1 to 64 characters of
// a-z, 0-9, "-" and ".", starting and ending with a letter or digit.
type NodeID string

// Epoch tells the starts of one node apart. A later start has a larger epoch.
type Epoch uint64

// Incarnation is one start of one node: what a link connects and a pin names.
type Incarnation struct {
	Node  NodeID
	Epoch Epoch
}

// SocketID is a client's logical connection as handlers see it.
type SocketID string

// StreamID names one stream among all that its opener's incarnation opened.
type StreamID uint64

// MaxSlug is the longest slug, in bytes.
const MaxSlug = 64

// epochCounterBits is the room that an epoch leaves for the counter below its
// milliseconds.
const epochCounterBits = 10

var epochCounter atomic.Uint64

// NewEpoch makes an epoch from the start time in milliseconds and a counter, so
// that two backplanes opened by one process within a millisecond differ.
func NewEpoch(start time.Time) Epoch {
	n := epochCounter.Add(1) & (1<<epochCounterBits - 1)
	return Epoch(uint64(start.UnixMilli())<<epochCounterBits | n)
}

// String returns "node#epoch" with the epoch in base 36: the form used in Redis
// keys and logs.
func (i Incarnation) String() string {
	return string(i.Node) + "#" + strconv.FormatUint(uint64(i.Epoch), 36)
}

// IsZero reports whether i names nobody.
func (i Incarnation) IsZero() bool { return i == Incarnation{} }

// ParseIncarnation reads what [Incarnation.String] wrote.
func ParseIncarnation(s string) (Incarnation, error) {
	node, epoch, ok := strings.Cut(s, "#")
	if !ok {
		return Incarnation{}, fmt.Errorf("incarnation %q: no '#'", s)
	}
	if err := ValidateSlug(node); err != nil {
		return Incarnation{}, fmt.Errorf("incarnation %q: %w", s, err)
	}
	e, err := strconv.ParseUint(epoch, 36, 64)
	if err != nil {
		return Incarnation{}, fmt.Errorf("incarnation %q: epoch: %w", s, err)
	}
	return Incarnation{Node: NodeID(node), Epoch: Epoch(e)}, nil
}

// ValidateSlug reports why s cannot be a node id, a service name, a gateway name
// or a namespace; nil if it can.
func ValidateSlug(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	if len(s) > MaxSlug {
		return fmt.Errorf("is %d bytes long; the limit is %d", len(s), MaxSlug)
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		edge := i == 0 || i == len(s)-1
		if !alnum && (edge || c != '-' && c != '.') {
			return fmt.Errorf("%q has %q at byte %d; allowed are a-z, 0-9 and, inside, '-' and '.'", s, c, i)
		}
	}
	return nil
}
