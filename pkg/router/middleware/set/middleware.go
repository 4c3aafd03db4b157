// Package set keeps a fixed value for the handlers of every message.
package set

import "github.com/boreas-ws/boreas/pkg/router"

// Middleware sets key to value for the handlers after it.
func Middleware[V any](key string, value V) func(ctx *router.Context) {
	return func(ctx *router.Context) {
		ctx.Set(key, value)
		ctx.Next()
	}
}
