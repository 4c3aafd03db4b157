// Package socketset keeps a fixed value on the socket.
package socketset

import "github.com/boreas-ws/boreas/pkg/router"

// Middleware sets key on the socket to value.
func Middleware[V any](key string, value V) func(ctx *router.Context) {
	return func(ctx *router.Context) {
		ctx.SetOnSocket(key, value)
		ctx.Next()
	}
}
