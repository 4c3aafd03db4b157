// Package chat is the service that `boreas dev` runs: a few routes that show what a
// handler can do, and a page that talks to them.
//
//	/echo          answers with the data that it was sent
//	/whoami        tells the socket, the gateway's node and the instance's
//	/chat/join     keeps a username and a room on the socket
//	/chat/message  takes a text from a socket that has joined
//	/counter/add   adds 1, or as many as are given, to a counter on the socket
//	/health        is private: no client can reach it
//
// Clients may speak JSON, MessagePack or Protobuf; the data of a Protobuf message is a
// google.protobuf.Struct.
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
	keyMember  = "member"
	keyCounter = "counter"
)

// member is who a socket speaks for, and where.
type member struct{ username, room string }

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

func echo(ctx *router.Context) { send(ctx, router.Raw(ctx.Data())) }

func whoami(ctx *router.Context) {
	answer(ctx, map[string]any{
		"socket":   ctx.SocketID(),
		"gateway":  ctx.GatewayNode(),
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
	if !isName(in.Username) || !isName(in.Room) {
		ctx.Error = router.NewError(wire.CodeValidation, fmt.Sprintf("username and room must both have 1 to %d bytes", maxName))
		return
	}
	ctx.SetOnSocket(keyMember, member{in.Username, in.Room})
	answer(ctx, map[string]any{"status": "joined", "room": in.Room})
}

func isName(s string) bool { return strings.TrimSpace(s) != "" && len(s) <= maxName }

func message(ctx *router.Context) {
	if _, joined := ctx.GetFromSocket(keyMember); !joined {
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
	answer(ctx, map[string]any{"status": "sent"})
}

func add(ctx *router.Context) {
	in := struct {
		By int `json:"by" msgpack:"by"`
	}{By: 1}
	if !read(ctx, &in) {
		return
	}
	value := in.By
	if before, ok := ctx.GetFromSocket(keyCounter); ok {
		value += before.(int)
	}
	ctx.SetOnSocket(keyCounter, value)
	answer(ctx, map[string]any{"value": value})
}

func health(ctx *router.Context) { answer(ctx, map[string]any{"status": "ok"}) }
