package router_test

import (
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
			r.Bind("/a", func(ctx *router.Context) { _ = ctx.Send(router.Raw(`"1"`)) })
			r.Bind("/a", note("never"))
		}, "/a", []string{"1"}},
		{"not in a mounted router either", func(r *router.Router) {
			nested("/", func(sub *router.Router) {
				sub.Use(func(ctx *router.Context) { ctx.Next(); ctx.Next() })
				sub.Bind("/a", func(ctx *router.Context) { _ = ctx.Send(router.Raw(`"1"`)) })
			})(r)
			r.Bind("/a", note("never"))
		}, "/a", []string{"1"}},
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
		{"which is not taken for one below the mount path", func(r *router.Router) {
			nested("/abc", func(sub *router.Router) {
				sub.Use(func(ctx *router.Context) { ctx.SetMessagePath("/xyz/b"); ctx.Next() })
				sub.Bind("/b", note("never"))
				sub.Bind("/xyz/b", note("found"))
			})(r)
		}, "/abc/y", []string{"found"}},
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
