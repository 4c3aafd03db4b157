// Package socketsetfn keeps on the socket a value that is computed for every message.
package socketsetfn

import "github.com/boreas-ws/boreas/pkg/router"

// Middleware sets key on the socket to what value returns for this message.
func Middleware[V any](key string, value func() V) func(ctx *router.Context) {
	return func(ctx *router.Context) {
		ctx.SetOnSocket(key, value())
		ctx.Next()
	}
}
