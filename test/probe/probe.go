// Package probe is the service that the end-to-end tests and the fault tests talk
// to. It prints what its handlers see, a JSON object a line: an [Event] each.
package probe

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/router/middleware/msgpack"
	"github.com/boreas-ws/boreas/pkg/router/middleware/protobuf"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// Options are the settings of an instance; package cluster passes them as flags.
type Options struct {
	Redis          string        `help:"The Redis of the backplane." required:""`
	NodeID         string        `help:"The node's id."`
	Service        string        `help:"The service's name." default:"probe"`
	Prefix         string        `help:"What every route starts with."`
	Gateways       []string      `help:"The gateway names to announce to; none: all."`
	OnInstanceLoss string        `help:"close or repin." enum:"close,repin" default:"close"`
	DrainTimeout   time.Duration `help:"How long a drain may take." default:"10s"`
	Push           time.Duration `help:"Push numbers to the group and the user 'crowd', one each at this pace; 0: never."`
	BackplaneKey   string        `help:"Signs what nodes send to each other." env:"BOREAS_BACKPLANE_KEY"`
}

// Event is a line of output.
type Event struct {
	Event    string `json:"event"` // serving, open, close, violation or unreached
	Socket   string `json:"socket,omitempty"`
	Status   int    `json:"status,omitempty"`
	Reason   string `json:"reason,omitempty"` // of a close, or what is wrong
	Source   string `json:"source,omitempty"` // of a close: client or server
	Instance string `json:"instance,omitempty"`
	From     string `json:"from,omitempty"`   // of unreached: who pushed
	Number   int    `json:"number,omitempty"` // of unreached: which push
	Damage          // of a violation: what is wrong with the numbers of the client's messages
}

// Run serves until ctx ends, and then drains.
func Run(ctx context.Context, o Options, out io.Writer, log *slog.Logger) error {
	log = log.With("node", o.NodeID)
	bp, err := backplane.Open(ctx, o.Redis, backplane.Config{NodeID: wire.NodeID(o.NodeID), Key: []byte(o.BackplaneKey), Logger: log})
	if err != nil {
		return err
	}
	cfg := service.Config{Logger: log, DrainTimeout: o.DrainTimeout, Gateways: o.Gateways}
	if o.OnInstanceLoss == "repin" {
		cfg.OnInstanceLoss = registry.PolicyRepin
	}
	p := &probe{out: stdjson.NewEncoder(out), node: o.NodeID}
	s := service.New(o.Service, bp, p.router(o.Prefix), cfg)
	if err := s.Start(ctx); err != nil {
		return err
	}
	p.print(Event{Event: "serving", Instance: o.NodeID})
	if o.Push > 0 {
		for kind, to := range map[string]router.Target{"group": router.ToGroup("crowd"), "user": router.ToUser("crowd")} {
			go p.pusher(ctx, push.Of(bp), o.NodeID+" to the "+kind, to, o.Push)
		}
	}
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.DrainTimeout+5*time.Second)
	defer cancel()
	return errors.Join(s.Stop(ending), bp.Close(ending))
}

type probe struct {
	node string

	mu  sync.Mutex
	out *stdjson.Encoder // guarded by mu
}

func (p *probe) print(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(e)
}

func (p *probe) router(prefix string) *router.Router {
	r := router.NewRouter()
	r.Use(json.Middleware())
	r.Use(msgpack.Middleware())
	r.Use(protobuf.Middleware())
	r.UseOpen(p.open)
	r.UseClose(p.closed)
	r.PublicBind(prefix+"/echo", func(ctx *router.Context) { send(ctx, stdjson.RawMessage(ctx.Data())) })
	r.PublicBind(prefix+"/upper", upper)
	r.PublicBind(prefix+"/whoami", p.whoami)
	r.PublicBind(prefix+"/info", info)
	r.PublicBind(prefix+"/sleep", sleep)
	r.PublicBind(prefix+"/ask", ask)
	r.PublicBind(prefix+"/flood", flood)
	r.PublicBind(prefix+"/panic", func(*router.Context) { panic("probe") })
	r.PublicBind(prefix+"/close", closeSocket)
	r.PublicBind(prefix+"/item/:id", func(ctx *router.Context) { send(ctx, map[string]string{"id": ctx.Params().Get("id")}) })
	r.PublicBind(prefix+"/count", count)
	r.PublicBind(prefix+"/member", member)
	r.PublicBind(prefix+"/seq", p.sequence)
	r.Bind(prefix+"/secret", func(ctx *router.Context) { send(ctx, "secret") })
	r.Bind(prefix+"/item/private", func(ctx *router.Context) { send(ctx, "secret") })
	return r
}

func send(ctx *router.Context, v any) {
	if err := ctx.Send(v); err != nil {
		ctx.Error = err
	}
}

func (p *probe) open(ctx *router.Context) {
	p.print(Event{Event: "open", Socket: ctx.SocketID(), Instance: p.node})
	ctx.Next()
}

