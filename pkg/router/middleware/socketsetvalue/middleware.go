// Package socketsetvalue keeps on the socket what a variable holds when a message arrives.
package socketsetvalue

import "github.com/boreas-ws/boreas/pkg/router"

// Middleware sets key on the socket to what value points to when the message is handled. The
// variable must not be changed while messages are handled, unless V is safe for that.
func Middleware[V any](key string, value *V) func(ctx *router.Context) {
	return func(ctx *router.Context) {
		ctx.SetOnSocket(key, *value)
		ctx.Next()
	}
}
