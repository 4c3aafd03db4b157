// Package pushv1 is the API of gateways for backends, generated from push.proto.
// Package pushclient is a client that is easier to use.
package pushv1

//go:generate protoc -I. --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative push.proto
