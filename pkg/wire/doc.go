// Package wire defines what nodes say to each other: identities, frames, error
// codes and close codes.
//
// A frame is the unit that two nodes exchange over a link. Its first byte is the
// [Kind], with [FromAcceptor] set when it travels from the instance that accepted
// a stream back to the node that opened it; a varint stream id follows, then the
// body of that kind. Each frame type stands in a file of its own together with
// its parser and its encoder.
//
// A stream carries the messages of one socket for one service: its opener is the
// gateway's node, its acceptor the node of the instance that the socket is pinned
// to. The order of frames on a stream is
//
//	opener -> acceptor   Open (Data | Credit | Identity)* Close (Credit | Close)*
//	acceptor -> opener   (Data | Credit | Close | Release)* Closed
//	acceptor -> opener   Refuse, in place of everything else
//
// Commands travel among the Data of the acceptor, their results among that of the
// opener. Push, PushResult, Request, Response, Watch and Presence belong to no stream:
// the stream id of their header is a number of their own.
//
// A Close that lets the acceptor finish may be followed by Credit for its replies,
// and by a second Close that no longer lets it.
//
// # Guarantees
//
// Parsers never panic, never allocate more than their input's size, and refuse
// trailing bytes. For every frame f, parsing what f.Append wrote gives f again.
//
// # Not guaranteed
//
// This package neither delivers nor orders anything (package link does), and
// byte slices of parsed frames alias the input.
//
// # Lifecycle and concurrency
//
// There is no state and no goroutine: every function may be called from anywhere.
package wire