func (p *probe) closed(ctx *router.Context) {
	status, reason, source := ctx.CloseStatus()
	by := "client"
	if source == router.ServerCloseSource {
		by = "server"
	}
	p.print(Event{Event: "close", Socket: ctx.SocketID(), Instance: p.node, Status: int(status), Reason: reason, Source: by})
	ctx.Next()
}

// upper works in every encoding, because it decodes and encodes.
func upper(ctx *router.Context) {
	if ctx.Subprotocol() == "velaros-protobuf" {
		in := &wrapperspb.StringValue{}
		if err := ctx.Unmarshal(in); err != nil {
			ctx.Error = err
			return
		}
		send(ctx, wrapperspb.String(strings.ToUpper(in.GetValue())))
		return
	}
	var in struct {
		Text string `json:"text" msgpack:"text"`
	}
	if err := ctx.Unmarshal(&in); err != nil {
		ctx.Error = err
		return
	}
	send(ctx, map[string]string{"text": strings.ToUpper(in.Text)})
}

func (p *probe) whoami(ctx *router.Context) {
	send(ctx, map[string]string{"socket": ctx.SocketID(), "gateway": ctx.Gateway(), "instance": p.node})
}

func info(ctx *router.Context) {
	send(ctx, map[string]any{
		"remote": ctx.RemoteAddr(), "agent": ctx.Headers().Get("User-Agent"), "cookie": ctx.Headers().Get("Cookie"),
		"protocol": ctx.Headers().Get("Sec-WebSocket-Protocol"), "query": ctx.Query().Get("q"), "user": ctx.Identity().User,
	})
}

// sleep holds its turn for the given milliseconds, or until the socket ends.
func sleep(ctx *router.Context) {
	var in struct {
		MS int `json:"ms"`
	}
	if err := ctx.Unmarshal(&in); err != nil {
		ctx.Error = err
		return
	}
	select {
	case <-time.After(time.Duration(in.MS) * time.Millisecond):
		send(ctx, map[string]int{"slept": in.MS})
	case <-ctx.Done():
	}
}

// ask asks the client a question and tells it its answer.
func ask(ctx *router.Context) {
	var answer struct {
		Answer string `json:"answer"`
	}
	if err := ctx.RequestIntoWithTimeout(map[string]string{"question": "ready?"}, &answer, 10*time.Second); err != nil {
		ctx.Error = err
		return
	}
	send(ctx, map[string]string{"you": answer.Answer})
}

// flood sends n messages of size bytes.
func flood(ctx *router.Context) {
	var in struct{ N, Size int }
	if err := ctx.Unmarshal(&in); err != nil {
		ctx.Error = err
		return
	}
	fill := strings.Repeat("x", in.Size)
	for i := range in.N {
		if err := ctx.Send(map[string]any{"i": i, "fill": fill}); err != nil {
			return // the socket is gone
		}
	}
}

func closeSocket(ctx *router.Context) {
	var in struct {
		Status int    `json:"status"`
		Reason string `json:"reason"`
	}
	if err := ctx.Unmarshal(&in); err != nil {
		ctx.Error = err
		return
	}
	ctx.CloseWithStatus(router.Status(in.Status), in.Reason)
}

// count counts the messages of the socket in its storage.
func count(ctx *router.Context) {
	n := 0
	if v, ok := ctx.GetFromSocket("n"); ok {
		n = v.(int)
	}
	n++
	ctx.SetOnSocket("n", n)
	send(ctx, map[string]int{"n": n})
}

// sequence checks that the socket's messages are numbered 1, 2, 3..., and answers
// each with the number of what it has sent itself so far. Every third message is
// followed by one more that nobody asked for.
func (p *probe) sequence(ctx *router.Context) {
	var in struct {
		N int `json:"n"`
	}
	if err := ctx.Unmarshal(&in); err != nil {
		ctx.Error = err
		return
	}
	seq := &counters{}
	if v, ok := ctx.GetFromSocket("seq"); ok {
		seq = v.(*counters)
	} else {
		ctx.SetOnSocket("seq", seq)
	}
	last := seq.received.Last
	if damage := seq.received.Take(in.N); damage != (Damage{}) {
		p.print(Event{Event: "violation", Socket: ctx.SocketID(), Instance: p.node, Damage: damage,
			Reason: fmt.Sprintf("received number %d after %d", in.N, last)})
	}
	seq.sent++
	send(ctx, numbered{N: in.N, S: seq.sent, By: p.node})
	if in.N%3 == 0 {
		seq.sent++
		send(ctx, numbered{S: seq.sent, By: p.node})
	}
}

// numbered is what sequence sends.
type numbered struct {
	N  int    `json:"n,omitempty"` // the number of the message that it answers
	S  int    `json:"s"`
	By string `json:"by"` // the instance's node
}

// counters are the numbers of one socket. Its turn guards them.
type counters struct {
	received Sequence
	sent     int
}
