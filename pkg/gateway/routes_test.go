package gateway

import (
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/boreas-ws/boreas/pkg/registry"
)

func viewOf(services ...registry.Service) *registry.View {
	v := &registry.View{Services: map[string]*registry.ServiceView{}}
	for _, s := range services {
		v.Services[s.Name] = &registry.ServiceView{Service: s}
	}
	return v
}

func serves(name string, patterns ...string) registry.Service {
	s := registry.Service{Name: name}
	for _, p := range patterns {
		s.Routes = append(s.Routes, registry.Route{Pattern: p})
	}
	return s
}

func TestRoutes(t *testing.T) {
	view := viewOf(
		serves("any", "/**"),
		serves("chat", "/chat/join", "/chat/:room", "/chat/:room/**", "/chat/:room/history/"),
		serves("files", "/files/**", "/files/:path+"),
		serves("users", `/users/:id(\d+)`, "/users/:name", "/:any/me"),
		serves("zz", "/chat/:other"), // the registry would refuse it
	)
	want := map[string]string{
		"/":                    "any",
		"/nobody":              "any",
		"/chat":                "any",
		"/chat/join":           "chat",
		"/chat/join/":          "chat",
		"/chat/kitchen":        "chat",
		"/chat/kitchen/":       "chat",
		"/chat/kitchen/a/b":    "chat",
		"/chat/x/history":      "chat",
		"/files":               "files",
		"/files/a/b":           "files",
		"/users/7":             "users",
		"/users/ada":           "users",
		"/users/ada/x":         "any",
		"/chat/me":             "chat",
		"/users/me":            "users",
		"/elsewhere/me":        "users",
		"/elsewhere/me/really": "any",
	}
	for range 20 {
		for name, s := range view.Services {
			rand.Shuffle(len(s.Routes), func(i, j int) { s.Routes[i], s.Routes[j] = s.Routes[j], s.Routes[i] })
			view.Services[name] = s
		}
		table := compileRoutes(view, "public", nil, untimed, slog.New(slog.DiscardHandler))
		for path, service := range want {
			to := table.lookup([]byte(path))
			if to == nil || to.service != service {
				t.Fatalf("%s goes to %v; want %s", path, to, service)
			}
		}
	}
}

func TestRoutesOfNamedGateways(t *testing.T) {
	inner := serves("inner", "/inner", "/both")
	inner.Gateways = []string{"internal"}
	view := viewOf(inner, serves("outer", "/outer"))
	for name, want := range map[string][]string{
		"internal": {"/both", "/inner", "/outer"},
		"public":   {"/outer"},
	} {
		table := compileRoutes(view, name, nil, untimed, slog.New(slog.DiscardHandler))
		if got := slices.Sorted(maps.Keys(table.static)); !slices.Equal(got, want) {
			t.Errorf("%s routes %v; want %v", name, got, want)
		}
		if _, ok := table.services["inner"]; ok != (name == "internal") {
			t.Errorf("%s knows the service inner: %v", name, ok)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table := compileRoutes(viewOf(serves("a", "/chat/join", "/users/:id", "/files/**", "/users/:id/:x?/y")),
		"public", nil, untimed, slog.New(slog.DiscardHandler))
	for _, path := range []string{"/chat/join", "/users/7", "/files/a/b", "/nobody/here", "/users/7/8/y"} {
		p := []byte(path)
		if n := testing.AllocsPerRun(100, func() { table.lookup(p) }); n > 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

func TestUnreadableRouteIsSkipped(t *testing.T) {
	table := compileRoutes(viewOf(serves("a", "no-slash", "/ok", "/(broken")), "public", nil, untimed, slog.New(slog.DiscardHandler))
	if len(table.static) != 1 || table.lookup([]byte("/ok")) == nil {
		t.Errorf("static routes: %v", table.static)
	}
}

func untimed(string, string) Observer { return nil }
