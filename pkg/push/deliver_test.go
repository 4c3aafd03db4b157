package push

import (
	"bytes"
	"testing"

	"github.com/boreas-ws/boreas/pkg/envelope"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// taker is a connection that takes everything.
type taker envelope.Encoding

func (taker) SocketID() wire.SocketID        { return "s.gw-a" }
func (taker) User() string                   { return "" }
func (t taker) Encoding() envelope.Encoding  { return envelope.Encoding(t) }
func (taker) Push(*Delivery, []byte) Outcome { return Delivered }

// TestManySocketsCostNoMemory: a push to a thousand sockets of each encoding allocates
// what a push to one of each does.
func TestManySocketsCostNoMemory(t *testing.T) {
	text := append(append([]byte(`"`), bytes.Repeat([]byte("x"), 10<<10)...), '"')
	allocations := func(sockets int) float64 {
		var receivers []Receiver
		for range sockets {
			for e := range taker(3) {
				receivers = append(receivers, e)
			}
		}
		h := &Hub{}
		return testing.AllocsPerRun(10, func() {
			d := h.localDelivery("/p", text)
			for _, r := range receivers {
				d.to(r)
			}
		})
	}
	if one, many := allocations(1), allocations(1000); many > one+100 { // what others allocate meanwhile
		t.Errorf("%v allocations for 3 sockets, %v for 3000", one, many)
	}
}
