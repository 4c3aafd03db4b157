package router_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/set"
	"github.com/boreas-ws/boreas/pkg/router/middleware/setfn"
	"github.com/boreas-ws/boreas/pkg/router/middleware/setvalue"
	"github.com/boreas-ws/boreas/pkg/router/middleware/socketset"
	"github.com/boreas-ws/boreas/pkg/router/middleware/socketsetfn"
	"github.com/boreas-ws/boreas/pkg/router/middleware/socketsetvalue"
)

func TestSetMiddleware(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var tr trace
		calls, variable := 0, "first"
		count := func() int { calls++; return calls }
		r := newRouter(t, router.Config{})
		r.Use(set.Middleware("set", "fixed"), setfn.Middleware("setfn", count), setvalue.Middleware("setvalue", &variable))
		r.Use("/on", socketset.Middleware("set", 5), socketsetfn.Middleware("setfn", count), socketsetvalue.Middleware("setvalue", &variable))
		r.Use(func(ctx *router.Context) {
			line := []string{ctx.Path()}
			for _, key := range []string{"set", "setfn", "setvalue"} {
				v, _ := ctx.Get(key)
				s, _ := ctx.GetFromSocket(key)
				line = append(line, fmt.Sprintf("%v/%v", v, s))
			}
			tr.addf("%s", strings.Join(line, " "))
		})
		c := connect(t, r, router.SocketInfo{})
		c.say(msg("/off", "", nil), msg("/on", "", nil))
		variable = "second"
		c.say(msg("/off", "", nil))
		tr.is(t, "/off fixed/<nil> 1/<nil> first/<nil>", "/on fixed/5 2/3 first/first", "/off fixed/5 4/3 second/first")
		c.hangUp()
	})
}
