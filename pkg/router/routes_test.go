package router_test

import (
	stdjson "encoding/json"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/router"
)

func (onlyHandler) Handle(*router.Context) {}

// TestPublic sends messages to a router as a gateway and as a client of its own: what
// is private exists for the latter only.
func TestPublic(t *testing.T) {
	build := func(t *testing.T) *router.Router {
		r := newRouter(t, router.Config{})
		r.Use("/users", note("mw"))
		r.PublicBind("/users/:id", note("public"))
		r.Bind("/users/:id", note("private"))
		r.Bind("/secret", note("secret"))
		r.Use("/only-middleware", note("middleware"))
		sub := router.NewRouter()
		sub.PublicBind("/open", note("sub-public"))
		sub.Bind("/open", note("sub-private"))
		sub.Bind("/hidden", note("sub-hidden"))
		sub.Use(func(ctx *router.Context) {
			if ctx.Path() == "/sub/open" {
				ctx.SetMessagePath("/sub/hidden")
			}
			ctx.Next()
		})
		sub.Bind("/hidden", note("sub-rewritten"))
		r.Use("/sub", sub)
		bound := router.NewRouter()
		bound.PublicBind("/open", note("bound-public"))
		bound.Bind("/hidden", note("bound-hidden"))
		r.Bind("/bound/**", note("beside"), bound)
		return r
	}
	refused := func(path string) string {
		return `{"id":"1","data":{"error":"nothing handles ` + path + `","code":"no_route"}}`
	}
	said := func(texts ...string) string {
		for i, s := range texts {
			texts[i] = `{"id":"1","data":"` + s + `"}`
		}
		return strings.Join(texts, " ")
	}
	tests := []struct{ path, gateway, direct string }{
		{"/users/1", said("mw", "public"), said("mw", "public", "private")},
		{"/secret", refused("/secret"), said("secret")},
		{"/secret/", refused("/secret/"), said("secret")},
		{"/only-middleware", refused("/only-middleware"), said("middleware")},
		{"/users/1/2", refused("/users/1/2"), said("mw")},
		{"/sub/open", said("sub-public"), said("sub-public", "sub-private", "sub-rewritten")},
		{"/sub/hidden", refused("/sub/hidden"), said("sub-hidden", "sub-rewritten")},
		{"/bound/open", said("bound-public"), said("beside", "bound-public")},
		{"/bound/hidden", refused("/bound/hidden"), said("beside", "bound-hidden")},
	}
	for _, tt := range tests {
		for _, public := range []bool{true, false} {
			bubble(t, func(t *testing.T) {
				c := connect(t, build(t), router.SocketInfo{Public: public})
				c.say(msg(tt.path, "1", nil))
				want := tt.direct
				if public {
					want = tt.gateway
				}
				if got := strings.Join(c.heard(), " "); got != want {
					t.Errorf("%s, public %v:\n got %s\nwant %s", tt.path, public, got, want)
				}
				c.hangUp()
			})
		}
	}
}

func TestRouteDescriptors(t *testing.T) {
	sub := router.NewRouter()
	sub.PublicBind("/x/:id", router.WithMetadata("sub"), router.WithMaxBytes(7), echo)
	sub.Bind("/private", echo)
	deep := router.NewRouter()
	deep.Use("/deep", sub)
	r := router.NewRouter()
	r.PublicBind("/a", echo, router.WithMetadata(map[string]int{"rate": 5}),
		router.WithRate(2.5, 10), router.WithMaxBytes(99), router.WithSchema(map[string]any{"type": "string"}))
	r.PublicBind("/a", echo)
	r.Bind("/b", echo, router.WithMetadata("ignored"))
	r.Use("/m", sub)
	r.Bind("/n/**", sub)
	r.Use(deep)
	var got []string
	for _, d := range r.RouteDescriptors() {
		got = append(got, d.Pattern.String())
	}
	want := "/a /m/x/:id /n/x/:id /deep/x/:id"
	if strings.Join(got, " ") != want {
		t.Errorf("descriptors %v, want %s", got, want)
	}
	list := r.RouteDescriptors()
	if list[1].Metadata != "sub" || list[0].Metadata.(map[string]int)["rate"] != 5 {
		t.Errorf("metadata %v, %v", list[0].Metadata, list[1].Metadata)
	}
	limits := router.RouteLimits{Rate: 2.5, Burst: 10, MaxBytes: 99, Schema: `{"type":"string"}`}
	if list[0].Limits != limits || list[1].Limits.MaxBytes != 7 {
		t.Errorf("limits %+v, %+v", list[0].Limits, list[1].Limits)
	}

	b, err := list[0].MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var back router.RouteDescriptor
	if err := back.UnmarshalJSON(b); err != nil {
		t.Fatal(err)
	}
	if back.Pattern.String() != "/a" || string(back.Metadata.(stdjson.RawMessage)) != `{"rate":5}` {
		t.Errorf("after a round trip: %s %s", back.Pattern, back.Metadata)
	}
	if back.Limits != limits {
		t.Errorf("after a round trip: %+v", back.Limits)
	}
	if err := back.UnmarshalJSON([]byte(`{"Pattern":"nope"}`)); err == nil {
		t.Error("a wrong pattern was read")
	}
}

func TestLookup(t *testing.T) {
	handler, other := note("a"), func(*router.Context) {}
	obj := &object{new([]string)}
	sub := router.NewRouter()
	sub.Bind("/nested/:x", obj)
	r := router.NewRouter()
	r.Bind("/a/:id", handler)
	r.Use("/api", sub)
	r.UseOpen(other)
	for _, tt := range []struct {
		handler any
		want    string
	}{{handler, "/a/:id"}, {obj, "/nested/:x"}, {sub, "/api/**"}, {other, ""}, {nil, ""}} {
		p, ok := r.Lookup(tt.handler)
		if ok != (tt.want != "") || ok && p.String() != tt.want {
			t.Errorf("Lookup: %v %v, want %q", p, ok, tt.want)
		}
	}
}

func TestBindPanics(t *testing.T) {
	r := router.NewRouter()
	for name, bind := range map[string]func(){
		"no handler":                  func() { r.Bind("/a") },
		"only an option":              func() { r.PublicBind("/a", router.WithMetadata(1)) },
		"not a handler":               func() { r.Bind("/a", 5) },
		"not an open handler":         func() { r.UseOpen(struct{}{}) },
		"no open handler":             func() { r.UseOpen() },
		"no close handler":            func() { r.UseClose() },
		"a handler is no OpenHandler": func() { r.UseOpen(onlyHandler{}) },
		"a wrong pattern":             func() { r.Bind("a", echo) },
		"a router as a public route":  func() { r.PublicBind("/a/**", router.NewRouter()) },
	} {
		func() {
			defer func() {
				if v := recover(); v == nil {
					t.Errorf("%s: no panic", name)
				} else if s, ok := v.(string); !ok || !strings.HasPrefix(s, "router: ") {
					t.Errorf("%s: %v", name, v)
				}
			}()
			bind()
		}()
	}
	if len(r.RouteDescriptors()) != 0 {
		t.Error("a route was announced that was not bound")
	}
}

type onlyHandler struct{}
