package chat

import (
	"fmt"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// member is who a socket speaks for, and where.
type member struct{ username, room string }

// codeNotJoined is the error code of a message from a socket that has not joined.
const codeNotJoined wire.ErrorCode = "not_joined"

// pushTimeout is how long a message may wait for a gateway that does not answer.
const pushTimeout = 2 * time.Second

// groupOf names the group of a room.
func groupOf(room string) string { return "chat/" + room }

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
	now := member{in.Username, in.Room}
	if before, ok := joined(ctx); ok && before != now {
		if err := leave(ctx, before); err != nil {
			ctx.Error = err
			return
		}
	}
	if err := enter(ctx, now); err != nil {
		ctx.Error = err
		return
	}
	answer(ctx, map[string]any{"status": "joined", "room": now.room})
}

func isName(s string) bool { return strings.TrimSpace(s) != "" && len(s) <= maxName }

// enter makes the socket a member of a room that is told who is in it. Whom the gateway has authenticated stays
// the user that it says.
func enter(ctx *router.Context, m member) error {
	if ctx.Identity().User == "" {
		if err := ctx.SetUser(m.username); err != nil {
			return err
		}
	}
	if err := ctx.JoinGroup(groupOf(m.room)); err != nil {
		return err
	}
	if err := ctx.WatchGroup(groupOf(m.room), "/chat/presence"); err != nil {
		return err
	}
	ctx.SetOnSocket(keyMember, m)
	return nil
}

// leave ends the socket's membership of a room.
func leave(ctx *router.Context, m member) error {
	if err := ctx.UnwatchGroup(groupOf(m.room)); err != nil {
		return err
	}
	return ctx.LeaveGroup(groupOf(m.room))
}

func message(ctx *router.Context) {
	m, ok := mustHaveJoined(ctx)
	if !ok {
		return
	}
	text, ok := readText(ctx)
	if !ok {
		return
	}
	data := m.data(ctx)
	data["text"], data["gateway"], data["instance"] = text, ctx.GatewayNode(), ctx.Instance()
	if err := tell(ctx, router.ToGroup(groupOf(m.room)), "/chat/message", data); err != nil {
		ctx.Error = err
		return
	}
	answer(ctx, map[string]any{"status": "sent"})
}

// notify sends a text to a user, and answers with how many sockets it reached.
func notify(ctx *router.Context) {
	m, ok := mustHaveJoined(ctx)
	if !ok {
		return
	}
	var in struct {
		User string `json:"user" msgpack:"user"`
		Text string `json:"text" msgpack:"text"`
	}
	if !read(ctx, &in) {
		return
	}
	if !isName(in.User) || in.Text == "" || len(in.Text) > maxText {
		ctx.Error = router.NewError(wire.CodeValidation, fmt.Sprintf("user must have 1 to %d bytes, and text 1 to %d", maxName, maxText))
		return
	}
	data, err := pushed(map[string]any{"from": m.username, "text": in.Text})
	if err != nil {
		ctx.Error = err
		return
	}
	result, err := ctx.Push(router.Push{To: router.ToUser(in.User), Path: "/notify", Data: data, Timeout: pushTimeout})
	if err != nil {
		ctx.Error = err
		return
	}
	answer(ctx, map[string]any{"status": "sent", "reached": result.Delivered})
}

// joined returns what the socket has joined.
func joined(ctx *router.Context) (member, bool) {
	value, _ := ctx.GetFromSocket(keyMember)
	m, ok := value.(member)
	return m, ok
}

func mustHaveJoined(ctx *router.Context) (member, bool) {
	m, ok := joined(ctx)
	if !ok {
		ctx.Error = router.NewError(codeNotJoined, "this socket is in no room: send /chat/join with a username and a room first")
	}
	return m, ok
}

func readText(ctx *router.Context) (string, bool) {
	var in struct {
		Text string `json:"text" msgpack:"text"`
	}
	if !read(ctx, &in) {
		return "", false
	}
	if in.Text == "" || len(in.Text) > maxText {
		ctx.Error = router.NewError(wire.CodeValidation, fmt.Sprintf("text must have 1 to %d bytes", maxText))
		return "", false
	}
	return in.Text, true
}

// data is the member as clients are told.
func (m member) data(ctx *router.Context) map[string]any {
	return map[string]any{"username": m.username, "room": m.room, "socket": ctx.SocketID()}
}

// tell pushes an object to others. Whoever does not keep up with the room misses it.
func tell(ctx *router.Context, to router.Target, path string, object map[string]any) error {
	data, err := pushed(object)
	if err != nil {
		return err
	}
	_, err = ctx.Push(router.Push{
		To: to, Except: []string{ctx.SocketID()}, Path: path, Data: data,
		Policy: router.PushDrop, Timeout: pushTimeout,
	})
	return err
}
