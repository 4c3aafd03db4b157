package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/gorilla/websocket"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/backplane"
	"github.com/boreas-ws/boreas/pkg/link"
	"github.com/boreas-ws/boreas/pkg/push"
	pushv1 "github.com/boreas-ws/boreas/pkg/push/pushapi/v1"
	"github.com/boreas-ws/boreas/pkg/push/pushclient"
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/test/cluster"
)

// documented returns the rules that docs/operations.md gives for a user.
func documented(t *testing.T, user string) []any {
	t.Helper()
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rules, ok := strings.CutPrefix(line, "user "+user+" "); ok {
			command := []any{"acl", "setuser", user}
			for rule := range strings.FieldsSeq(rules) {
				command = append(command, rule)
			}
			return command
		}
	}
	t.Fatalf("docs/operations.md has no user %s", user)
	return nil
}

// access is what users may do, and what they did.
type access struct {
	mu   sync.Mutex
	used map[string]bool // guarded by mu: commands that some server has run
	runs int             // guarded by mu: topologies that ran, of three
}

// The users of docs/operations.md.
const (
	nodes    = "boreas"       // at servers
	watchers = "boreas-watch" // at sentinels
)

// admit gives the user to servers, and checks in the end that they refused nothing.
func (a *access) admit(t *testing.T, servers []*redistest.Server, user string) {
	t.Helper()
	if user == nodes {
		a.mu.Lock()
		a.runs++
		a.mu.Unlock()
	}
	for _, s := range servers {
		if err := s.Client().Do(t.Context(), documented(t, user)...).Err(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if s.PID() == 0 { // killed by the test
				return
			}
			log, err := s.Client().Do(context.Background(), "acl", "log").Slice()
			if err != nil {
				t.Error(err)
			}
			for _, entry := range log {
				t.Errorf("the user %s needs more: %v", user, entry)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			for line := range strings.Lines(s.Client().Info(context.Background(), "commandstats").Val()) {
				name, _, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
				a.used[name] = true
			}
		})
	}
}

// needed checks that a user may do nothing that no server was asked for, but to take
// back a subscription: a node that ends may do so, or just close the connection.
func (a *access) needed(t *testing.T, user string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.runs != 3 { // only some were asked for
		return
	}
	for _, rule := range documented(t, user) {
		rule, _ := rule.(string)
		if command, may := strings.CutPrefix(rule, "+"); may && !a.used[command] && !strings.HasSuffix(command, "unsubscribe") {
			t.Errorf("the user %s may do %s, which nobody did", user, command)
		}
	}
}

// TestLeastPrivileges: with TLS and the users that docs/operations.md shows, nodes
// have all that they need of Redis, whatever the topology, and no more. They go on
// when a master dies.
func TestLeastPrivileges(t *testing.T) {
	cert, err := redistest.NewCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg := redistest.Config{TCP: true, TLS: cert}
	as := func(url string) string { return strings.Replace(url, "://", "://boreas:password@", 1) }
	a := &access{used: map[string]bool{}}
	passed := t.Run("topologies", func(t *testing.T) {
		t.Run("standalone", func(t *testing.T) {
			t.Parallel() // they wait for leases most of the time
			s := redistest.Start(t, cfg)
			a.admit(t, []*redistest.Server{s}, nodes)
			g := startGuarded(t, as(s.TCPURL()))
			g.useAll()
			g.end()
		})
		t.Run("sentinel", func(t *testing.T) {
			t.Parallel()
			s := redistest.StartSentinel(t, cfg)
			a.admit(t, s.Servers, nodes)
			a.admit(t, s.Sentinels, watchers)
			g := startGuarded(t, as(s.URL())+"&sentinel_user=boreas-watch&sentinel_password=password")
			g.useAll()
			g.outlast(func(ctx context.Context) (heir *redistest.Server, err error) {
				master, err := s.Master(ctx)
				if err != nil {
					return nil, err
				}
				if err := errors.Join(master.Kill(), s.Promoted(ctx, master)); err != nil {
					return nil, err
				}
				return s.Master(ctx)
			})
			g.end()
		})
		t.Run("cluster", func(t *testing.T) {
			t.Parallel()
			s := redistest.StartCluster(t, cfg)
			a.admit(t, s.Servers, nodes)
			g := startGuarded(t, as(s.URL()))
			g.useAll()
			g.outlast(func(ctx context.Context) (heir *redistest.Server, err error) {
				const inbox = "bo:boreas:ch:{probe-0}" // so that messages must move
				master, err := s.Owner(ctx, inbox)
				if err != nil {
					return nil, err
				}
				if err := errors.Join(master.Kill(), s.Promoted(ctx, master)); err != nil {
					return nil, err
				}
				return s.Owner(ctx, inbox)
			})
			g.end()
		})
	})
	if passed {
		a.needed(t, nodes)
	}
}

// guarded is a system whose gateways keep tickets and quotas in Redis.
type guarded struct {
	*testing.T
	system
	there map[string]bool // who is in the group, as the watcher knows
}

const internalKey = "0123456789abcdef"

