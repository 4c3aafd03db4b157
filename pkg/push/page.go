package push

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/boreas-ws/boreas/pkg/wire"
)

// Page says which part of a long list is wanted.
type Page struct {
	Size int    // 0: 100; at most 500
	From string // Next of the part before; "": the first part
}

const (
	defaultPage = 100
	maxPage     = 500
)

// SocketPage is a part of a list of sockets.
type SocketPage struct {
	Sockets    []Socket
	Next       string   // "" after the last one
	Unanswered []string // gateways that did not answer in time
}

// ErrPage says that a page was asked for wrongly.
var ErrPage = errors.New("not a page: want a size of up to 500, and the token of the page before")

// Sockets describes the sockets of a target, ordered by gateway and id. A socket that
// is there all the time is on exactly one page.
func (h *Hub) Sockets(ctx context.Context, to wire.Target, page Page) (SocketPage, error) {
	gateways, err := h.resolve(ctx, to)
	if err != nil {
		return SocketPage{}, err
	}
	return h.sockets(ctx, gateways, to, page)
}

// sockets lists page by page what the gateways have.
func (h *Hub) sockets(ctx context.Context, gateways []wire.Incarnation, to wire.Target, page Page) (p SocketPage, err error) {
	if page.Size == 0 {
		page.Size = defaultPage
	}
	from, after, err := parseToken(page.From)
	if err != nil || page.Size < 0 || page.Size > maxPage {
		return p, ErrPage
	}
	for _, g := range gateways {
		if !from.IsZero() && compareIncarnations(g, from) < 0 {
			continue
		}
		if g != from {
			after = ""
		}
		room := page.Size - len(p.Sockets)
		if room == 0 {
			p.Next = token(g, "")
			break
		}
		reports, unanswered := h.ask(ctx, []wire.Incarnation{g}, opList, order{To: to, After: after, Limit: room + 1})
		p.Unanswered = append(p.Unanswered, unanswered...)
		if len(reports) == 0 {
			continue
		}
		list := reports[0].List
		if len(list) > room {
			list = list[:room]
			p.Sockets = append(p.Sockets, list...)
			p.Next = token(g, list[room-1].ID)
			break
		}
		p.Sockets = append(p.Sockets, list...)
	}
	return p, nil
}

// token names the place behind a socket on a gateway.
func token(g wire.Incarnation, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(g.String() + " " + id))
}

func parseToken(s string) (g wire.Incarnation, after string, err error) {
	if s == "" {
		return g, "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return g, "", ErrPage
	}
	name, after, ok := strings.Cut(string(text), " ")
	if g, err = wire.ParseIncarnation(name); err != nil || !ok {
		return g, "", ErrPage
	}
	return g, after, nil
}

// Presence tells whether a user or group has sockets.
type Presence struct {
	Since   time.Time // since when there was always one; zero if there is none
	Sockets int       // on the gateways that answered
	Members SocketPage
}

// Presence tells who of a user or group is connected.
func (h *Hub) Presence(ctx context.Context, to wire.Target, page Page) (Presence, error) {
	var p Presence
	gateways, err := h.audienceHosts(ctx, audienceOf(roomKey{to.Kind, to.Name}))
	if err != nil {
		return p, err
	}
	reports, unanswered := h.ask(ctx, gateways, opList, order{To: to})
	for _, r := range reports {
		p.Sockets += r.Sockets
		if r.Sockets > 0 && (p.Since.IsZero() || r.Since.Before(p.Since)) {
			p.Since = r.Since
		}
	}
	p.Members, err = h.sockets(ctx, gateways, to, page)
	p.Members.Unanswered = unanswered
	return p, err
}
