// Package chat is the service that `boreas dev` runs: a few routes that show what a
// handler can do, and a page that talks to them.
//
//	/echo          answers with the data that it was sent
//	/whoami        tells the socket, the gateway's name and the instance
//	/chat/join     keeps a username and a room on the socket
//	/chat/message  takes a text from a socket that has joined
//	/counter/add   adds to a counter on the socket
//	/health        is private: no client can reach it
//
// The router keeps nothing outside the sockets, so that any number of instances may
// serve it.
package chat

import (
	"fmt"
	"strings"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/router/middleware/msgpack"
	"github.com/boreas-ws/boreas/pkg/router/middleware/protobuf"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// The limits on what a client may send, in bytes.
const (
	maxName = 64
	maxText = 4096
)

// The keys of what is stored on a socket.
const (
	keyUser    = "username"
	keyRoom    = "room"
	keyCounter = "counter"
)

// codeNotJoined is the error code of a message from a socket that has not joined.
const codeNotJoined wire.ErrorCode = "not_joined"

// Router returns the routes of the service.
func Router() *router.Router {
	r := router.NewRouter()
	r.Use(json.Middleware())
	r.Use(msgpack.Middleware())
	r.Use(protobuf.Middleware())
	r.PublicBind("/echo", echo)
	r.PublicBind("/whoami", whoami)
	r.PublicBind("/chat/join", join)
	r.PublicBind("/chat/message", message)
	r.PublicBind("/counter/add", add)
	r.Bind("/health", health)
	return r
}

func echo(ctx *router.Context) { answer(ctx, router.Raw(ctx.Data())) }

func whoami(ctx *router.Context) {
	answer(ctx, map[string]string{
		"socket":   ctx.SocketID(),
		"gateway":  ctx.Gateway(),
		"instance": ctx.Instance(),
	})
}

func join(ctx *router.Context) {
	var in struct {
		Username string `json:"username" msgpack:"username"`
		Room     string `json:"room" msgpack:"room"`
	}
	if !read(ctx, &in) {
		return
	}
	for name, value := range map[string]string{"username": in.Username, "room": in.Room} {
		if strings.TrimSpace(value) == "" || len(value) > maxName {
			ctx.Error = router.NewError(wire.CodeValidation, fmt.Sprintf("%s must have 1 to %d bytes", name, maxName))
			return
		}
	}
	ctx.SetOnSocket(keyUser, in.Username)
	ctx.SetOnSocket(keyRoom, in.Room)
	answer(ctx, map[string]string{"status": "joined", "room": in.Room})
}

func message(ctx *router.Context) {
	if _, joined := ctx.GetFromSocket(keyRoom); !joined {
		ctx.Error = router.NewError(codeNotJoined, "this socket is in no room: send /chat/join with a username and a room first")
		return
	}
	var in struct {
		Text string `json:"text" msgpack:"text"`
	}
	if !read(ctx, &in) {
		return
	}
	if in.Text == "" || len(in.Text) > maxText {
		ctx.Error = router.NewError(wire.CodeValidation, fmt.Sprintf("text must have 1 to %d bytes", maxText))
		return
	}
	answer(ctx, map[string]string{"status": "sent"})
}

func add(ctx *router.Context) {
	var in struct {
		By int `json:"by" msgpack:"by"`
	}
	if !read(ctx, &in) {
		return
	}
	value := in.By
	if before, ok := ctx.GetFromSocket(keyCounter); ok {
		value += before.(int)
	}
	ctx.SetOnSocket(keyCounter, value)
	answer(ctx, map[string]int{"value": value})
}

func health(ctx *router.Context) { answer(ctx, map[string]string{"status": "ok"}) }

// read decodes the data of the message, and tells the client if it does not fit.
func read(ctx *router.Context, into any) bool {
	if err := ctx.Unmarshal(into); err != nil {
		ctx.Error = router.NewError(wire.CodeValidation, "the data does not fit "+ctx.Path()+": "+err.Error())
		return false
	}
	return true
}

// answer sends the reply. An error that remains is reported by the router.
func answer(ctx *router.Context, data any) {
	if err := ctx.Send(data); err != nil {
		ctx.Error = err
	}
}