func startGuarded(t *testing.T, url string) *guarded {
	t.Helper()
	g := &guarded{T: t, system: system{url: url}}
	for _, name := range []string{"probe-0", "probe-1"} {
		g.addProbe(t, name, "--on-instance-loss", "repin")
	}
	for _, name := range []string{"gw-0", "gw-1"} {
		g.addGateway(t, name, "--auth", "ticket,none", "--internal-key", internalKey, "--drain-window=-1s",
			"--user-connections", "1", "--user-connection-rate", "100", "--user-message-rate", "1000", "--user-byte-rate", "1000000",
			"--address-connections", "100", "--address-connection-rate", "100", "--address-message-rate", "1000", "--address-byte-rate", "1000000")
	}
	return g
}

// api is the push API of a gateway.
func (g *guarded) api(of *cluster.Gateway) *pushclient.Client {
	g.Helper()
	c, err := pushclient.New("http://"+of.Internal, pushclient.Config{Key: internalKey})
	g.must(err)
	return c
}

func (g *guarded) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// ticket is one that a gateway makes.
func (g *guarded) ticket(of *cluster.Gateway, user string) string {
	g.Helper()
	ticket, problem := g.tryTicket(of, user)
	if problem != "" {
		g.Fatal(problem)
	}
	return ticket
}

func (g *guarded) tryTicket(of *cluster.Gateway, user string) (ticket, problem string) {
	g.Helper()
	req, err := http.NewRequestWithContext(g.Context(), http.MethodPost, "http://"+of.Internal+"/tickets", strings.NewReader(`{"user":"`+user+`"}`))
	g.must(err)
	req.Header.Set("Authorization", "Bearer "+internalKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	g.must(err)
	defer func() { _ = resp.Body.Close() }()
	var minted struct{ Ticket string }
	if err := json.NewDecoder(resp.Body).Decode(&minted); err != nil || resp.StatusCode != http.StatusCreated {
		return "", fmt.Sprintf("a ticket for %s: %s, %v", user, resp.Status, err)
	}
	return minted.Ticket, ""
}

// printed is a ticket that `boreas ticket` makes.
func (g *guarded) printed(user string) string {
	g.Helper()
	p, err := cluster.Start("ticket", programs.Boreas, nil, "ticket", "--user", user, "--redis", g.url)
	g.must(err)
	g.must(p.Wait(g.Context()))
	return p.Events()[0]
}

// enter connects with a ticket. It returns the status of a refusal.
func (g *guarded) enter(through *cluster.Gateway, ticket string) (*client, int) {
	g.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience}
	ws, resp, err := d.DialContext(g.Context(), through.URL()+"?ticket="+ticket, nil)
	if err != nil {
		if resp == nil {
			g.Fatal(err)
		}
		return nil, resp.StatusCode
	}
	g.Cleanup(func() { _ = ws.Close() })
	return &client{t: g.T, ws: ws}, 0
}

// login is enter as a user who is let in.
func (g *guarded) login(through *cluster.Gateway, ticket, user string) *client {
	g.Helper()
	c, refused := g.enter(through, ticket)
	if c == nil {
		g.Fatalf("%s is refused with %d", user, refused)
	}
	var info struct{ User string }
	if c.request("/info", nil, &info); info.User != user {
		g.Fatalf("%s is taken for %q", user, info.User)
	}
	return c
}

// reaches pushes through a gateway, and checks that these clients get it.
func (g *guarded) reaches(through *cluster.Gateway, to router.Target, clients ...*client) {
	g.Helper()
	r, err := g.api(through).Push(g.Context(), router.Push{To: to, Path: "/hello", Data: 1}, rand.Text())
	if err != nil || int(r.GetDelivered()) != len(clients) {
		g.Fatalf("a push to %v: %v, %v; want %d delivered", to, r, err, len(clients))
	}
	for _, c := range clients {
		c.gets("/hello", patience)
	}
}

// presence reads until these sockets are in the group that the client watches.
func (g *guarded) presence(watcher *client, sockets ...string) {
	g.Helper()
	want := slices.Sorted(slices.Values(sockets))
	for !slices.Equal(slices.Sorted(maps.Keys(g.there)), want) {
		var e push.PresenceEvent
		g.must(json.Unmarshal(watcher.gets("/presence", patience), &e))
		if e.Event == push.EventState || g.there == nil {
			g.there = map[string]bool{}
		}
		for _, m := range append(e.Members, e.Joined...) {
			g.there[m.Socket] = true
		}
		for _, m := range e.Left {
			delete(g.there, m.Socket)
		}
	}
}

