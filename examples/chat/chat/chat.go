// Package chat is the service that `boreas dev` runs: a few routes that show what a
// handler can do, and a page that talks to them.
//
//	/echo          answers with the data that it was sent
//	/whoami        tells the socket, the client's address, the gateway's node and the instance's
//	/chat/join     puts the socket into a room, under a username
//	/chat/message  sends a text to all others in the room
//	/chat/notify   sends a text to all sockets of a user, in whatever room
//	/counter/add   adds 1, or as many as are given, to a counter on the socket
//	/health        is private: no client can reach it
//
// A room is a group, so that its messages reach everyone in it, whatever gateway and
// instance they are on. What clients are pushed:
//
//	/chat/presence  who is in the room, and then who joins and who leaves
//	/chat/message   somebody in the room has said something
//	/notify         somebody has a message for the user
//
// Clients may speak JSON, MessagePack or Protobuf; the data of a Protobuf message is a
// google.protobuf.Struct, except that of /chat/presence, which is JSON.
//
// The router keeps nothing outside the sockets, so that any number of instances may
// serve it.
package chat

import (
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
	"github.com/boreas-ws/boreas/pkg/router/middleware/msgpack"
	"github.com/boreas-ws/boreas/pkg/router/middleware/protobuf"
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
	r.PublicBind("/chat/notify", notify)
	r.PublicBind("/counter/add", add)
	r.Bind("/health", health)
	return r
}

func echo(ctx *router.Context) { send(ctx, router.Raw(ctx.Data())) }

func whoami(ctx *router.Context) {
	answer(ctx, map[string]any{
		"socket":   ctx.SocketID(),
		"client":   ctx.RemoteAddr(),
		"gateway":  ctx.GatewayNode(),
		"instance": ctx.Instance(),
	})
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
