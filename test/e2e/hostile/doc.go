// Package hostile attacks running gateways: named bad inputs, each with the answer
// that the documentation promises, against processes with a real redis-server.
//
// A ward, a client that behaves, exchanges numbered messages with a service through
// the attacked gateway all the time: every one must be answered, in order. The
// gateways' memory, goroutines and CPU time are watched as well.
package hostile
