// Package redisbus carries datagrams between nodes over Redis pub/sub. It is the
// [link.Bus] of production.
package redisbus
