// Command bench measures the whole path of a message, client to service and back,
// and beside it, in the same run and with the same load driver, what the parts
// cost without Boreas: a bare gorilla/websocket echo server, and two processes
// that play ping-pong over Redis pub/sub.
//
//	go run ./test/bench              a table
//	go run ./test/bench -json        the same as JSON
//	go run ./test/bench -profile DIR CPU profiles of gateway and service besides
//
// Every server is a process of its own; only servers' CPU is counted, not the
// driver's. docs/performance.md says what each number means.
package main
