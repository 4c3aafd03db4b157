// Command probe is the service that the end-to-end tests talk to. It prints what
// its open and close handlers see, a JSON object a line.
package main

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/router/middleware/msgpack"
	"github.com/boreas-ws/boreas/pkg/router/middleware/protobuf"
	"github.com/boreas-ws/boreas/pkg/service"
	"github.com/boreas-ws/boreas/pkg/wire"
)

type options struct {
	redis, node, service, prefix, gateways, loss string
	drain                                        time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.redis, "redis", "", "the Redis of the backplane")
	flag.StringVar(&o.node, "node-id", "", "the node's id")
	flag.StringVar(&o.service, "service", "probe", "the service's name")
	flag.StringVar(&o.prefix, "prefix", "", "what every route starts with")
	flag.StringVar(&o.gateways, "gateways", "", "the gateway names to announce to, comma-separated; empty: all")
	flag.StringVar(&o.loss, "on-instance-loss", "close", "close or repin")
	flag.DurationVar(&o.drain, "drain-timeout", 10*time.Second, "how long a drain may take")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, o); err != nil {
		slog.Error("probe ended", "err", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", o.node)
	bp, err := backplane.Open(ctx, o.redis, backplane.Config{NodeID: wire.NodeID(o.node), Logger: log})
	if err != nil {
		return err
	}
	cfg := service.Config{Logger: log, DrainTimeout: o.drain}
	if o.loss == "repin" {
		cfg.OnInstanceLoss = registry.PolicyRepin
	}
	if o.gateways != "" {
		cfg.Gateways = strings.Split(o.gateways, ",")
	}
	p := &probe{out: stdjson.NewEncoder(os.Stdout), node: o.node}
	s := service.New(o.service, bp, p.router(o.prefix), cfg)
	if err := s.Start(ctx); err != nil {
		return err
	}
	p.print(event{Event: "serving", Instance: o.node})
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.drain+5*time.Second)
	defer cancel()
	return errors.Join(s.Stop(ending), bp.Close(ending))
}

// event is one line of output; package cluster reads it.
type event struct {
	Event    string `json:"event"`
	Socket   string `json:"socket,omitempty"`
	Path     string `json:"path,omitempty"`
	Status   int    `json:"status,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Source   string `json:"source,omitempty"`
	Instance string `json:"instance,omitempty"`
}

type probe struct {
	node string

	mu  sync.Mutex
	out *stdjson.Encoder // guarded by mu
}

func (p *probe) print(e event) {
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
	p.print(event{Event: "open", Socket: ctx.SocketID(), Instance: p.node})
	ctx.Next()
}

func (p *probe) closed(ctx *router.Context) {
	status, reason, source := ctx.CloseStatus()
	by := "client"
	if source == router.ServerCloseSource {
		by = "server"
	}
	p.print(event{Event: "close", Socket: ctx.SocketID(), Instance: p.node, Status: int(status), Reason: reason, Source: by})
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
		"protocol": ctx.Headers().Get("Sec-WebSocket-Protocol"), "query": ctx.Query().Get("q"),
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
