// Package setvalue keeps, for every message, what a variable holds at that time.
package setvalue

import "github.com/boreas-ws/boreas/pkg/router"

// Middleware sets key to what value points to when the message is handled. The
// variable must not be changed while messages are handled, unless V is safe for that.
func Middleware[V any](key string, value *V) func(ctx *router.Context) {
	return func(ctx *router.Context) {
		ctx.Set(key, *value)
		ctx.Next()
	}
}
