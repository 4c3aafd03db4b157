// Package setfn keeps a value that is computed for every message.
package setfn

import "github.com/boreas-ws/boreas/pkg/router"

// Middleware sets key to what value returns for this message.
func Middleware[V any](key string, value func() V) func(ctx *router.Context) {
	return func(ctx *router.Context) {
		ctx.Set(key, value())
		ctx.Next()
	}
}
