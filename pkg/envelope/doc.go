// Package envelope reads and writes what clients say: messages with a path, an id,
// data and meta, in JSON, MessagePack or Protobuf.
//
//	{"path": "/chat/join", "id": "1", "data": {"room": "general"}, "meta": {"v": 2}}
package envelope
