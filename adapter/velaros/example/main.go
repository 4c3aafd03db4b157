// Command example runs one instance of a chat service whose router is Velaros's.
// With a Redis, in the repository's root and in adapter/velaros:
//
//	go run ./cmd/boreas gateway --listen localhost:8080 --redis redis://localhost:6379
//	go run ./example --redis redis://localhost:6379
//
// Then, on ws://localhost:8080/ws:
//
//	client -> {"path":"/chat/join","id":"1","data":{"username":"alice","room":"general"}}
//	server -> {"id":"1","data":{"room":"general","status":"joined"}}
//	client -> {"path":"/chat/message","id":"2","data":{"text":"hi"}}
//	server -> {"id":"2","data":{"status":"sent"}}
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/RobertWHurst/velaros"
	"github.com/RobertWHurst/velaros/middleware/json"

	velarosadapter "github.com/boreas-ws/boreas/adapter/velaros"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/service"
)

func main() {
	redis := flag.String("redis", "redis://localhost:6379", "Redis of the backplane")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, *redis); err != nil {
		slog.Error("chat ended", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then drains.
func run(ctx context.Context, redis string) error {
	bp, err := backplane.Open(ctx, redis, backplane.Config{Logger: slog.Default()})
	if err != nil {
		return err
	}
	err = service.New("chat", bp, velarosadapter.Handler(newRouter()), service.Config{Logger: slog.Default()}).Run(ctx)
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return errors.Join(err, bp.Close(ending))
}

// newRouter is what would serve a single process, but for PublicBind: that is what
// gateways get to know.
func newRouter() *velaros.Router {
	r := velaros.NewRouter()
	r.Use(json.Middleware())
	r.UseClose(leave)
	r.PublicBind("/chat/join", join)
	r.PublicBind("/chat/message", message)
	r.Bind("/health", health) // private
	return r
}

func join(ctx *velaros.Context) {
	var in struct {
		Username string `json:"username"`
		Room     string `json:"room"`
	}
	if err := ctx.ReceiveInto(&in); err != nil || in.Username == "" || in.Room == "" {
		send(ctx, json.Error("a username and a room are needed"))
		return
	}
	ctx.SetOnSocket("username", in.Username)
	ctx.SetOnSocket("room", in.Room)
	send(ctx, map[string]string{"status": "joined", "room": in.Room})
}

func message(ctx *velaros.Context) {
	username, joined := ctx.GetFromSocket("username")
	if !joined {
		send(ctx, json.Error("join a room first"))
		return
	}
	var in struct {
		Text string `json:"text"`
	}
	if err := ctx.ReceiveInto(&in); err != nil || in.Text == "" {
		send(ctx, json.Error("a text is needed"))
		return
	}
	slog.Info("message", "from", username, "bytes", len(in.Text))
	send(ctx, map[string]string{"status": "sent"})
}

func leave(ctx *velaros.Context) {
	if username, joined := ctx.GetFromSocket("username"); joined {
		slog.Info("left", "who", username)
	}
}

func health(ctx *velaros.Context) { send(ctx, map[string]string{"status": "ok"}) }

// send answers. An error means that the client is gone.
func send(ctx *velaros.Context, data any) {
	if err := ctx.Send(data); err != nil {
		slog.Debug("not sent", "error", err)
	}
}
