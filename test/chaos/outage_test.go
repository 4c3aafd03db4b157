package chaos

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boreas-ws/boreas/pkg/gateway"
)

// maxReconnections is how many connections a node may make because of the outage: to
// find out whether Redis is back, and those that it needs then.
const maxReconnections = 100

// TestOutage takes Redis away for long and looks what clients, the probes of a load
// balancer and, in the end, Redis see of it.
func TestOutage(t *testing.T) {
	programs, err := build()
	if err != nil {
		t.Fatal(err)
	}
	redis, err := startStandalone(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s, err := startSystem(t.Context(), programs, redis, gateways, instances)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := startCrowd(t.Context(), 12, s.serving)
	defer c.stop()
	o := &outage{T: t, standalone: redis, system: s, crowd: c}
	o.eventually("the clients move", func() bool { return c.moving(time.Now().Add(-time.Second)) })

	before := o.connections()
	if err := redis.Stop(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	o.newcomer()
	o.alive()
	for _, g := range s.gateways {
		if !g.Ready(t.Context()) {
			t.Errorf("%s is unready after %v", g.Name, time.Since(began))
		}
	}
	o.eventually("the gateways are unready, because the outage is long", func() bool {
		return !s.gateways[0].Ready(t.Context()) && !s.gateways[1].Ready(t.Context())
	})
	o.alive()
	if lasted := time.Since(began); lasted < 15*time.Second {
		t.Errorf("the gateways were unready after %v", lasted)
	}
	for _, session := range c.harvest() {
		if v := session.verdict(); v.refused == "" && v.closed {
			t.Errorf("a session was closed with %d during the outage", v.code)
		}
	}

	if err := redis.Cont(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	o.eventually("the clients move again", func() bool { return c.moving(back) })
	o.eventually("the gateways are ready again", func() bool {
		return s.gateways[0].Ready(t.Context()) && s.gateways[1].Ready(t.Context())
	})
	<-time.After(5 * time.Second) // a storm would come now
	nodes := len(s.processes())
	made := o.connections() - before
	t.Logf("%d nodes made %d connections to Redis", nodes, made)
	if made > nodes*maxReconnections {
		t.Errorf("%d nodes made %d connections to Redis during the outage and after it", nodes, made)
	}
}

// outage is what TestOutage works with.
type outage struct {
	*testing.T
	*standalone
	*system
	crowd *crowd
}

func (o *outage) eventually(what string, done func() bool) {
	o.Helper()
	if !until(o.Context(), patience, done) {
		o.Fatalf("after %v it is not true that %s", patience, what)
	}
}

// connections is how many Redis has accepted so far.
func (o *outage) connections() int {
	o.Helper()
	info, err := o.standalone.Client().Info(o.Context(), "stats").Result()
	if err != nil {
		o.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "total_connections_received:")
	number, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.Atoi(number)
	if err != nil {
		o.Fatal(err)
	}
	return n
}

// newcomer is a client whose first message comes during the outage: it waits for the
// pin timeout, and is told when to try again.
func (o *outage) newcomer() {
	o.Helper()
	ws, err := dial(o.Context(), o.gateways[0].URL())
	if err != nil {
		o.Fatal(err)
	}
	g := &guest{Conn: ws}
	defer func() { _ = g.Close() }()
	asked := time.Now()
	var refusal message
	if err := g.ask(&refusal, patience, `{"path":"/count","id":"1"}`); err != nil {
		o.Fatal(err)
	}
	if took := time.Since(asked); !refusal.Data.advised() || took < gateway.DefaultPinTimeout {
		o.Errorf("a new socket got %+v after %v; want unavailable and when to try again, after the pin timeout", refusal.Data, took)
	}
}

// alive fails if a gateway is not.
func (o *outage) alive() {
	o.Helper()
	for _, g := range o.gateways {
		ctx, cancel := context.WithTimeout(o.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Internal+"/livez", http.NoBody)
		if err != nil {
			o.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			o.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			o.Errorf("%s is not alive: %s", g.Name, resp.Status)
		}
	}
}
