package load

import (
	"github.com/boreas-ws/boreas/pkg/router"
	"github.com/boreas-ws/boreas/pkg/router/middleware/json"
)

// Router returns the routes of a service to send load to: DefaultPath answers with
// the data that it was sent.
func Router() *router.Router {
	r := router.NewRouter()
	r.Use(json.Middleware())
	r.PublicBind(DefaultPath, echo)
	return r
}

func echo(ctx *router.Context) {
	if err := ctx.Send(router.Raw(ctx.Data())); err != nil {
		ctx.Error = err
	}
}
