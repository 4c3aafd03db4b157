package router_test

import (
	stdjson "encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/wire"
)

// object is a handler that also wants to know of the socket's beginning and end.
type object struct{ seen *[]string }

func (o object) Handle(ctx *router.Context) {
	*o.seen = append(*o.seen, "handle")
	ctx.Next()
}
func (o object) HandleOpen(*router.Context)  { *o.seen = append(*o.seen, "open") }
func (o object) HandleClose(*router.Context) { *o.seen = append(*o.seen, "close") }

// TestRouting tells, for routers built in many ways, which handlers answer.
func TestRouting(t *testing.T) {
	fail := func(err error) func(*router.Context) {
		return func(ctx *router.Context) { ctx.Error = err }
	}
	nested := func(mount string, build func(sub *router.Router)) func(*router.Router) {
		return func(r *router.Router) {
			sub := router.NewRouter()
			build(sub)
			r.Use(mount, sub)
		}
	}
	tests := []struct {
		name  string
		build func(r *router.Router)
		path  string
		want  []string // what is sent, in order; "no_route" and the like stand for that error
	}{
		{"in the order of binding, not of precision", func(r *router.Router) {
			r.Bind("/a/:x", note("param"))
			r.Bind("/a/b", note("literal"))
		}, "/a/b", []string{"param", "literal"}},
		{"the first that does not call Next ends the chain", func(r *router.Router) {
			r.Use(note("use"))
			r.Bind("/a", func(ctx *router.Context) { _ = ctx.Send(router.Raw(`"end"`)) })
			r.Bind("/a", note("never"))
		}, "/a", []string{"use", "end"}},
		{"several handlers of one bind", func(r *router.Router) {
			r.Bind("/a", note("1"), note("2"), note("3"))
		}, "/a", []string{"1", "2", "3"}},
		{"middleware after a handler that goes on", func(r *router.Router) {
			r.Bind("/a", note("1"))
			r.Use(note("2"))
		}, "/a", []string{"1", "2"}},
		{"mount path without stars", func(r *router.Router) {
			r.Use("/api", note("api"))
			r.Use("/other", note("other"))
			r.Bind("/api/x", note("x"))
		}, "/api/x", []string{"api", "x"}},
		{"mount path with stars", func(r *router.Router) {
			r.Use("/api/**", note("api"))
			r.Bind("/**", note("x"))
		}, "/api", []string{"api", "x"}},
		{"mount path with a slash at its end", func(r *router.Router) {
			r.Use("/api/", note("api"))
		}, "/api/x/y", []string{"api"}},
		{"nothing fits", func(r *router.Router) { r.Bind("/a", note("a")) }, "/b", []string{"no_route"}},
		{"middleware alone is no route", func(r *router.Router) {
			r.Use(func(ctx *router.Context) { ctx.Next() })
		}, "/b", []string{"no_route"}},
		{"middleware that answers and goes on is one", func(r *router.Router) { r.Use(note("a")) }, "/b", []string{"a"}},
		{"middleware that says nothing and does not go on is one", func(r *router.Router) {
			r.Use(func(*router.Context) {})
		}, "/b", nil},
		{"a bound handler that says nothing", func(r *router.Router) {
			r.Bind("/b", func(ctx *router.Context) { ctx.Next() })
		}, "/b", nil},
		{"Next a second time does nothing", func(r *router.Router) {
			r.Use(func(ctx *router.Context) { ctx.Next(); ctx.Next() })
			r.Bind("/a", note("1"))
			r.Bind("/a", note("2"))
		}, "/a", []string{"1", "2"}},
		{"what follows Next runs afterwards", func(r *router.Router) {
			r.Use(func(ctx *router.Context) { ctx.Next(); _ = ctx.Send(router.Raw(`"after"`)) })
			r.Bind("/a", note("1"))
		}, "/a", []string{"1", "after"}},
		{"an error ends the chain", func(r *router.Router) {
			r.Use(fail(errors.New("secret")))
			r.Bind("/a", note("never"))
		}, "/a", []string{"internal"}},
		{"Next does nothing after an error", func(r *router.Router) {
			r.Use(func(ctx *router.Context) { ctx.Error = errors.New("secret"); ctx.Next() })
			r.Bind("/a", note("never"))
		}, "/a", []string{"internal"}},
		{"an error with a code", func(r *router.Router) {
			r.Bind("/a", fail(router.NewError(wire.CodeUnauthorized, "log in first")))
		}, "/a", []string{"unauthorized"}},
		{"an error that wraps one with a code", func(r *router.Router) {
			r.Bind("/a", fail(errors.Join(errors.New("x"), router.NewError(wire.CodeRateLimited, "slower"))))
		}, "/a", []string{"rate_limited"}},
		{"an error that middleware answers", func(r *router.Router) {
			r.Use(func(ctx *router.Context) {
				if ctx.Next(); ctx.Error != nil {
					_ = ctx.Send(router.Raw(`"handled"`))
				}
			})
			r.Bind("/a", fail(errors.New("secret")))
		}, "/a", []string{"handled"}},
		{"an error that middleware takes away", func(r *router.Router) {
			r.Use(func(ctx *router.Context) { ctx.Next(); ctx.Error = nil })
			r.Bind("/a", fail(errors.New("secret")))
		}, "/a", nil},
		{"an error after an answer", func(r *router.Router) {
			r.Bind("/a", note("answer"), fail(errors.New("secret")))
		}, "/a", []string{"answer"}},
		{"a panic", func(r *router.Router) {
			r.Bind("/a", func(*router.Context) { panic("secret") })
		}, "/a", []string{"internal"}},
		{"a panic after an answer", func(r *router.Router) {
			r.Bind("/a", note("answer"), func(*router.Context) { panic("secret") })
		}, "/a", []string{"answer", "internal"}},
		{"a panic that middleware answers", func(r *router.Router) {
			r.Use(func(ctx *router.Context) {
				if ctx.Next(); ctx.Error != nil && strings.Contains(ctx.ErrorStack, "routing_test.go") {
					_ = ctx.Send(router.Raw(`"` + ctx.Error.Error() + `"`))
				}
			})
			r.Bind("/a", func(*router.Context) { panic(errors.New("oops")) })
		}, "/a", []string{"oops"}},
		{"a new path is routed from there on", func(r *router.Router) {
			r.Bind("/b", note("missed"))
			r.Use(func(ctx *router.Context) { ctx.SetMessagePath("/b"); ctx.Next() })
			r.Bind("/a", note("never"))
			r.Bind("/b", note("b"))
		}, "/a", []string{"b"}},
		{"a new path that the node itself does not fit", func(r *router.Router) {
			r.Bind("/a", func(ctx *router.Context) { ctx.SetMessagePath("/b"); ctx.Next() }, note("never"))
			r.Bind("/b", note("b"))
		}, "/a", []string{"b"}},
		{"a mounted router", nested("/", func(sub *router.Router) { sub.Bind("/a", note("sub")) }), "/a", []string{"sub"}},
		{"a mounted router matches below its mount path", nested("/api", func(sub *router.Router) {
			sub.Bind("/a/:x", note("sub"))
		}), "/api/a/1", []string{"sub"}},
		{"a mounted router may repeat its mount path", nested("/api", func(sub *router.Router) {
			sub.Bind("/api/a", note("sub"))
		}), "/api/a", []string{"sub"}},
		{"the root of a mounted router", nested("/api", func(sub *router.Router) {
			sub.Bind("/", note("root"))
		}), "/api", []string{"root"}},
		{"a mounted router under a parameter", nested("/t/:tenant", func(sub *router.Router) {
			sub.Bind("/u/:user", func(ctx *router.Context) {
				_ = ctx.Send(router.Raw(`"` + ctx.Params().Get("TENANT") + "-" + ctx.Params().Get("user") + `"`))
			})
		}), "/t/5/u/7", []string{"5-7"}},
		{"routers within routers", nested("/a", func(sub *router.Router) {
			nested("/b", func(sub *router.Router) { sub.Bind("/c", note("deep")) })(sub)
		}), "/a/b/c", []string{"deep"}},
		{"what a mounted router does not take goes on", func(r *router.Router) {
			nested("/a", func(sub *router.Router) {
				sub.Use(note("sub"))
				sub.Bind("/x", note("never"))
			})(r)
			r.Bind("/a/y", note("outer"))
		}, "/a/y", []string{"sub", "outer"}},
		{"what a mounted router took does not", func(r *router.Router) {
			nested("/a", func(sub *router.Router) {
				sub.Bind("/y", func(ctx *router.Context) { _ = ctx.Send(router.Raw(`"sub"`)) })
			})(r)
			r.Bind("/a/y", note("never"))
		}, "/a/y", []string{"sub"}},
		{"an error leaves a mounted router", func(r *router.Router) {
			r.Use(func(ctx *router.Context) {
				if ctx.Next(); ctx.Error != nil {
					_ = ctx.Send(router.Raw(`"` + ctx.Error.Error() + `"`))
				}
			})
			nested("/", func(sub *router.Router) { sub.Bind("/a", fail(errors.New("below"))) })(r)
		}, "/a", []string{"below"}},
		{"values leave a mounted router and enter it", func(r *router.Router) {
			r.Use(func(ctx *router.Context) {
				ctx.Set("in", "in")
				ctx.Next()
				_ = ctx.Send(router.Raw(`"` + ctx.MustGet("out").(string) + `"`))
			})
			nested("/", func(sub *router.Router) {
				sub.Bind("/a", func(ctx *router.Context) { ctx.Set("out", ctx.MustGet("in").(string)+"out") })
			})(r)
		}, "/a", []string{"inout"}},
		{"a path set in a mounted router stays there", func(r *router.Router) {
			nested("/a", func(sub *router.Router) {
				sub.Use(func(ctx *router.Context) { ctx.SetMessagePath("/a/z"); ctx.Next() })
				sub.Bind("/z", note("z"))
			})(r)
			r.Bind("/a/z", note("never"))
			r.Bind("/a/y", note("y"))
		}, "/a/y", []string{"z", "y"}},
		{"a path set in a mounted router to one outside it", func(r *router.Router) {
			nested("/a", func(sub *router.Router) {
				sub.Use(func(ctx *router.Context) { ctx.SetMessagePath("/elsewhere"); ctx.Next() })
				sub.Bind("/elsewhere", note("found"))
			})(r)
		}, "/a/y", []string{"found"}},
		{"a path with a slash at its end", func(r *router.Router) { r.Bind("/a", note("a")) }, "/a/", []string{"a"}},
		{"a handler object", func(r *router.Router) { r.Bind("/a", object{new([]string)}, note("a")) }, "/a", []string{"a"}},
		{"a HandlerFunc", func(r *router.Router) { r.Bind("/a", router.HandlerFunc(note("a"))) }, "/a", []string{"a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRouter(t, router.Config{})
				tt.build(r)
				c := connect(t, r, router.SocketInfo{})
				c.say(msg(tt.path, "1", nil))
				want := make([]string, len(tt.want))
				for i, w := range tt.want {
					want[i] = answers[w]
					if want[i] == "" {
						want[i] = `{"id":"1","data":"` + w + `"}`
					}
				}
				c.hears(want...)
				c.hangUp()
			})
		})
	}
}

var answers = map[string]string{
	"no_route":     `{"id":"1","data":{"error":"nothing handles /b","code":"no_route"}}`,
	"internal":     `{"id":"1","data":{"error":"the handler failed","code":"internal"}}`,
	"unauthorized": `{"id":"1","data":{"error":"log in first","code":"unauthorized"}}`,
	"rate_limited": `{"id":"1","data":{"error":"slower","code":"rate_limited"}}`,
}

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
	sub.PublicBind("/x/:id", router.WithMetadata("sub"), echo)
	sub.Bind("/private", echo)
	deep := router.NewRouter()
	deep.Use("/deep", sub)
	r := router.NewRouter()
	r.PublicBind("/a", echo, router.WithMetadata(map[string]int{"rate": 5}))
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

func (onlyHandler) Handle(*router.Context) {}
