// Package registry keeps, in Redis, who is alive, who serves what, and which
// socket is pinned to which instance.
package registry
