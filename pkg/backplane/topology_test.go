package backplane

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/internal/redistest"
	"github.com/boreas-ws/boreas/pkg/registry"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// documented returns the rules that docs/operations.md gives for a user.
func documented(t *testing.T, user string) []any {
	t.Helper()
	b, err := os.ReadFile("../../docs/operations.md")
	must(t, err)
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

// admit gives the user to servers, and checks in the end that they refused nothing.
func admit(t *testing.T, servers []*redistest.Server, user string) {
	t.Helper()
	for _, s := range servers {
		must(t, s.Client().Do(t.Context(), documented(t, user)...).Err())
		t.Cleanup(func() {
			log, err := s.Client().Do(context.Background(), "acl", "log").Slice()
			must(t, err)
			for _, entry := range log {
				t.Errorf("the user %s needs more: %v", user, entry)
			}
		})
	}
}

// TestLeastPrivileges: with TLS and the users that docs/operations.md shows, nodes
// have all that they need, whatever the topology.
func TestLeastPrivileges(t *testing.T) {
	cert, err := redistest.NewCertificate(t.TempDir())
	must(t, err)
	cfg := redistest.Config{TCP: true, TLS: cert}
	as := func(url string) string { return strings.Replace(url, "://", "://boreas:password@", 1) }
	t.Run("standalone", func(t *testing.T) {
		s := redistest.Start(t, cfg)
		admit(t, []*redistest.Server{s}, "boreas")
		useAll(t, as(s.TCPURL()))
	})
	t.Run("sentinel", func(t *testing.T) {
		s := redistest.StartSentinel(t, cfg)
		admit(t, s.Servers, "boreas")
		admit(t, s.Sentinels, "boreas-watch")
		useAll(t, as(s.URL())+"&sentinel_user=boreas-watch&sentinel_password=password")
	})
	t.Run("cluster", func(t *testing.T) {
		s := redistest.StartCluster(t, cfg)
		admit(t, s.Servers, "boreas")
		useAll(t, as(s.URL()))
	})
}

// useAll lets two nodes do all that nodes do with Redis.
func useAll(t *testing.T, url string) {
	t.Helper()
	g, s := open(t, url, quick(t)), open(t, url, quick(t))
	accepted := serve(t, s, "chat")
	service := registry.Service{Name: "chat", Routes: []registry.Route{{Pattern: "/chat", Canonical: "/chat"}}}
	must(t, s.Registry().Announce(t.Context(), service))
	must(t, g.Registry().JoinGateway(t.Context(), "public"))
	eventually(t, "the route is known", func() bool { return g.Registry().View().Services["chat"] != nil })
	_, out, in := connect(t, g, s, accepted, "chat")
	must(t, out.SendData(t.Context(), wire.Text, "", []byte("hello")))
	in.await(t, 1)
	for _, socket := range []wire.SocketID{"s1", "s2"} {
		to, err := g.Registry().Pin(t.Context(), "chat", socket)
		must(t, err)
		if to != s.Self() {
			t.Errorf("pinned to %v", to)
		}
	}
	g.Registry().Unpin("chat", "s1")
	nodes, err := s.Registry().Nodes(t.Context())
	must(t, err)
	routes, err := s.Registry().Routes(t.Context())
	must(t, err)
	if len(nodes) != 2 || len(routes) != 1 {
		t.Errorf("%d nodes and %d routes", len(nodes), len(routes))
	}

	crash(g) // so that it is reaped, with its pin
	eventually(t, "the dead gateway is reaped", func() bool {
		v := s.Registry().View().Services["chat"]
		return v != nil && len(v.Gateways) == 0 && len(v.Instances) == 1
	})
	must(t, s.Registry().Withdraw(t.Context(), "chat"))
}
