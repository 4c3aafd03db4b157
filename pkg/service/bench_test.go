package service

import (
	"context"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// muted is a stream that sends nothing.
type muted struct{ tape }

func (*muted) SendData(context.Context, wire.MessageType, string, []byte) error { return nil }
func (*muted) SendCredit(uint32) error                                          { return nil }

// BenchmarkSocket is what this package adds to one message and its reply: credit
// both ways, hooks not set.
func BenchmarkSocket(b *testing.B) {
	g := newStage(registry.PolicyClose)
	g.socket.stream, g.socket.handler = &muted{}, inert{g.actor}
	frame := wire.Data{Type: wire.Text, Payload: make([]byte, 128)}.Append(nil)
	grant := wire.Credit{Bytes: 128 + wire.DataOverhead}.Append(nil)
	reply := router.Outgoing{Type: wire.Text, Data: make([]byte, 128)}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		g.Frame(wire.KindData, frame)
		g.Consumed(128)
		if err := g.Send(ctx, reply); err != nil {
			b.Fatal(err)
		}
		g.Frame(wire.KindCredit, grant)
	}
}

// inert is a handler that does nothing with messages.
type inert struct{ *actor }

func (inert) Deliver(wire.MessageType, []byte) {}

// echoes counts replies, for a benchmark.
type echoes struct{ replies, credit chan int }

func (e *echoes) Frame(kind wire.Kind, body []byte) {
	switch kind {
	case wire.KindData:
		e.replies <- len(body)
	case wire.KindCredit:
		c, _ := wire.ParseCredit(body)
		e.credit <- int(c.Bytes)
	}
}

func (*echoes) Reset(link.Reset) {}

// BenchmarkEcho is a round trip of 128 bytes of JSON from one end of a stream through
// a router's handler and back, 16 at a time, without Redis.
func BenchmarkEcho(b *testing.B) {
	srv := redistest.Start(b, redistest.Config{})
	bp := openBackplane(b, srv.URL(), "both")
	start(b, bp, newRouter(), Config{})
	const ahead = 16
	e := &echoes{replies: make(chan int, ahead), credit: make(chan int, 16)}
	stream := bp.OpenStream(bp.Self(), e)
	open := wire.Open{Service: "svc", Socket: "s", Gateway: "public", Subprotocol: "velaros-json", Credit: wire.DefaultWindow}
	if err := stream.SendOpen(b.Context(), open); err != nil {
		b.Fatal(err)
	}
	message := []byte(`{"path":"/echo","id":"1234567","data":{"text":"` + strings.Repeat("x", 76) + `"}}`)
	owed := 0
	ctx := b.Context()
	b.ReportAllocs()
	sent, got := 0, 0
	for b.Loop() {
		if sent-got == ahead {
			owed += <-e.replies + wire.DataOverhead
			got++
		}
		if owed > wire.DefaultWindow/2 {
			if err := stream.SendCredit(uint32(owed)); err != nil {
				b.Fatal(err)
			}
			owed = 0
		}
		// Credit of the service comes long before the window is used up.
		if err := stream.SendData(ctx, wire.Text, "", message); err != nil {
			b.Fatal(err)
		}
		sent++
		select {
		case <-e.credit:
		default:
		}
	}
	for ; got < sent; got++ {
		<-e.replies
	}
}
