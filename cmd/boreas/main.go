// Boreas is a WebSocket API gateway for microservices, coordinated through Redis.
// `boreas --help` describes its commands; each has a file of its own here.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