// useAll does all that nodes do with Redis: routes, pins and messages; tickets and
// quotas; users, groups and who is in them; and it removes nodes that crash.
func (g *guarded) useAll() {
	g.Helper()
	g0, g1 := g.gateways[0], g.gateways[1]

	alice := g.login(g0, g.ticket(g1, "alice"), "alice")
	bobs := g.printed("bob")
	bob := g.login(g1, bobs, "bob")
	if c, status := g.enter(g0, bobs); c != nil || status != http.StatusUnauthorized {
		g.Errorf("a ticket that was used: %d", status)
	}
	if c, status := g.enter(g1, g.ticket(g0, "alice")); c != nil || status != http.StatusTooManyRequests {
		g.Errorf("a user's second connection, at another gateway: %d", status)
	}
	guest := dial(g.T, g0.URL(), nil)
	guest.belongs("", "", "room")

	a, b := alice.belongs("anna", "room", ""), bob.belongs("ben", "room", "")
	g.presence(guest, a, b)
	for _, through := range g.gateways {
		g.reaches(through, router.ToSocket(b), bob)
		g.reaches(through, router.ToUser("anna"), alice)
		g.reaches(through, router.ToGroup("room"), alice, bob)
		g.reaches(through, router.ToAll(), alice, bob, guest)
	}
	api := g.api(g1).API()
	_, err := api.Leave(g.Context(), connect.NewRequest(&pushv1.LeaveRequest{Who: &pushv1.LeaveRequest_User{User: "anna"}, Group: "room"}))
	g.must(err)
	g.presence(guest, b)
	_, err = api.Join(g.Context(), connect.NewRequest(&pushv1.JoinRequest{Who: &pushv1.JoinRequest_Socket{Socket: a}, Group: "room"}))
	g.must(err)
	g.presence(guest, a, b)
	present, err := api.Presence(g.Context(), connect.NewRequest(&pushv1.PresenceRequest{Of: &pushv1.PresenceRequest_Group{Group: "room"}}))
	if err != nil || present.Msg.GetSockets() != 2 {
		g.Errorf("presence: %v, %v", present, err)
	}
	g.must(g.api(g1).DisconnectSocket(g.Context(), a, 4000, "out"))
	if ce := alice.closed(patience); ce.Code != 4000 {
		g.Errorf("alice is closed with %v", ce)
	}
	g.presence(guest, b)

	node, err := backplane.Open(g.Context(), g.url, backplane.Config{NodeID: "observer"})
	g.must(err)
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		g.must(node.Close(ctx))
	}()
	living, err := node.Registry().Nodes(g.Context())
	g.must(err)
	routes, err := node.Registry().Routes(g.Context())
	if err != nil || len(living) != 4 || len(routes) != 1 {
		g.Errorf("nodes %v, routes %v, %v", living, routes, err)
	}

	g.must(g1.Kill())
	g.must(g.probes[1].Kill())
	g.presence(guest) // the dead gateway's are gone
	eventually(g.T, patience, func() string {
		if v := node.Registry().View().Services["probe"]; v == nil || len(v.Instances) != 1 || len(v.Gateways) != 1 {
			return fmt.Sprintf("the dead are still there: %+v", v)
		}
		return ""
	})
	eventually(g.T, patience, func() string {
		c, status := g.enter(g0, g.ticket(g0, "bob"))
		if c == nil {
			return fmt.Sprintf("the dead gateway's user counts: %d", status)
		}
		return ""
	})
	g.reaches(g0, router.ToUser("ben"))
}

// outlast has fail kill a master, and checks that what is left of the system goes on
// with its heir.
func (g *guarded) outlast(fail func(context.Context) (heir *redistest.Server, err error)) {
	g.Helper()
	through := g.gateways[0]
	c := dial(g.T, through.URL(), nil)
	c.within = link.DefaultResetAfter // an answer waits for the heir as long as links do
	said := 0
	say := func() {
		g.Helper()
		var counted struct{ N int }
		c.request("/count", nil, &counted)
		if said++; counted.N != said {
			g.Fatalf("message %d is number %d of those handled", said, counted.N)
		}
	}
	say()
	ctx, cancel := context.WithTimeout(g.Context(), 4*patience)
	defer cancel()
	var heir *redistest.Server
	over := make(chan error, 1)
	go func() {
		var err error
		heir, err = fail(ctx)
		over <- err
	}()
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for killing := true; killing; {
		say()
		select {
		case err := <-over:
			g.must(err)
			killing = false
		case <-pace.C:
		}
	}
	eventually(g.T, patience, func() string { // it carries the messages, and only TLS gets there by TCP
		say()
		clients := heir.Client().ClientList(g.Context()).Val()
		if port := heir.Client().ConfigGet(g.Context(), "port").Val()["port"]; port != "0" || !strings.Contains(clients, " user="+nodes+" ") {
			return fmt.Sprintf("port %s without TLS, clients:\n%s", port, clients)
		}
		return ""
	})
	var ticket string
	eventually(g.T, patience, func() (problem string) {
		ticket, problem = g.tryTicket(through, "carol")
		return problem
	})
	carol := g.login(through, ticket, "carol")
	carol.belongs("", "hall", "")
	g.reaches(through, router.ToGroup("hall"), carol)
	say()
}

// end drains what is left.
func (g *guarded) end() {
	g.Helper()
	g.must(g.gateways[0].Terminate())
	g.must(g.gateways[0].Wait(g.Context()))
	g.must(g.probes[0].Terminate())
	g.must(g.probes[0].Wait(g.Context()))
}
