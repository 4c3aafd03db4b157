package service

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// TestIdentity: handlers see who the client is, from its first message on and
// after it was told anew, and nothing that the client sends changes that.
func TestIdentity(t *testing.T) {
	eachWay(t, func(t *testing.T, edge, worker *backplane.Backplane) {
		r := newRouter()
		r.PublicBind("/who", func(ctx *router.Context) {
			i := ctx.Identity()
			var claims struct{ Role string }
			_ = i.UnmarshalClaims(&claims) // an anonymous client has none
			if err := ctx.Send([]any{i.User, i.Method, claims.Role, i.Expires}); err != nil {
				ctx.Error = err
			}
		})
		start(t, worker, r, Config{})

		until := time.UnixMilli(1_900_000_000_000).UTC()
		alice := wire.Identity{User: "alice", Method: "jwt", Claims: []byte(`{"role":"admin"}`), Expires: until}
		c := connect(t, edge, worker, "known", func(o *wire.Open) { o.Identity = alice.Append(nil) })
		asked := 0
		ask := func(c *client, want ...any) {
			t.Helper()
			c.send(`{"path":"/who","id":"%d","meta":{"user":"mallory"},"data":{"user":"mallory"}}`, asked)
			got, wanted := string(c.receive(asked).Data), string(mustJSON(t, want))
			if got != wanted {
				t.Errorf("the handler saw %s; want %s", got, wanted)
			}
		}
		ask(c, "alice", "jwt", "admin", until)
		alice.Claims, alice.Expires = []byte(`{"role":"guest"}`), until.Add(time.Hour)
		if err := c.stream.SendIdentity(alice); err != nil {
			t.Fatal(err)
		}
		asked++
		ask(c, "alice", "jwt", "guest", until.Add(time.Hour))

		asked = 0
		ask(connect(t, edge, worker, "anonymous", func(o *wire.Open) {
			o.Query = "user=mallory"
			o.Headers = []wire.HeaderField{{Name: "X-User", Value: "mallory"}, {Name: "Boreas-User", Value: "mallory"}}
		}), "", "", "", time.Time{})
		ask(connect(t, edge, worker, "broken", func(o *wire.Open) { o.Identity = []byte("\x07alice") }), "", "", "", time.Time{})
	})
}

// TestBadIdentityFrame: who the client is cannot be read, so nothing more is
// handled for it.
func TestBadIdentityFrame(t *testing.T) {
	g := newStage("")
	g.Frame(wire.KindIdentity, []byte("\x07alice"))
	if len(g.violations) != 1 || g.violations[0] != ViolationFrame {
		t.Errorf("violations: %v", g.violations)
	}
	if end := g.actor.ended(); end == nil || end.Status != wire.CloseInternal {
		t.Errorf("the handler was told %+v", end)
	}
	close(g.actor.done)
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
