package load

import (
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
)

// group is what PathJoin joins.
const group = "bench"

// Router returns the routes of a service to send load to: DefaultPath answers with
// the data that it was sent, PathJoin and PathPublish are for [Config.Publish].
func Router() *router.Router {
	r := router.NewRouter()
	r.Use(json.Middleware())
	r.PublicBind(DefaultPath, echo)
	r.PublicBind(PathJoin, join)
	r.PublicBind(PathPublish, publish)
	return r
}

func echo(ctx *router.Context) {
	if err := ctx.Send(router.Raw(ctx.Data())); err != nil {
		ctx.Error = err
	}
}

func join(ctx *router.Context) {
	if err := ctx.JoinGroup(group); err != nil {
		ctx.Error = err
		return
	}
	if err := ctx.Send(router.Raw("true")); err != nil {
		ctx.Error = err
	}
}

// publish sends the data on to the group, and answers when all gateways have.
func publish(ctx *router.Context) {
	result, err := ctx.Push(router.Push{To: router.ToGroup(group), Path: PathPublish, Data: router.Raw(ctx.Data())})
	if err != nil {
		ctx.Error = err
		return
	}
	if err := ctx.Send(map[string]any{"delivered": result.Delivered}); err != nil {
		ctx.Error = err
	}
}
