package probe

import (
	"context"
	"fmt"
	"time"

	"github.com/boreas-ws/boreas/pkg/push"
	"github.com/boreas-ws/boreas/pkg/router"
)

// member makes the socket a user's, puts it into a group, and has it told who is there,
// as the message says; it answers with the socket's id.
func member(ctx *router.Context) {
	var in struct {
		User  string `json:"user"`
		Group string `json:"group"`
		Watch string `json:"watch"`
	}
	err := ctx.Unmarshal(&in)
	if err == nil && in.User != "" {
		err = ctx.SetUser(in.User)
	}
	if err == nil && in.Group != "" {
		err = ctx.JoinGroup(in.Group)
	}
	if err == nil && in.Watch != "" {
		err = ctx.WatchGroup(in.Watch, "")
	}
	if err != nil {
		ctx.Error = err
		return
	}
	send(ctx, map[string]string{"socket": ctx.SocketID()})
}

// Numbered is what a pusher sends: its name and the number of the push, from 1.
type Numbered struct {
	From   string `json:"from"`
	Number int    `json:"number"`
}

// Pushed is what comes to the members.
type Pushed struct {
	Numbered
	Began  time.Time `json:"began"`
	Before time.Time `json:"before"` // when the push before it began
}

// pusher numbers what it pushes, and tells by events of which pushes it knows that they
// may not have reached everybody. It ends with ctx.
func (p *probe) pusher(ctx context.Context, hub *push.Hub, name string, to router.Target, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	before := time.Time{}
	for n := 1; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		sent, err := hub.Send(ctx, push.Message{To: to, Path: "/pushed", Data: Pushed{Numbered{name, n}, began, before}})
		if err != nil {
			continue // nothing was sent: the next attempt has the same number
		}
		go p.result(ctx, sent, Numbered{name, n})
		n++
		before = began
	}
}

// result waits for what became of a push.
func (p *probe) result(ctx context.Context, sent *push.Pending, n Numbered) {
	r, err := sent.Wait(ctx)
	delete(r.Dropped, "closed") // who is not there any more needs no explanation
	if err != nil || len(r.Unanswered)+len(r.Dropped) > 0 {
		p.print(Event{
			Event: "unreached", Instance: p.node, From: n.From, Number: n.Number,
			Reason: fmt.Sprintf("unanswered %v, dropped %v, %v", r.Unanswered, r.Dropped, err),
		})
	}
}
